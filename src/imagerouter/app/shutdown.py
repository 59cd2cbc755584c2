"""Stopping in good order: signals, patience, and what happens when it ends."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import NoReturn

import structlog
from granian.server.embed import Server as Granian
from litestar import Litestar

from imagerouter.fleet.fleet import CLOSE_SECONDS

log = structlog.get_logger(__name__)

GRACE_SECONDS = 2.0
"""For each step that follows when the patience is over."""
EXIT_SECONDS = 5.0
"""For tasks and threads that are left when the server has stopped."""


class Signals:
    """The first signal asks the server to stop, the second ends its patience, the third ends the process."""

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.over = asyncio.Event()

    def __call__(self) -> None:
        if self.over.is_set():
            _exit("a third signal")
        elif self.stop.is_set():
            log.warning("server.impatient")
            self.over.set()
        else:
            self.stop.set()


async def drain(app: Litestar, seconds: float, signals: Signals) -> None:
    """Take no new job and wait for the running ones, until ``seconds`` or the patience are over."""
    app.state.draining = True
    scheduler, in_flight = app.state.engine.scheduler, app.state.in_flight
    log.info("server.draining", running=scheduler.running, waiting=scheduler.waiting)
    # Kept where it outlives this function: it goes on while clients read what has been written.
    app.state.patience = asyncio.create_task(_patience(in_flight.over, seconds, signals))
    while in_flight.count and not in_flight.over.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    # granian has the last bytes now, and no event that says when they are on the wire.
    await asyncio.sleep(0.2)


async def _patience(over: asyncio.Event, seconds: float, signals: Signals) -> None:
    """Set ``over`` after ``seconds`` or at the second signal."""
    try:
        async with asyncio.timeout(seconds):
            await signals.over.wait()
    except TimeoutError:
        log.warning("server.drain_over", seconds=seconds)
    over.set()


async def close(app: Litestar, granian: Granian, closed: asyncio.Task[None]) -> None:
    """Stop listening, then wait for open connections while the patience lasts, and not much longer."""
    in_flight = app.state.in_flight
    if not app.state.draining:  # a failure, or a test's end: nobody asked to wait
        in_flight.over.set()
    granian.stop()  # type: ignore[no-untyped-call]
    served = app.state.served
    await _first(closed, served, in_flight.over)
    if not closed.done() and not served.is_set():
        await in_flight.dismiss(GRACE_SECONDS)
        await _first(closed, served, within=GRACE_SECONDS)
    ending = closed
    if not closed.done() and not served.is_set():
        log.warning("server.connections_cut")
        closed.cancel()
        ending = asyncio.create_task(app.state.engine.fleet.aclose())
    await asyncio.wait([ending], timeout=CLOSE_SECONDS + 1)
    if ending.done():
        await ending


async def _first(closed: asyncio.Task[None], *events: asyncio.Event, within: float | None = None) -> None:
    """Wait for whatever comes first."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait([closed, *waits], timeout=within, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def exit_soon() -> None:
    """See to it that the process ends, though it would wait for a thread or task that a provider is stuck in."""
    threading.Thread(target=_watch_the_exit, name="exit", daemon=True).start()


def _watch_the_exit() -> None:
    time.sleep(EXIT_SECONDS)
    others = [thread.name for thread in threading.enumerate() if not thread.daemon]
    _exit("something that can't be stopped", threads=others)


def _exit(reason: str, **facts: object) -> NoReturn:
    log.error("server.killed", reason=reason, **facts)
    os._exit(1)
