"""One connection of the test server: requests, responses and websockets on asyncio's streams."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import h11
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol

NOTHING: Any = object()


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked; also the handshake of a websocket."""

    method: str
    path: str
    """Decoded, without the query and without the server's prefix."""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; of a repeated header the last one."""
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; ``None`` where there is none."""
        return json.loads(self.body) if self.body else None


@dataclass(frozen=True, slots=True)
class Response:
    """What the server answers: a body, or something to write as JSON."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    json: Any = NOTHING
    cut_after: int | None = None
    """The connection is reset after this many bytes of the body, of which the headers promise all."""

    @property
    def content(self) -> bytes:
        return self.body if self.json is NOTHING else json.dumps(self.json).encode()

    @property
    def head(self) -> dict[str, str]:
        """Headers in lower case, with type and length."""
        kind = {} if self.json is NOTHING else {"content-type": "application/json; charset=utf-8"}
        given = {name.lower(): value for name, value in self.headers.items()}
        return kind | given | {"content-length": str(len(self.content))}


class Socket:
    """The server's end of a websocket. Iterating over it gives the client's messages until it is gone.

    Sending to a client that is gone does nothing, as with a real server that hasn't noticed yet.
    """

    def __init__(self, request: Request, connection: Connection, protocol: ServerProtocol) -> None:
        self.request = request
        self.gone = asyncio.Event()
        self._connection = connection
        self._protocol = protocol
        self._messages: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._fragments: list[Frame] = []

    async def send_text(self, text: str) -> None:
        await self._send(lambda: self._protocol.send_text(text.encode()))

    async def send_json(self, value: Any) -> None:
        await self.send_text(json.dumps(value))

    async def send_bytes(self, data: bytes) -> None:
        await self._send(lambda: self._protocol.send_binary(data))

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and wait until the client has said so too."""
        await self._send(lambda: self._protocol.send_close(code, reason))
        await self.gone.wait()

    def abort(self) -> None:
        """Reset the connection: the client sees the code 1006."""
        self._connection.abort()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        while (message := await self._messages.get()) is not None:
            yield message

    async def _send(self, say: Callable[[], None]) -> None:
        if self.gone.is_set() or self._protocol.close_sent is not None:
            return
        say()
        await self._connection.write(*self._protocol.data_to_send())

    async def receive(self, first: bytes) -> None:
        """Read until the client is gone. Pings and goodbyes are answered by the protocol."""
        data = first
        try:
            while True:
                if data:
                    self._protocol.receive_data(data)
                self._collect()
                await self._connection.write(*self._protocol.data_to_send())
                if self._protocol.close_expected() or not (data := await self._connection.reader.read(65536)):
                    return
        except ConnectionError:
            return
        finally:
            self.gone.set()
            self._messages.put_nowait(None)

    def _collect(self) -> None:
        for frame in self._protocol.events_received():
            if not isinstance(frame, Frame) or frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
                continue
            self._fragments.append(frame)
            if frame.fin:
                data = b"".join(bytes(fragment.data) for fragment in self._fragments)
                is_text = self._fragments[0].opcode is Opcode.TEXT
                self._fragments.clear()
                self._messages.put_nowait(data.decode() if is_text else data)


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.parser = h11.Connection(h11.SERVER)

    async def write(self, *parts: bytes) -> None:
        try:
            for part in filter(None, parts):
                self.writer.write(part)
            await self.writer.drain()
        except ConnectionError:
            self.writer.close()

    def abort(self) -> None:
        raw = self.writer.get_extra_info("socket")
        if raw is not None and raw.fileno() >= 0:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that it is a reset
        self.writer.transport.abort()

    async def read(self) -> tuple[h11.Request, bytes] | None:
        """The next request and its body; ``None`` at the end."""
        request, body = None, bytearray()
        while True:
            event = self.parser.next_event()
            match event:
                case h11.NEED_DATA:
                    self.parser.receive_data(await self.reader.read(65536))
                case h11.Request():
                    request = event
                case h11.Data():
                    body += event.data
                case h11.EndOfMessage() if request is not None:
                    return request, bytes(body)
                case _:
                    return None

    async def send(self, response: Response, *, bodiless: bool = False) -> None:
        headers = [(name.encode(), value.encode()) for name, value in response.head.items()]
        head = self.parser.send(h11.Response(status_code=response.status, headers=headers)) or b""
        content = b"" if bodiless else response.content
        if response.cut_after is not None:
            await self.write(head, self.parser.send(h11.Data(content[: response.cut_after])) or b"")
            self.abort()
            return
        await self.write(head, self.parser.send(h11.Data(content)) or b"" if content else b"")
        await self.write(self.parser.send(h11.EndOfMessage()) or b"")
