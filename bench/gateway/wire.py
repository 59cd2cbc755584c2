"""What the backends of `upstream` hear and say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass

from websockets.http11 import Request as Handshake
from websockets.server import ServerProtocol

Part = bytes | memoryview
Answer = tuple[Part, ...]
"""Head and body, to be written one after the other."""


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    body: bytes
    head: bytes


def told(body: object, *, kind: str = "application/json", status: int = 200) -> Answer:
    """An answer whose body is given in parts, or as what JSON can hold."""
    parts = body if isinstance(body, tuple) else (json.dumps(body).encode(),)
    head = f"HTTP/1.1 {status} -\r\ncontent-type: {kind}\r\ncontent-length: {sum(map(len, parts))}\r\n\r\n"
    return (head.encode() + parts[0], *parts[1:])


class Socket:
    """A websocket that sends events; pings are answered, all else that comes is left unread."""

    def __init__(self, asked: Asked, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._protocol = ServerProtocol(max_size=None)
        self._protocol.receive_data(asked.head)
        for handshake in self._protocol.events_received():
            assert isinstance(handshake, Handshake)
            self._protocol.send_response(self._protocol.accept(handshake))
        self._flush()

    def send(self, *events: Mapping[str, object]) -> None:
        for event in events:
            self._protocol.send_text(json.dumps(event).encode())
        self._flush()

    def receive(self, data: bytes) -> None:
        self._protocol.receive_data(data)
        self._protocol.events_received()
        self._flush()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._transport.write(data)
            else:
                self._transport.close()
