"""HTTP/1.1 heads as bytes (RFC 9112): what a request begins with, and what the head of an answer says."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

LIMIT = 100 * 1024
"""Bytes of an answer's head, or of a line between chunks; httpcore draws the line there too."""
_START = b"HTTP/1."
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00\r\n\v\f]*))?")
_TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_FIELD = re.compile(rb"(" + _TOKEN + rb"):[ \t]*([^\x00\r\n\v\f]*)")
_OUR_FIELD = re.compile(_TOKEN + rb": [^\x00\r\n]*")
_OUR_START = re.compile(_TOKEN + rb" [\x21-\x7e\x80-\xff]+ HTTP/1\.1")
_DIGITS = re.compile(rb"[0-9]{1,20}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")

Fields = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Head:
    """What an answer begins with."""

    status: int
    reason: bytes
    fields: Fields
    chunked: bool = False
    length: int | None = None
    """Bytes of the body; ``None`` where only chunks or the end of the connection tell."""
    lasting: bool = True
    """Whether the connection can take another request afterwards."""


def broken(reason: str) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"the answer is not HTTP/1.1: {reason}")


def rendered(request: httpx.Request) -> bytes:
    """The head of a request.

    :raises httpx.LocalProtocolError: where a field would be read as something else than one field.
    """
    start = b"%b %b HTTP/1.1" % (request.method.encode("ascii"), request.url.raw_path)
    lines = [b"%b: %b" % field for field in request.headers.raw]
    if not _OUR_START.fullmatch(start) or not all(map(_OUR_FIELD.fullmatch, lines)):
        raise httpx.LocalProtocolError("a line of the request's head has characters that end it, or none that it needs")
    return b"\r\n".join((start, *lines, b"", b""))


def take_head(received: bytearray) -> Head | None:
    """Cut the head off, interim ones (1xx) included; ``None`` as long as it isn't complete.

    :raises httpx.RemoteProtocolError: it is malformed or too long.
    """
    if not received.startswith(_START[: len(received)]):
        raise broken("it doesn't begin with a status line")
    end = _BLANK_LINE.search(received)
    if (len(received) if end is None else end.start()) > LIMIT:
        raise broken(f"its head is longer than {LIMIT} bytes")
    if end is None:
        return None
    head = _parsed(bytes(received[: end.start()].removesuffix(b"\r")))
    del received[: end.end()]
    return head


def _parsed(block: bytes) -> Head:
    start, *rest = _LINE_END.split(block, maxsplit=1)
    status = _STATUS.fullmatch(start)
    if status is None:
        raise broken("its status line is malformed")
    head = Head(int(status[2]), status[3] or b"", fields(rest[0]) if rest else [], lasting=status[1] == b"1")
    _frame(head)
    return head


def fields(block: bytes) -> Fields:
    """Names and values of the lines.

    :raises httpx.RemoteProtocolError: a line is no field.
    """
    found = []
    for line in _LINE_END.split(_FOLD.sub(b" ", block)):
        match = _FIELD.fullmatch(line)
        if match is None:
            raise broken("a line of its head is malformed")
        found.append((match[1], match[2].rstrip(b" \t")))
    return found


def _frame(head: Head) -> None:
    """How the body ends: RFC 9112, section 6.3."""
    for name, value in head.fields:
        match name.lower():
            case b"content-length":
                _count(head, value)
            case b"transfer-encoding":
                if head.chunked or value.lower() != b"chunked":
                    raise broken("its transfer coding isn't `chunked`")
                head.chunked = True
            case b"connection":
                head.lasting = head.lasting and not closes(value)
    if head.chunked and head.length is not None:
        head.length, head.lasting = None, False
    if head.status < 200 or head.status in (204, 304):
        head.length, head.chunked = 0, False


def _count(head: Head, value: bytes) -> None:
    for number in value.split(b","):
        if not _DIGITS.fullmatch(number.strip()) or head.length not in (None, int(number)):
            raise broken("its content-length makes no sense")
        head.length = int(number)


def closes(connection: bytes) -> bool:
    """Whether a ``connection`` field says that this exchange is the last one."""
    return b"close" in connection.lower().replace(b" ", b"").split(b",")


def chunk_size(line: bytes) -> int:
    """Bytes of the chunk that a line announces.

    :raises httpx.RemoteProtocolError: it announces none.
    """
    match = _CHUNK.fullmatch(line.rstrip(b" \t"))
    if match is None:
        raise broken("the size of a chunk makes no sense")
    return int(match[1], 16)
