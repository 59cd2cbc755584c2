"""The one clock of all that waits and is waited for."""

from __future__ import annotations

from asyncio import get_running_loop


def now() -> float:
    """The event loop's time in seconds, which `bench/routing` lets jump."""
    return get_running_loop().time()
