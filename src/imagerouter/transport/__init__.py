"""What lies under httpx: connections to backends, made for answers of megabytes.

httpx's own transport takes an answer in small pieces through several layers and joins them; with many at once that
is most of what a gateway does. Here the body of an answer is received into the one place where it stays. HTTP/1.1
only, no proxies, and as many connections as there are requests, so that none waits for another (no
`httpx.PoolTimeout`). `imagerouter.http` is the only one that knows of it.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import httpx

from imagerouter.transport.connection import Connection, Origin, connect
from imagerouter.transport.exchange import Exchange, UnansweredError
from imagerouter.transport.heads import Head

__all__ = ["Transport"]

_PORTS = {"http": 80, "https": 443}
_REPEATABLE = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
"""RFC 9110, section 9.2.2: what does the same when it is done twice."""


class Transport(httpx.AsyncBaseTransport):
    """HTTP/1.1 with connections that are used again.

    :param tls: for ``https://``.
    :param keepalive: seconds for which a connection may lie idle before it is used again.
    :param idle: connections that lie idle at most, for all hosts together.

    A request that is sent over a connection that was used before, and closed by the backend before any answer, is
    sent once more over a new one, if doing so twice does no harm.
    """

    def __init__(self, *, tls: ssl.SSLContext, keepalive: float, idle: int) -> None:
        self._tls = tls
        self._keepalive = keepalive
        self._most_idle = idle
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        origin = _origin(request)
        if connection := self._idle_one(origin):
            try:
                return await self._ask(connection, request)
            except UnansweredError:
                if not _may_be_repeated(request):
                    raise
        return await self._ask(await self._connect(origin, request), request)

    async def aclose(self) -> None:
        """Close all connections, those in use included."""
        connections, self._idle, self._most_idle = [*self._open], [], 0
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))

    async def _connect(self, origin: Origin, request: httpx.Request) -> Connection:
        connection = await connect(origin, self._tls, request.extensions.get("timeout", {}).get("connect"))
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._forget(connection))
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _ask(self, connection: Connection, request: httpx.Request) -> httpx.Response:
        exchange = Exchange(connection, request)
        try:
            await exchange.send()
            head = await exchange.head()
        except BaseException:
            connection.abort()
            raise
        return _Response(head, exchange, _Body(exchange, self._release))

    def _idle_one(self, origin: Origin) -> Connection | None:
        for connection in reversed(self._idle):
            if connection.origin == origin:
                self._idle.remove(connection)
                if not connection.is_stale():
                    return connection
                connection.abort()
        return None

    def _release(self, connection: Connection) -> None:
        now = connection.expire_after(self._keepalive)
        self._idle.append(connection)
        while self._idle and (len(self._idle) > self._most_idle or self._idle[0].expires <= now):
            self._idle.pop(0).abort()


class _Body(httpx.AsyncByteStream):
    """An iterator rather than a generator: there is nothing to be cleaned up when nobody reads on."""

    def __init__(self, exchange: Exchange, release: Callable[[Connection], None]) -> None:
        self.exchange = exchange
        self._release = release
        self._closed = False

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self.exchange.piece()
        except BaseException:
            self.exchange.connection.abort()
            raise
        if not piece:
            raise StopAsyncIteration
        return piece

    async def aclose(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self.exchange.is_reusable:
            self._release(self.exchange.connection)
        else:
            self.exchange.connection.abort()


class _Response(httpx.Response):
    """Knows that whoever reads all of it wants it in one piece."""

    def __init__(self, head: Head, exchange: Exchange, body: _Body) -> None:
        said = {"http_version": b"HTTP/1.1", "reason_phrase": head.reason}
        super().__init__(head.status, headers=head.fields, stream=body, extensions=said)
        self._exchange = exchange

    async def aread(self) -> bytes:
        self._exchange.whole = True
        return await super().aread()


def _origin(request: httpx.Request) -> Origin:
    url = request.url
    if url.scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol("an address must begin with http:// or https:// and name a host")
    host = url.raw_host.decode("ascii")
    name = request.extensions.get("sni_hostname", host) if url.scheme == "https" else None
    return Origin(host, _PORTS[url.scheme] if url.port is None else url.port, name)


def _may_be_repeated(request: httpx.Request) -> bool:
    return request.method in _REPEATABLE and isinstance(request.stream, httpx.ByteStream)
