"""Knows the requests that are being answered, so that a shutdown can wait for them, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from imagerouter.app.errors import ShuttingDownError

log = structlog.get_logger(__name__)


class InFlight(ASGIMiddleware):
    """One per application; a stream is in flight until its end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        """Set when the shutdown waits no longer; each request then ends by itself, with an error of ours."""
        self.stops: set[Callable[[], object]] = set()
        """Called at that moment."""
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def count(self) -> int:
        return len(self._tasks)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await next_app(scope, receive, send)
        except asyncio.CancelledError:
            if not self.over.is_set():
                raise
            task.uncancel()
            raise ShuttingDownError from None
        finally:
            self._tasks.discard(task)

    def end(self) -> None:
        """The shutdown waits no longer."""
        self.over.set()
        for stop in list(self.stops):
            stop()

    async def dismiss(self, grace: float) -> None:
        """End all requests: ask first, then cancel. Each step takes ``grace`` seconds at most."""
        self.end()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        if self._tasks:
            log.warning("requests.cancelled", count=self.count)
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=grace)
