"""Backends that draw nothing: an OpenAI, an AUTOMATIC1111 and a ComfyUI behind one port, with every answer at hand.

Run as a process, it prints its address. Which picture comes, how large it is and when is told by the prompt
(`pictures`).
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Mapping
from typing import cast
from urllib.parse import parse_qsl, unquote

import a1111
import uvloop
from comfy import Comfy
from pictures import Picture
from wire import Answer, Asked, Socket, told

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)


class Upstream(asyncio.Protocol):
    """One connection."""

    def __init__(self, comfy: Comfy, static: Mapping[str, Answer]) -> None:
        self._comfy, self._static = comfy, static
        self._received = bytearray()
        self._socket: Socket | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # which uvloop's isn't, but is like

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002
        if self._socket is not None:
            self._comfy.leave(self._socket)

    def data_received(self, data: bytes) -> None:
        if self._socket is not None:
            self._socket.receive(data)
            return
        self._received += data
        while (asked := self._next()) is not None:
            self._serve(asked)

    def _next(self) -> Asked | None:
        """The first request that is complete."""
        end = self._received.find(b"\r\n\r\n") + 4
        if end < 4:
            return None
        head = bytes(self._received[:end])
        if _CHUNKED.search(head):
            close = self._received.find(b"0\r\n\r\n", end)
            if close < 0:
                return None
            body, rest = bytes(self._received[end:close]), close + 5
        else:
            found = _LENGTH.search(head)
            rest = end + (int(found[1]) if found else 0)
            if len(self._received) < rest:
                return None
            body = bytes(self._received[end:rest])
        del self._received[:rest]
        method, target = head.split(b" ", 2)[:2]
        path, _, query = target.decode().partition("?")
        return Asked(method.decode(), unquote(path), dict(parse_qsl(query)), body, head)

    def _serve(self, asked: Asked) -> None:
        if asked.path == "/ws":
            self._socket = Socket(asked, self._transport)
            self._comfy.join(self._socket, asked.query.get("clientId", ""))
            return
        answer, delay_ms = self._answer(asked)
        if delay_ms:
            asyncio.get_running_loop().call_later(delay_ms / 1000, self._write, answer)
        else:
            self._write(answer)

    def _answer(self, asked: Asked) -> tuple[Answer, int]:
        """What is said, and after how many milliseconds."""
        match asked.method, asked.path:
            case "POST", "/v1/images/generations":
                picture = Picture.ordered(asked.body)
                return openai(picture), picture.delay_ms
            case "POST", "/sdapi/v1/txt2img":
                picture = Picture.ordered(asked.body)
                return a1111.job(picture, asked.body), picture.delay_ms
        return self._static.get(asked.path) or self._comfy.answer(asked) or told({}, status=404), 0

    def _write(self, answer: Answer) -> None:
        if not self._transport.is_closing():
            for part in answer:
                self._transport.write(part)


def openai(picture: Picture) -> Answer:
    """As gpt-image-1 answers, the picture in base64."""
    head, noise, tail = picture.base64
    usage = {"input_tokens": 10, "output_tokens": 4160, "total_tokens": 4170}
    rest = {"background": "opaque", "output_format": "png", "quality": "high", "size": "1024x1024", "usage": usage}
    before = b'{"created":1760000000,"data":[{"b64_json":"' + head
    return told((before, noise, tail + b'"}],' + json.dumps(rest).encode()[1:]))


async def main() -> None:
    comfy = Comfy()
    models = {"object": "list", "data": [{"id": "gpt-image-1", "object": "model", "created": 0, "owned_by": "openai"}]}
    static = {path: told(answer) for path, answer in (a1111.ANSWERS | {"/v1/models": models}).items()}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(comfy, static), "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
