"""Stopping in good order: signals, patience, and what happens when it ends."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import NoReturn

import structlog
from litestar import Litestar

from imagerouter.app.in_flight import InFlight
from imagerouter.app.protocol import Connections
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
    app.state.patience = asyncio.create_task(_patience(in_flight, seconds, signals))
    while in_flight.count and not in_flight.over.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.05)


async def _patience(in_flight: InFlight, seconds: float, signals: Signals) -> None:
    """End what is in flight after ``seconds`` or at the second signal."""
    try:
        async with asyncio.timeout(seconds):
            await signals.over.wait()
    except TimeoutError:
        log.warning("server.drain_over", seconds=seconds)
    in_flight.end()


async def close(app: Litestar, connections: Connections, stopping: asyncio.Event, alive: asyncio.Task[None]) -> None:
    """Wait for open connections while the patience lasts, and not much longer; then end the application.

    :param stopping: ends ``alive``, the application, when it is set.
    """
    in_flight = app.state.in_flight
    if not app.state.draining:  # a failure, or a test's end: nobody asked to wait
        in_flight.end()
    connections.shut()
    await _first(connections.none_left, in_flight.over)
    if not connections.none_left.is_set():
        await in_flight.dismiss(GRACE_SECONDS)
        await _first(connections.none_left, within=GRACE_SECONDS)
    if not connections.none_left.is_set():
        log.warning("server.connections_cut")
        connections.cut()
    stopping.set()
    await asyncio.wait([alive], timeout=CLOSE_SECONDS + 1)
    if alive.done():
        await alive


async def _first(*events: asyncio.Event, within: float | None = None) -> None:
    """Wait for whatever comes first."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=within, return_when=asyncio.FIRST_COMPLETED)
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
