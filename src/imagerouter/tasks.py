"""Work that goes on while nobody waits for it: stopping a job, tidying up after it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Holds on to its tasks, which the event loop alone would not, and ends them with their owner."""

    def __init__(self, stop_seconds: float) -> None:
        """:param stop_seconds: how long `aclose` waits for what is still running."""
        self._stop_seconds = stop_seconds
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        """Wait for the tasks; those that take too long are cancelled."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._stop_seconds)
            for task in late:
                task.cancel()
