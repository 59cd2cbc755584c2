"""A small HTTP/1.1 and websocket server for tests: real sockets on 127.0.0.1, in the test's own event loop.

    async def answer(request: Request) -> Response:
        return Response(json={"you asked for": request.path})

    async with WireServer(answer) as server:
        await client.get(f"{server.url}/models")
        await server.abort()  # the backend dies: every connection is reset, nobody listens
        await server.start()  # it is back, at the same address

Nothing in here waits by the clock: what a server does late, it does when the test tells it to.
"""

from __future__ import annotations

import asyncio
import ssl as tls
from collections.abc import Awaitable, Callable, Mapping
from typing import Self
from urllib.parse import parse_qsl, unquote, urlsplit

import h11
from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

from imagerouter.testing.connection import Connection, Request, Response, Socket

__all__ = ["Handler", "OnSocket", "Request", "Response", "Socket", "WireServer"]

Handler = Callable[[Request], Awaitable[Response | None]]
"""Answers a request. ``None`` resets the connection without a word."""

OnSocket = Callable[[Socket], Awaitable[None]]
"""Serves a websocket; when it returns, the socket is closed."""


class WireServer:
    """A server on a port of its own, running between ``async with`` and its end.

    ``prefix`` and ``required_headers`` make it look like one behind a reverse proxy: other paths are 404, requests
    without exactly these headers 401, websockets included. An exception in a handler is the answer 500, is kept in
    ``errors`` and is raised again at the end, so that a test can't pass by accident.
    """

    def __init__(
        self,
        handler: Handler,
        on_socket: OnSocket | None = None,
        *,
        port: int = 0,
        prefix: str = "",
        required_headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        self.port = port
        """0 until the first start, then the same for ever."""
        self.errors: list[Exception] = []
        self.connections_made = 0
        self.sockets: list[Socket] = []
        """Websockets that are open now, oldest first."""
        self._handler, self._on_socket, self._prefix, self._ssl = handler, on_socket, prefix, ssl
        self._required = {name.lower(): value for name, value in (required_headers or {}).items()}
        self._server: asyncio.Server | None = None
        self._connections: dict[Connection, asyncio.Task[None]] = {}

    @property
    def url(self) -> str:
        return f"http{'s' if self._ssl else ''}://127.0.0.1:{self.port}{self._prefix}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(
            self._accept, "127.0.0.1", self.port, ssl=self._ssl, limit=2**20, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def abort(self) -> None:
        """Reset every connection and stop listening: what clients see of a backend that was killed."""
        if self._server is not None:
            self._server.close()
            self._server = None
        current = asyncio.current_task()
        tasks = [task for task in self._connections.values() if task is not current]
        for connection, task in list(self._connections.items()):
            connection.abort()
            if task is not current:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        await self.abort()
        if self.errors and kind is None:
            raise self.errors[0]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_made += 1
        connection = Connection(reader, writer)
        task = asyncio.get_running_loop().create_task(self._guard(connection))
        self._connections[connection] = task
        task.add_done_callback(lambda _: self._connections.pop(connection, None))

    async def _guard(self, connection: Connection) -> None:
        try:
            await self._serve(connection)
        except (ConnectionError, h11.RemoteProtocolError):
            pass
        finally:
            connection.writer.close()

    async def _serve(self, connection: Connection) -> None:
        while (received := await connection.read()) is not None:
            raw, body = received
            request = self._request(raw, body)
            wants_socket = request.headers.get("upgrade", "").lower() == "websocket" and self._on_socket
            response = self._refusal(request)
            if response is None and wants_socket:
                await self._serve_socket(request, raw, connection)
                return
            response = response or await self._attempt(self._handler(request))
            if response is None:
                connection.abort()
                return
            await connection.send(response, bodiless=request.method == "HEAD" or response.status == 304)
            if connection.writer.is_closing() or connection.parser.our_state is not h11.DONE:
                return
            connection.parser.start_next_cycle()

    async def _attempt(self, answer: Awaitable[Response | None]) -> Response | None:
        try:
            return await answer
        except Exception as error:
            self.errors.append(error)
            return Response(status=500, body=repr(error).encode(), headers={"content-type": "text/plain"})

    def _request(self, raw: h11.Request, body: bytes) -> Request:
        target = urlsplit(raw.target.decode())
        headers = {name.decode().lower(): value.decode("latin-1") for name, value in raw.headers}
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        path = unquote(target.path)
        inside = path.removeprefix(self._prefix) if path.startswith(f"{self._prefix}/") else ""
        return Request(raw.method.decode(), inside, query, headers, body)

    def _refusal(self, request: Request) -> Response | None:
        if not request.path:
            return Response(status=404)
        if any(request.headers.get(name) != value for name, value in self._required.items()):
            return Response(status=401, body=b"401: Unauthorized", headers={"content-type": "text/plain"})
        return None

    async def _serve_socket(self, request: Request, raw: h11.Request, connection: Connection) -> None:
        assert self._on_socket is not None
        protocol = ServerProtocol(max_size=None)
        protocol.receive_data(_as_bytes(raw))
        for handshake in protocol.events_received():
            assert isinstance(handshake, Handshake)
            protocol.send_response(protocol.accept(handshake))
        client = Socket(request, connection, protocol)
        await connection.write(*protocol.data_to_send())
        self.sockets.append(client)
        reading = asyncio.create_task(client.receive(connection.parser.trailing_data[0]))
        try:
            await self._attempt(self._on_socket(client))
            await client.close()
        finally:
            self.sockets.remove(client)
            reading.cancel()


def _as_bytes(raw: h11.Request) -> bytes:
    lines = [b"GET " + raw.target + b" HTTP/1.1", *(name + b": " + value for name, value in raw.headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"
