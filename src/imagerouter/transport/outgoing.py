"""A request as it goes out: made from one of httpx's, or prepared once and sent many times."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx

from imagerouter.transport.connection import Origin
from imagerouter.transport.heads import TOKEN, closes

Timeouts = Mapping[str, float | None]
"""Seconds by httpx's names: ``connect``, ``read``, ``write``."""

_PORTS = {"http": 80, "https": 443}
_REPEATABLE = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"}
"""RFC 9110, section 9.2.2: what does the same when it is done twice."""
_FIELD = re.compile(TOKEN + rb": [^\x00\r\n]*")
_START = re.compile(TOKEN + rb" [\x21-\x7e\x80-\xff]+")


@dataclass(slots=True)
class Outgoing:
    """Everything that a connection has to know of a request."""

    origin: Origin
    method: str
    head: bytes
    """With the blank line."""
    body: bytes | httpx.AsyncByteStream
    length: int | None
    """Bytes of the body; ``None`` sends it in chunks."""
    timeouts: Timeouts
    lasting: bool = True
    """Whether the connection may take another request afterwards."""

    @property
    def is_repeatable(self) -> bool:
        return self.method in _REPEATABLE and isinstance(self.body, bytes)

    @classmethod
    def of(cls, request: httpx.Request) -> Outgoing:
        """Raises `httpx.LocalProtocolError` for what would be read as something else than it is."""
        headers, stream = request.headers, request.stream
        length = None if "transfer-encoding" in headers else int(headers.get("content-length", 0))
        body = request.content if length is not None and isinstance(stream, httpx.ByteStream) else stream
        if isinstance(body, bytes) and len(body) != length:
            raise httpx.LocalProtocolError("the body is not as long as its content-length")
        assert isinstance(body, bytes | httpx.AsyncByteStream)
        return cls(
            origin=origin_of(request),
            method=request.method,
            head=b"%b HTTP/1.1\r\n%b\r\n" % (_start(request), _fields(headers.raw)),
            body=body,
            length=length,
            timeouts=request.extensions.get("timeout", {}),
            lasting=not closes(headers.get("connection", "").encode()),
        )


@dataclass(slots=True)
class Prepared:
    """A request but for its query and its body."""

    origin: Origin
    method: str
    start: bytes
    fields: bytes
    lasting: bool

    @classmethod
    def of(cls, request: httpx.Request) -> Prepared:
        fields = [field for field in request.headers.raw if field[0].lower() != b"content-length"]
        lasting = not closes(request.headers.get("connection", "").encode())
        return cls(origin_of(request), request.method, _start(request), _fields(fields), lasting)

    def filled(self, body: bytes, query: Mapping[str, str] | None, timeouts: Timeouts) -> Outgoing:
        start = b"%b?%b" % (self.start, urlencode(query).encode()) if query else self.start
        if body or self.method != "GET":
            head = b"%b HTTP/1.1\r\n%bcontent-length: %d\r\n\r\n" % (start, self.fields, len(body))
        else:
            head = b"%b HTTP/1.1\r\n%b\r\n" % (start, self.fields)
        return Outgoing(self.origin, self.method, head, body, len(body), timeouts, self.lasting)


def origin_of(request: httpx.Request) -> Origin:
    url = request.url
    if url.scheme not in _PORTS or not url.raw_host:
        raise httpx.UnsupportedProtocol("an address must begin with http:// or https:// and name a host")
    host = url.raw_host.decode("ascii")
    name = request.extensions.get("sni_hostname", host) if url.scheme == "https" else None
    return Origin(host, _PORTS[url.scheme] if url.port is None else url.port, name)


def _start(request: httpx.Request) -> bytes:
    return _checked(_START, b"%b %b" % (request.method.encode("ascii"), request.url.raw_path))


def _fields(fields: list[tuple[bytes, bytes]]) -> bytes:
    return b"".join([_checked(_FIELD, b"%b: %b" % field) + b"\r\n" for field in fields])


def _checked(shape: re.Pattern[bytes], line: bytes) -> bytes:
    if not shape.fullmatch(line):
        raise httpx.LocalProtocolError("a line of the request's head has characters that end it, or none that it needs")
    return line
