"""HTTP/1.1 on the wire: uvicorn's protocol on llhttp, with limits to heads and errors in OpenAI's shape."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from imagerouter.app.cycle import Cycle
from imagerouter.errors import InvalidRequestError
from imagerouter.openai import response

if TYPE_CHECKING:
    from litestar import Litestar

KEEP_ALIVE_SECONDS = 75
"""Longer than the minute that proxies keep an idle connection: they must not send into one that is being closed."""
HEAD_SECONDS = 60.0
"""For a request's head to arrive, from the connection or its own first byte on. uvicorn would wait for ever."""
WHEN_GONE = "imagerouter.when_gone"
"""The extension of ASGI by which `Protocol.when_gone` is found; waiting for a disconnect in `receive` takes a task."""
MAX_HEAD = 65_536
"""Bytes of a request's line and headers together; the parser itself has no limit."""


class Connections(ServerState):
    """All connections of a server."""

    def __init__(self) -> None:
        super().__init__()
        self.none_left = asyncio.Event()
        self.none_left.set()
        self._second = 0

    def date(self) -> list[tuple[bytes, bytes]]:
        """The ``date`` header, made once a second."""
        if (second := int(time.time())) != self._second:
            self._second = second
            self.default_headers = [(b"date", formatdate(second, usegmt=True).encode())]
        return self.default_headers

    def shut(self) -> None:
        """Close those that are idle; the others end with the answer that they are about."""
        for connection in list(self.connections):
            connection.shutdown()

    def cut(self) -> None:
        """End all of them at once."""
        for connection in list(self.connections):
            if connection.transport is not None:
                connection.transport.abort()
        for task in self.tasks:
            task.cancel()


class Protocol(HttpToolsProtocol):
    """One connection."""

    server_state: Connections
    cycle: Cycle

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config, connections, {})
        self._head = 0
        self._patience: asyncio.TimerHandle | None = None
        self._gone: Callable[[], object] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.server_state.none_left.clear()
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._gone is not None:
            self._gone()
        self._have_head()
        if not self.connections:
            self.server_state.none_left.set()

    def on_message_begin(self) -> None:
        self._head = 0
        self._await_head()
        self.server_state.date()
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count(name, value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """As uvicorn does, but for upgrades and its own limits, and with a `Cycle`."""
        self._have_head()
        url, scope, version = httptools.parse_url(self.url), self.scope, self.parser.get_http_version()
        path = url.path.decode("ascii")
        scope["http_version"], scope["method"] = version, self.parser.get_method().decode("ascii")
        scope["path"], scope["raw_path"] = unquote(path) if "%" in path else path, url.path
        scope["query_string"] = url.query or b""
        before, self.cycle = self.cycle, self._cycle(is_lasting=version != "1.0" and self.parser.should_keep_alive())
        scope["extensions"] = {WHEN_GONE: self.when_gone}  # type: ignore[dict-item]
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # It was sent before the answer to the one before it.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def when_gone(self, call: Callable[[], object]) -> None:
        """Have ``call`` called when the client hangs up on the request that is being answered, or now if it has."""
        self._gone = call
        self.flow.resume_reading()  # a large body may have stopped it, and then nothing is heard of the client
        if self.transport.is_closing():
            call()

    def _cycle(self, *, is_lasting: bool) -> Cycle:
        return Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=is_lasting,
            on_response=self.on_response_complete,
        )

    def _await_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _have_head(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _count(self, name: bytes, value: bytes = b"") -> None:
        self._head += len(name) + len(value)
        if self._head > MAX_HEAD:
            raise ValueError(f"The request's head is larger than {MAX_HEAD} bytes")  # the parser reports it

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's own words
        """What can't be read is answered and the connection closed."""
        too_large = self._head > MAX_HEAD
        reason = f"The request's head is larger than {MAX_HEAD} bytes" if too_large else "This is not HTTP/1.1"
        body = response.error_body(InvalidRequestError(reason))
        head = b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        last = b"x-should-retry: false\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[431 if too_large else 400] + head + last + body)
        self.transport.close()


def protocol_config(app: Litestar) -> Any:
    """What uvicorn's protocol wants to know; the process is ours."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        proxy_headers=False,
        server_header=False,
    )
    config.load()
    return config
