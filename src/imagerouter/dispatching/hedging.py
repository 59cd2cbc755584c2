"""A second attempt beside one that takes too long; the first to deliver counts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

Attempt = Coroutine[Any, Any, T | None]


async def hedged(first: Attempt[T], second: Callable[[], Attempt[T]], *, after: float) -> T | None:
    """What the first of two attempts delivers, of which the second begins ``after`` so many seconds.

    ``None`` from one of them leaves the decision to the other. The one that isn't needed any more is cancelled.
    An error of either ends both.
    """
    tasks = {asyncio.create_task(first)}
    try:
        done, _ = await asyncio.wait(tasks, timeout=after)
        if not done:
            tasks.add(asyncio.create_task(second()))
        for next_one in asyncio.as_completed(tasks):
            if (result := await next_one) is not None:
                return result
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
