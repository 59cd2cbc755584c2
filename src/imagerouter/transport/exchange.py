"""One request and its answer on a connection."""

from __future__ import annotations

import asyncio
import ctypes
from io import BytesIO

import httpx

from imagerouter.transport.connection import SCRATCH, Connection
from imagerouter.transport.heads import LIMIT, Head, broken, check_fields, chunk_size, take_head
from imagerouter.transport.outgoing import Outgoing

_unwritten = ctypes.pythonapi.PyBytes_FromStringAndSize
"""Bytes of a length whose content doesn't matter yet, because writing zeros costs as much as receiving half of them."""
_unwritten.argtypes, _unwritten.restype = (ctypes.c_char_p, ctypes.c_ssize_t), ctypes.py_object
_PIECE = 32 * 1024 * 1024
"""Bytes that are made room for at a time because an answer announces them."""


class UnansweredError(httpx.RemoteProtocolError):
    """The connection was closed before the first byte of an answer."""


class Exchange:
    """Send, then read the head, then the body piece by piece. Whoever sees it fail closes the connection."""

    def __init__(self, connection: Connection, request: Outgoing, *, whole: bool) -> None:
        self.connection = connection
        self.whole = whole
        """Whether the body is wanted in as few pieces as possible, rather than as it comes."""
        self._request = request
        self._read_timeout = request.timeouts.get("read")
        self._write_timeout = request.timeouts.get("write")
        self._lasting = request.lasting
        self._chunked = False
        self._in_chunks = False
        self._rest: int | None = None
        """Bytes still to come of the chunk or the body; ``None`` where only the end of the connection tells."""
        self._head: Head | httpx.RemoteProtocolError | None = None
        self._room: BytesIO | None = None
        """Where the bytes that come next stay."""

    @property
    def is_reusable(self) -> bool:
        """Whether everything was sent and read, and both sides go on."""
        return self._lasting and self._rest == 0 and not self._chunked and not self.connection.ended

    # The request.

    async def send(self) -> None:
        """Everything, or as much as the backend wants: it may refuse a request before it has read it."""
        request = self._request
        if not isinstance(request.body, bytes):
            await self._stream(request.head, request.body, request.length)
        else:
            self.connection.write(request.head, request.body)
            if self.connection.is_full and not await self._taken():
                self._lasting = False

    async def _stream(self, head: bytes, body: httpx.AsyncByteStream, rest: int | None) -> None:
        chunked = rest is None
        async for piece in body:
            if rest is not None and (rest := rest - len(piece)) < 0:
                raise httpx.LocalProtocolError("the body is longer than its content-length")
            if not piece:
                continue
            if not head:
                await asyncio.sleep(0)  # if the backend has hung up, its last words are to be heard before we notice
            if not self._is_over():
                self.connection.write(head, *(_chunk(piece) if chunked else (piece,)))
            if not await self._taken():
                self._lasting = False
                return
            head = b""
        if rest:
            raise httpx.LocalProtocolError("the body is shorter than its content-length")
        if head or chunked:
            self.connection.write(head, b"0\r\n\r\n" if chunked else b"")

    async def _taken(self) -> bool:
        """Wait until the backend has taken what was written; whether it wants more."""
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
        connection = self.connection
        connection.on_arrival = self._look
        try:
            self._look()
            while self._head is None:
                if not await connection.more(self._read_timeout):
                    raise self._cut_off("in its head") if connection.received else self._unanswered()
        finally:
            connection.on_arrival = None
        if isinstance(self._head, httpx.RemoteProtocolError):
            raise self._head
        return self._head

    def _look(self) -> None:
        """Take the head, as soon as it is complete, and have the body go where it stays if that is known by then."""
        try:
            while self._head is None and (head := take_head(self.connection.received)) is not None:
                if head.status == 101:
                    raise broken("it changes to another protocol unasked")
                if head.status >= 200:
                    self._head = head
                    self._frame(head)
        except httpx.RemoteProtocolError as error:
            self._head = error

    def _frame(self, head: Head) -> None:
        bodyless = self._request.method == "HEAD"
        self._chunked = head.chunked and not bodyless
        self._rest = 0 if bodyless or self._chunked else head.length
        self._lasting = self._lasting and head.lasting
        if self.whole and self._rest:
            self._make_room(self._rest)

    async def rest(self) -> bytes:
        """All of the body that hasn't been read."""
        self.whole = True
        first = await self.piece()
        if self._rest == 0 and not self._chunked:
            return first
        pieces = [first]
        while piece := await self.piece():
            pieces.append(piece)
        return b"".join(pieces)

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
        if self.whole:
            self._make_room(count)
        if self._room is not None:
            if not await connection.filled(self._read_timeout):
                raise self._cut_off("in its body")
            room, self._room = self._room, None
            return room.getvalue()
        if not connection.received and not await connection.more(self._read_timeout):
            raise self._cut_off("in its body")
        return connection.take(count)

    def _make_room(self, count: int) -> None:
        """For a large body, or as much of it as one may believe in before it comes."""
        if self._room is None and count - len(self.connection.received) > SCRATCH:
            # `BytesIO` hands its bytes out without copying them, and is the only one to let others fill them.
            self._room = BytesIO(_unwritten(None, min(count, _PIECE)))
            self.connection.aim(self._room.getbuffer())

    async def _next_chunk(self) -> int:
        if self._in_chunks and await self._line():
            raise broken("a chunk is longer than its size says")
        self._in_chunks = True
        size = chunk_size(await self._line())
        if size == 0:
            self._chunked = False
            while line := await self._line():
                check_fields(line)
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
