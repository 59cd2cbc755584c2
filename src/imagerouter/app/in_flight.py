"""Knows the requests that are being answered, so that a shutdown can wait for them, and not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class InFlight:
    """One per application; a stream is in flight until its end."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        """Set when the shutdown waits no longer; each request then ends by itself, with an error of ours."""
        self.stops: set[Callable[[], object]] = set()
        """Called at that moment."""
        self.tasks: dict[asyncio.Task[Any], Callable[[], Awaitable[None]]] = {}
        """Each with what answers in its place, if it hasn't begun to."""

    @property
    def count(self) -> int:
        return len(self.tasks)

    def end(self) -> None:
        """The shutdown waits no longer."""
        self.over.set()
        for stop in list(self.stops):
            stop()

    async def dismiss(self, grace: float) -> None:
        """End all requests: ask first, then cancel, then answer for them. A step takes ``grace`` seconds at most."""
        self.end()
        if self.tasks:
            await asyncio.wait(self.tasks, timeout=grace)
        if self.tasks:
            log.warning("requests.cancelled", count=self.count)
            for task in self.tasks:
                task.cancel()
            await asyncio.wait(self.tasks, timeout=grace)
        for refuse in list(self.tasks.values()):  # of providers that don't let themselves be cancelled
            await refuse()
