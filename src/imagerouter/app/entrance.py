"""What each request passes, in and out: it gets an id, is known while it lasts, is counted and timed."""

from __future__ import annotations

import asyncio
import os
import re
import time

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send
from structlog.contextvars import bind_contextvars

from imagerouter.app.errors import ShuttingDownError, send_error
from imagerouter.app.in_flight import InFlight
from imagerouter.app.metrics import HttpMetrics

_SAFE = re.compile(rb"[\w.:-]{1,128}", re.ASCII)


class Entrance:
    """One per application. No middleware of Litestar's: those are skipped where no route is found, and cost more."""

    def __init__(self, in_flight: InFlight, metrics: HttpMetrics) -> None:
        self._in_flight = in_flight
        self._metrics = metrics

    async def handle(self, scope: HTTPScope, receive: Receive, send: Send, answer: ASGIApp) -> None:
        """Have ``answer`` answer a request. Its id is on each line of the log that comes of it."""
        began, status, name = time.perf_counter(), 0, request_id(scope)
        # The request has a task of its own, and that a context.
        bind_contextvars(request_id=name.decode())

        async def told(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name)]
            await send(message)

        async def refuse() -> None:
            if not status:
                await send_error(ShuttingDownError(), told)

        task = asyncio.current_task()
        assert task is not None
        self._in_flight.tasks[task] = refuse
        try:
            await answer(scope, receive, told)
        except asyncio.CancelledError:
            if status or not self._in_flight.over.is_set():
                raise
            task.uncancel()
            await refuse()
        finally:
            del self._in_flight.tasks[task]
            self._metrics.answered(scope, status or 500, time.perf_counter() - began)


def request_id(scope: HTTPScope) -> bytes:
    """A client's own is taken over only if it is harmless in a log."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if _SAFE.fullmatch(value):
                return value
            break
    return b"req_" + os.urandom(12).hex().encode()
