"""The process: granian around the application, and a shutdown that lets running jobs finish."""

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


def serve(config: Config) -> None:
    """Listen until SIGTERM or SIGINT, then drain. Raises `ImageRouterError` if the address can't be used."""
    configure(config.server)
    asyncio.run(_serve(config))


async def _serve(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait())
    async with listening(config) as server:
        log.info("server.listening", url=server.url, providers=list(config.providers))
        await asyncio.wait([server.closed, stopping], return_when=asyncio.FIRST_COMPLETED)
        if stopping.done():
            await _drain(server, config.server.drain, stop)
    stopping.cancel()
    log.info("server.stopped")


@asynccontextmanager
async def listening(config: Config) -> AsyncIterator[Listening]:
    """A server on ``config.server``'s address, answering from the first moment on; port 0 takes a free one."""
    host, port = config.server.host, _bindable(config.server.host, config.server.port)
    app = create_app(config)
    granian = Granian(
        app,
        address=host,
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
    await _answering(host, port, closed)
    try:
        yield Listening(app, f"http://{_shown(host)}:{port}", closed)
    finally:
        granian.stop()  # type: ignore[no-untyped-call]
        await closed


async def _answering(host: str, port: int, closed: asyncio.Task[None]) -> None:
    while not closed.done():  # granian has no event for it
        try:
            _, writer = await asyncio.open_connection(_reachable(host), port)
        except OSError:
            await asyncio.sleep(0.01)
        else:
            writer.close()
            return


async def _drain(server: Listening, seconds: float, stop: asyncio.Event) -> None:
    """Take no new job and wait for the running ones; a second signal ends the patience."""
    server.app.state.draining = True
    scheduler, in_flight = server.engine.scheduler, server.app.state.in_flight
    log.info("server.draining", running=scheduler.running, waiting=scheduler.waiting)
    stop.clear()
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while in_flight.count and loop.time() < end and not stop.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    # granian has the last bytes now, and no event that says when they are on the wire.
    await asyncio.sleep(0.2)


def _bindable(host: str, port: int) -> int:
    """The port, checked; 0 becomes one that is free. granian itself would only log that it is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            return int(probe.getsockname()[1])
    except OSError as error:
        raise ImageRouterError(f"can't listen on {_shown(host)}:{port}: {error.strerror}") from None


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - not a bind


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
