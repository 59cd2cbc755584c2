"""One request and its answer on a connection."""

from __future__ import annotations

import asyncio
import ctypes
from io import BytesIO

import httpx

from imagerouter.transport.connection import SCRATCH, Connection
from imagerouter.transport.heads import LIMIT, Head, broken, chunk_size, closes, fields, rendered, take_head

_unwritten = ctypes.pythonapi.PyBytes_FromStringAndSize
"""Bytes of a length whose content doesn't matter yet, because writing zeros costs as much as receiving half of them."""
_unwritten.argtypes, _unwritten.restype = (ctypes.c_char_p, ctypes.c_ssize_t), ctypes.py_object
_PIECE = 32 * 1024 * 1024
"""Bytes that are made room for at a time because an answer announces them."""


class UnansweredError(httpx.RemoteProtocolError):
    """The connection was closed before the first byte of an answer."""


class Exchange:
    """Send, then read the head, then the body piece by piece. Whoever sees it fail closes the connection."""

    whole = False
    """Whether the body is wanted in as few pieces as possible, rather than as it comes."""

    def __init__(self, connection: Connection, request: httpx.Request) -> None:
        timeouts = request.extensions.get("timeout", {})
        self.connection = connection
        self._request = request
        self._read_timeout: float | None = timeouts.get("read")
        self._write_timeout: float | None = timeouts.get("write")
        self._lasting = not closes(request.headers.get("connection", "").encode())
        self._chunked = False
        self._in_chunks = False
        self._rest: int | None = None
        """Bytes still to come of the chunk or the body; ``None`` where only the end of the connection tells."""

    @property
    def is_reusable(self) -> bool:
        """Whether everything was sent and read, and both sides go on."""
        return self._lasting and self._rest == 0 and not self._chunked and not self.connection.ended

    # The request.

    async def send(self) -> None:
        """Everything, or as much as the backend wants: it may refuse a request before it has read it."""
        head, headers = rendered(self._request), self._request.headers
        chunked = "transfer-encoding" in headers
        rest = None if chunked else int(headers.get("content-length", 0))
        assert isinstance(self._request.stream, httpx.AsyncByteStream)
        async for piece in self._request.stream:
            if rest is not None and (rest := rest - len(piece)) < 0:
                raise httpx.LocalProtocolError("the body is longer than its content-length")
            if piece and not await self._write(head, *(_chunk(piece) if chunked else (piece,))):
                self._lasting = False
                return
            head = b"" if piece else head
        if rest:
            raise httpx.LocalProtocolError("the body is shorter than its content-length")
        if head or chunked:
            self.connection.write(head, b"0\r\n\r\n" if chunked else b"")

    async def _write(self, head: bytes, *pieces: bytes) -> bool:
        if not head:
            await asyncio.sleep(0)  # if the backend has hung up, its last words are to be heard before we notice
        if self._is_over():
            return False
        self.connection.write(head, *pieces)
        while self.connection.is_full and not self._is_over():
            await self.connection.room(self._write_timeout)
        return not self._is_over()

    def _is_over(self) -> bool:
        """Whether the rest of the request is of no use: the backend has refused it, or hung up."""
        received = self.connection.received
        while received[9:10] == b"1" and take_head(received):
            pass
        return self.connection.ended or received[9:10] >= b"3"

    # The answer.

    async def head(self) -> Head:
        """The head of the final answer; the interim ones (1xx) before it say nothing that matters."""
        while True:
            while (head := take_head(self.connection.received)) is None:
                if not await self.connection.more(self._read_timeout):
                    raise self._cut_off("in its head") if self.connection.received else self._unanswered()
            if head.status == 101:
                raise broken("it changes to another protocol unasked")
            if head.status >= 200:
                break
        bodyless = self._request.method == "HEAD"
        self._chunked = head.chunked and not bodyless
        self._rest = 0 if bodyless or self._chunked else head.length
        self._lasting = self._lasting and head.lasting
        return head

    async def piece(self) -> bytes:
        """The next bytes of the body; none at its end."""
        if self._chunked and not self._rest:
            self._rest = await self._next_chunk()
        if self._rest is None:
            return await self._some()
        if self._rest == 0:
            return b""
        piece = await self._counted(self._rest)
        self._rest -= len(piece)
        return piece

    async def _some(self) -> bytes:
        if self.connection.received or await self.connection.more(self._read_timeout):
            return self.connection.take(SCRATCH)
        if self.connection.error is not None:
            raise self._cut_off("")
        self._rest = 0
        return b""

    async def _counted(self, count: int) -> bytes:
        connection = self.connection
        if self.whole and count - len(connection.received) > SCRATCH:
            # `BytesIO` hands its bytes out without copying them, and is the only one to let others fill them.
            room = BytesIO(_unwritten(None, min(count, _PIECE)))
            with room.getbuffer() as view:
                if await connection.fill(view, self._read_timeout) < len(view):
                    raise self._cut_off("in its body")
            return room.getvalue()
        if not connection.received and not await connection.more(self._read_timeout):
            raise self._cut_off("in its body")
        return connection.take(count)

    async def _next_chunk(self) -> int:
        if self._in_chunks and await self._line():
            raise broken("a chunk is longer than its size says")
        self._in_chunks = True
        size = chunk_size(await self._line())
        if size == 0:
            self._chunked = False
            while line := await self._line():
                fields(line)
        return size

    async def _line(self) -> bytes:
        received = self.connection.received
        while (end := received.find(b"\r\n")) < 0:
            if len(received) > LIMIT:
                raise broken(f"a line is longer than {LIMIT} bytes")
            if not await self.connection.more(self._read_timeout):
                raise self._cut_off("in its body")
        return self.connection.take(end + 2)[:-2]

    def _cut_off(self, where: str) -> httpx.TransportError:
        if self.connection.error is not None:
            return httpx.ReadError(str(self.connection.error))
        return httpx.RemoteProtocolError(f"the answer ends {where}")

    def _unanswered(self) -> UnansweredError:
        return UnansweredError(f"the connection was closed before an answer: {self.connection.error or 'no reason'}")


def _chunk(piece: bytes) -> tuple[bytes, bytes, bytes]:
    return b"%x\r\n" % len(piece), piece, b"\r\n"
