"""HTTP/1.1 heads as bytes (RFC 9112): what the head of an answer says."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx

LIMIT = 100 * 1024
"""Bytes of an answer's head, or of a line between chunks; httpcore draws the line there too."""
TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+"

_BEGINNING = b"HTTP/1."
_BLANK_LINE = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")
_FOLD = re.compile(rb"\r?\n[ \t]+")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00\r\n\v\f]*))?")
_FIELD = re.compile(rb"(" + TOKEN + rb"):[ \t]*([^\x00\r\n\v\f]*)")
_FIELDS = re.compile(rb"(?:" + TOKEN + rb"+:[^\x00\r\n\v\f]*+(?:\r?\n|\Z))*+")
_FRAMING = re.compile(
    rb"^(content-length|transfer-encoding|connection|content-encoding):[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE
)
_DIGITS = re.compile(rb"[0-9]{1,20}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n]*)?")


@dataclass(slots=True)
class Head:
    """What an answer begins with."""

    status: int
    reason: bytes
    lines: bytes
    """Those of its fields, which are only taken apart for who asks."""
    chunked: bool = False
    length: int | None = None
    """Bytes of the body; ``None`` where only chunks or the end of the connection tell."""
    lasting: bool = True
    """Whether the connection can take another request afterwards."""
    is_encoded: bool = False
    """Whether the body is compressed."""

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        return [(name, value.rstrip(b" \t")) for name, value in _FIELD.findall(self.lines)]


def broken(reason: str) -> httpx.RemoteProtocolError:
    return httpx.RemoteProtocolError(f"the answer is not HTTP/1.1: {reason}")


def take_head(received: bytearray) -> Head | None:
    """Cut the head off, interim ones (1xx) included; ``None`` as long as it isn't complete.

    :raises httpx.RemoteProtocolError: it is malformed or too long.
    """
    if not received.startswith(_BEGINNING[: len(received)]):
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
    lines = _FOLD.sub(b" ", rest[0]) if rest else b""
    check_fields(lines)
    head = Head(int(status[2]), status[3] or b"", lines, lasting=status[1] == b"1")
    _frame(head)
    return head


def check_fields(lines: bytes) -> None:
    """Raise `httpx.RemoteProtocolError` if a line is no field."""
    if not _FIELDS.fullmatch(lines):
        raise broken("a line of its head is malformed")


def _frame(head: Head) -> None:
    """How the body ends: RFC 9112, section 6.3."""
    for name, padded in _FRAMING.findall(head.lines):
        value = padded.rstrip(b" \t")
        match name.lower():
            case b"content-length":
                _count(head, value)
            case b"transfer-encoding":
                if head.chunked or value.lower() != b"chunked":
                    raise broken("its transfer coding isn't `chunked`")
                head.chunked = True
            case b"connection":
                head.lasting = head.lasting and not closes(value)
            case _:
                head.is_encoded = value.lower() != b"identity"
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
