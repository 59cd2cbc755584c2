"""The process: granian around the application."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server as Granian
from litestar import Litestar

from imagerouter.app.costs_file import costs_file
from imagerouter.app.reload import Hangups, Source
from imagerouter.app.shutdown import Signals, close, drain, exit_soon
from imagerouter.app.wiring import create_app
from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.telemetry import configure

log = structlog.get_logger(__name__)

MAX_CONNECTIONS = 20_000


@dataclass(frozen=True, slots=True)
class Listening:
    """A server that answers."""

    app: Litestar
    url: str
    closed: asyncio.Task[None]
    """Done when the server has stopped by itself, which it does only when it failed."""

    @property
    def engine(self) -> Engine:
        engine: Engine = self.app.state.engine
        return engine


def serve(config: Config, source: Source | None = None) -> None:
    """Listen until SIGTERM or SIGINT, then drain; a second signal cuts that short, a third ends the process.

    SIGHUP loads the configuration again, from ``source``. Raises `ImageRouterError` if the address can't be used.
    """
    configure(config.server)
    asyncio.run(_serve(config, source))


async def _serve(config: Config, source: Source | None) -> None:
    signals, loop = Signals(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals)
    stopping = asyncio.create_task(signals.stop.wait())
    async with listening(config, source) as server:
        loop.add_signal_handler(signal.SIGHUP, Hangups(server.app))
        log.info("server.listening", url=server.url, providers=list(config.providers))
        await asyncio.wait([server.closed, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            await drain(server.app, server.engine.config.server.drain, signals)
    stopping.cancel()
    log.info("server.stopped")
    exit_soon()


@asynccontextmanager
async def listening(config: Config, source: Source | None = None) -> AsyncIterator[Listening]:
    """A server on ``config.server``'s address, answering from the first moment on; port 0 takes a free one."""
    address, port = _bindable(config.server.host, config.server.port)
    app = create_app(config, source=source, costs_file=costs_file(config.server))
    granian = Granian(
        app,
        address=address,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=2048,
        # Connections served at once, idle keep-alive ones included: granian's default of one backlog would let
        # 128 idle clients shut out everybody else until they time out.
        backpressure=MAX_CONNECTIONS,
        log_enabled=False,
    )
    closed = asyncio.create_task(granian.serve())
    await _answering(address, port, closed)
    try:
        yield Listening(app, f"http://{_shown(config.server.host)}:{port}", closed)
    finally:
        await close(app, granian, closed)


async def _answering(address: str, port: int, closed: asyncio.Task[None]) -> None:
    while not closed.done():  # granian has no event for it
        try:
            _, writer = await asyncio.open_connection(_reachable(address), port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


def _bindable(host: str, port: int) -> tuple[str, int]:
    """The address and port, checked: granian takes no names, and would only log that a port is taken.

    Port 0 becomes one that is free; a name that stands for several addresses is taken as the first usable one.
    """
    refusal = OSError(f"no address belongs to {host!r}")
    for family, address in _addresses(host):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((address, port))
                return address, int(probe.getsockname()[1])
        except OSError as error:
            refusal = error
    raise ImageRouterError(f"can't listen on {_shown(host)}:{port}: {refusal.strerror or refusal}")


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """What ``host`` stands for, IPv4 first: clients that are given 127.0.0.1 should reach ``localhost``."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a host name"
        raise ImageRouterError(f"can't listen on {_shown(host)}: {reason}") from None
    return sorted((family, str(address[0])) for family, _, _, _, address in found)


def _reachable(address: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)  # noqa: S104 - not a bind


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
