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
from imagerouter.transport.outgoing import Outgoing

__all__ = ["Transport"]


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
        head, exchange = await self._begun(Outgoing.of(request))
        return _Response(head, exchange, _Body(exchange, self._end))

    async def ask(self, request: Outgoing) -> tuple[Head, bytes]:
        """The whole answer at once, its body as it was sent."""
        head, exchange = await self._begun(request, whole=True)
        try:
            body = await exchange.rest()
        except BaseException:
            exchange.connection.abort()
            raise
        self._end(exchange)
        return head, body

    async def aclose(self) -> None:
        """Close all connections, those in use included."""
        connections, self._idle, self._most_idle = [*self._open], [], 0
        for connection in connections:
            connection.abort()
        await asyncio.gather(*(connection.closed for connection in connections))

    async def _begun(self, request: Outgoing, *, whole: bool = False) -> tuple[Head, Exchange]:
        # Requests that come up in one turn of the loop go out one after the other, and wake a backend once for all. No
        # later than here: a connection that is found good has to be used at once.
        await asyncio.sleep(0)
        if connection := self._idle_one(request.origin):
            try:
                return await self._sent(connection, request, whole)
            except UnansweredError:
                if not request.is_repeatable:
                    raise
        return await self._sent(await self._connected(request), request, whole)

    async def _connected(self, request: Outgoing) -> Connection:
        connection = await connect(request.origin, self._tls, request.timeouts.get("connect"))
        self._open.add(connection)
        connection.closed.add_done_callback(lambda _: self._forget(connection))
        return connection

    def _forget(self, connection: Connection) -> None:
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    async def _sent(self, connection: Connection, request: Outgoing, whole: bool) -> tuple[Head, Exchange]:
        exchange = Exchange(connection, request, whole=whole)
        try:
            await exchange.send()
            return await exchange.head(), exchange
        except BaseException:
            connection.abort()
            raise

    def _idle_one(self, origin: Origin) -> Connection | None:
        for connection in reversed(self._idle):
            if connection.origin == origin:
                self._idle.remove(connection)
                if not connection.is_stale():
                    return connection
                connection.abort()
        return None

    def _end(self, exchange: Exchange) -> None:
        """Keep its connection for the next one, if it is good for that."""
        connection = exchange.connection
        if not exchange.is_reusable:
            connection.abort()
            return
        now = connection.expire_after(self._keepalive)
        self._idle.append(connection)
        while self._idle and (len(self._idle) > self._most_idle or self._idle[0].expires <= now):
            self._idle.pop(0).abort()


class _Body(httpx.AsyncByteStream):
    """An iterator rather than a generator: there is nothing to be cleaned up when nobody reads on."""

    def __init__(self, exchange: Exchange, end: Callable[[Exchange], None]) -> None:
        self.exchange = exchange
        self._end = end
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
        if not self._closed:
            self._closed = True
            self._end(self.exchange)


class _Response(httpx.Response):
    """Knows that whoever reads all of it wants it in one piece."""

    def __init__(self, head: Head, exchange: Exchange, body: _Body) -> None:
        said = {"http_version": b"HTTP/1.1", "reason_phrase": head.reason}
        super().__init__(head.status, headers=head.fields, stream=body, extensions=said)
        self._exchange = exchange

    async def aread(self) -> bytes:
        self._exchange.whole = True
        return await super().aread()
