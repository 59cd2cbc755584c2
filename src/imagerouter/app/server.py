"""The process: a listening socket and its connections around the application."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog
from litestar import Litestar

from imagerouter.app.costs_file import costs_file
from imagerouter.app.memory import keep_freed
from imagerouter.app.protocol import Connections, Protocol, protocol_config
from imagerouter.app.reload import Hangups, Source
from imagerouter.app.shutdown import Signals, close, drain, exit_soon
from imagerouter.app.wiring import create_app
from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.telemetry import configure

log = structlog.get_logger(__name__)

BACKLOG = 2048
"""Connections that may wait to be accepted."""


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that answers."""

    app: Litestar
    url: str

    @property
    def engine(self) -> Engine:
        engine: Engine = self.app.state.engine
        return engine


def serve(config: Config, source: Source | None = None) -> None:
    """Listen until SIGTERM or SIGINT, then drain; a second signal cuts that short, a third ends the process.

    SIGHUP loads the configuration again, from ``source``. Raises `ImageRouterError` if the address can't be used.
    """
    configure(config.server)
    keep_freed()
    _run(_serve(config, source))


def _run(work: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # there is none for Windows
        asyncio.run(work)
    else:
        uvloop.run(work)


async def _serve(config: Config, source: Source | None) -> None:
    signals, loop = Signals(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals)
    async with listening(config, source) as server:
        loop.add_signal_handler(signal.SIGHUP, Hangups(server.app))
        log.info("server.listening", url=server.url, providers=list(config.providers))
        await signals.stop.wait()
        await drain(server.app, server.engine.config.server.drain, signals)
    log.info("server.stopped")
    exit_soon()


@asynccontextmanager
async def listening(config: Config, source: Source | None = None) -> AsyncIterator[Listening]:
    """A server on ``config.server``'s address, answering from the first moment on; port 0 takes a free one."""
    with _bound(config.server.host, config.server.port) as bound:
        app = create_app(config, source=source, costs_file=costs_file(config.server))
        connections, stopping = Connections(), asyncio.Event()
        alive = asyncio.create_task(_alive(app, stopping), name="application")
        started = asyncio.create_task(app.state.started.wait())
        await asyncio.wait([alive, started], return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if alive.done():
            await alive
        make = partial(Protocol, protocol_config(app), connections)
        server = await asyncio.get_running_loop().create_server(make, sock=bound, backlog=BACKLOG)
        try:
            yield Listening(app, f"http://{_shown(config.server.host)}:{bound.getsockname()[1]}")
        finally:
            server.close()
            await close(app, connections, stopping, alive)


async def _alive(app: Litestar, stopping: asyncio.Event) -> None:
    """The application's life, from its providers' start to their end, in one task as its task groups want it."""
    async with app.lifespan():
        await stopping.wait()


def _bound(host: str, port: int) -> socket.socket:
    """A socket on this address; a name that stands for several addresses is taken as the first usable one.

    Raises `ImageRouterError`.
    """
    refusal = OSError(f"no address belongs to {host!r}")
    for family, address in _addresses(host):
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((address, port))
        except OSError as error:
            bound.close()
            refusal = error
        else:
            return bound
    raise ImageRouterError(f"can't listen on {_shown(host)}:{port}: {refusal.strerror or refusal}")


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """What ``host`` stands for, IPv4 first: clients that are given 127.0.0.1 should reach ``localhost``."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise ImageRouterError(f"can't listen on {_shown(host)}: {reason}") from None
    return sorted((family, str(address[0])) for family, _, _, _, address in found)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
