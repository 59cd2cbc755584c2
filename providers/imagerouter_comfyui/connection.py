"""The library's connection, with a short way for what comes a hundred times for each picture.

To parse a frame, queue it and wait for it takes the library longer than all that is done with it. Whole messages are
cut out of what arrives; the handshake, fragments, pings and whatever is wrong are the library's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from websockets.asyncio.client import ClientConnection

_TEXT, _BINARY = 0x81, 0x82
"""First bytes of frames that are messages of their own: RFC 6455, section 5.2."""
_MASKED = 0x80
"""In the second byte; servers mustn't."""
_head = struct.Struct(">BBH").unpack_from
"""Kind, length, and, if that is 126, the real one."""


class Connection(ClientConnection):
    """Hands each message over when it comes, once `on_message` is set."""

    on_message: Callable[[bytearray, bool], None] | None = None
    """Told each message, and whether it is text."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._received = bytearray()
        self._is_upgraded: bool | None = None
        """``None`` until the server has answered the handshake."""

    def data_received(self, data: bytes) -> None:
        if self._is_upgraded is False:
            super().data_received(data)
            return
        received = self._received
        received += data
        start = 0
        if self._is_upgraded is None:
            if (start := received.find(b"\r\n\r\n") + 4) < 4:
                return
            self._is_upgraded = received.startswith(b"HTTP/1.1 101")
            if not self._is_upgraded:
                start = len(received)
            super().data_received(bytes(received[:start]))
        del received[: self._frames(received, start)]

    def _frames(self, received: bytearray, start: int) -> int:
        """Hand on each complete frame from ``start`` on. Returns where the rest begins."""
        size, tell = len(received), self.on_message
        while size - start >= 2:
            kind, length, longer = _head(received, start) if size - start >= 4 else (*received[start : start + 2], 0)
            if length < 126:
                end = (body := start + 2) + length
            elif length == 126:
                end = (body := start + 4) + longer
            else:
                body, end = _ends(received, start)
            if end > size:
                break
            if tell is None or kind not in (_TEXT, _BINARY) or length & _MASKED:
                super().data_received(bytes(received[start:end]))
            else:
                tell(received[body:end], kind == _TEXT)
            start = end
        return start


def _ends(received: bytearray, start: int) -> tuple[int, int]:
    """Where the payload of any frame begins and ends, also beyond what has been received of it."""
    length, body = received[start + 1] % _MASKED, start + 2
    if length > 125:
        body += 2 if length == 126 else 8
        length = int.from_bytes(received[start + 2 : body])
    if received[start + 1] & _MASKED:
        body += 4
    return body, body + length
