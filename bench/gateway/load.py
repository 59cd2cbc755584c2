"""The load: a fixed number of requests, drained to the last one, every byte of every picture compared.

Ending by the clock would charge the CPU time of requests that never finished to those that did. Answers are received
into one buffer for each connection and compared where they lie, so that the load takes little of the machine that
the contestants share with it.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import cast

from pictures import Picture

TIMEOUT = 120.0
"""Seconds for one answer."""

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_PAYLOAD = re.compile(rb'"b64_json" *: *"')
_ROOM = 65_536
"""Bytes of an answer beside its picture, and the least that is received at once."""


@dataclass(frozen=True)
class Door:
    """Where requests go, and what they say beside the prompt."""

    port: int
    model: str
    path: str = "/v1/images/generations"
    headers: Mapping[str, str] = field(default_factory=dict)

    def request(self, picture: Picture) -> bytes:
        asked = {"model": self.model, "prompt": picture.prompt, "n": 1, "size": "1024x1024"}
        body = json.dumps(asked).encode()
        headers = {"host": f"127.0.0.1:{self.port}", "content-type": "application/json", **self.headers}
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        return f"POST {self.path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode() + body


class WrongAnswerError(Exception):
    """An answer that isn't 200 with the very picture that was asked for."""


class Connection(asyncio.BufferedProtocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray(_ROOM)
        self._filled = self._body = self._end = 0
        self._is_chunked = False
        self._answered: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # which uvloop's isn't, but is like

    def connection_lost(self, error: Exception | None) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(WrongAnswerError(f"the connection was closed ({error})"))

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002
        if len(self._buffer) - self._filled < _ROOM // 2:
            self._buffer += bytes(max(_ROOM, len(self._buffer)))
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, count: int) -> None:
        self._filled += count
        if not self._body:
            self._read_head()
        if self._is_complete() and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    async def ask(self, request: bytes, picture: Picture) -> None:
        """Raises `WrongAnswerError`, or `TimeoutError`."""
        if len(self._buffer) < picture.base64_size + 2 * _ROOM:
            self._buffer = bytearray(picture.base64_size + 2 * _ROOM)
        self._filled = self._body = self._end = 0
        self._answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        timer = asyncio.get_running_loop().call_later(TIMEOUT, self._give_up)
        try:
            await self._answered
        finally:
            timer.cancel()
        self._check(picture)

    def _give_up(self) -> None:
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(TimeoutError(f"no answer within {TIMEOUT:g} seconds"))

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if end < 0:
            return
        head = self._buffer[: end + 2]
        self._body, length = end + 4, _LENGTH.search(head)
        self._is_chunked = _CHUNKED.search(head) is not None
        self._end = self._body + int(length[1]) if length else 0

    def _is_complete(self) -> bool:
        if self._is_chunked and self._body:
            return self._buffer.endswith(b"0\r\n\r\n", self._body, self._filled)
        return bool(self._body) and self._filled >= self._end

    def _check(self, picture: Picture) -> None:
        status = self._buffer[9:12]
        if status != b"200":
            told = bytes(self._buffer[self._body : min(self._filled, self._body + 500)])
            raise WrongAnswerError(f"HTTP {status.decode()}: {told.decode(errors='replace')}")
        answer = self._joined() if self._is_chunked else self._buffer
        found = _PAYLOAD.search(answer, self._body)
        if found is None:
            raise WrongAnswerError("no picture in the answer")
        at = found.end()
        for part in (*picture.base64, b'"'):
            if not answer.startswith(part, at):
                raise WrongAnswerError(f"another picture than `{picture.prompt}`, or a damaged one")
            at += len(part)

    def _joined(self) -> bytearray:
        """The answer without the marks between its chunks."""
        joined, at = self._buffer[: self._body], self._body
        while True:
            line = self._buffer.index(b"\r\n", at)
            size = int(self._buffer[at:line].split(b";")[0], 16)
            if not size:
                return joined
            joined += memoryview(self._buffer)[line + 2 : line + 2 + size]
            at = line + 2 + size + 2


@dataclass(frozen=True)
class Drained:
    """What came of a load."""

    seconds: float
    latencies: tuple[float, ...]
    """Seconds from each request to its whole answer, sorted."""
    errors: tuple[str, ...]

    def percentile(self, share: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(share * len(self.latencies)))]


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


async def drain(door: Door, pictures: Iterable[Picture], at_once: int) -> Drained:
    """Ask for all pictures over ``at_once`` connections, and wait for the last one."""
    waiting, latencies, errors = iter(pictures), list[float](), list[str]()

    async def one_after_another(left: Iterator[Picture]) -> None:
        connection = await connect(door.port)
        for picture in left:
            request, began = door.request(picture), time.perf_counter()
            try:
                await connection.ask(request, picture)
            except (WrongAnswerError, TimeoutError, OSError) as error:
                errors.append(str(error))
                connection.transport.abort()
                connection = await connect(door.port)
            else:
                latencies.append(time.perf_counter() - began)
        connection.transport.close()

    began = time.perf_counter()
    await asyncio.gather(*(one_after_another(waiting) for _ in range(at_once)))
    return Drained(time.perf_counter() - began, tuple(sorted(latencies)), tuple(errors))
