"""Work that may have to end before it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Interruption:
    """Ends what a task is at, as `asyncio.timeout` does, but when somebody says so, and with their reason."""

    def __init__(self) -> None:
        """In the task that is to be interrupted."""
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._reason: Exception | None = None
        self._is_at_work = False

    def end(self, reason: Exception) -> None:
        """Cancel the work, or have it not begin. The first reason counts, and none after the end."""
        if self._reason is None:
            self._reason = reason
            if self._is_at_work:
                self._task.cancel()

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``; raises the reason where one comes first, and what ``work`` raises."""
        if self._reason is not None:
            work.close()
            raise self._reason
        self._is_at_work = True
        try:
            result = await work
        except asyncio.CancelledError:
            if self._reason is None or self._task.cancelling() > 1:
                raise  # somebody else wants the whole task to end
        else:
            if self._reason is None:
                return result
        finally:
            self._is_at_work = False
            if self._reason is not None:
                self._task.uncancel()
        raise self._reason
