"""A proxy in Python that only moves bytes, on the server that imagerouter runs on.

    python bench/gateway/proxy.py PORT UPSTREAM_PORT

No key, no routing, no JSON, no log and no care for errors: the baseline that every machine has.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_PIECE = 256 * 1024

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


Message = MutableMapping[str, Any]


class Proxy:
    def __init__(self, upstream: int) -> None:
        self._upstream = upstream
        self._idle: list[Streams] = []

    async def __call__(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        reader, writer = streams = await self._connection()
        head = f"{scope['method']} {scope['path']} HTTP/1.1\r\nhost: upstream\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        told = await reader.readuntil(b"\r\n\r\n")
        found = _LENGTH.search(told)
        left = int(found[1]) if found else 0
        headers = [(b"content-type", b"application/json"), (b"content-length", str(left).encode())]
        await send({"type": "http.response.start", "status": int(told[9:12]), "headers": headers})
        while left:
            piece = await reader.read(_PIECE)
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": left > 0})
        self._idle.append(streams)

    async def _connection(self) -> Streams:
        return (
            self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._upstream, limit=_PIECE)
        )


def main(port: int, upstream: int) -> None:
    uvicorn.run(
        Proxy(upstream),
        host="127.0.0.1",
        port=port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="critical",
        access_log=False,
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
