"""An answer in several pieces, each of them sent as it is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, cast

from litestar.response import Response
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from imagerouter.app.cycle import MORE

LARGE = 65_536
"""Bytes from which on copying them costs more than sending a message for each piece."""


class Pieces(Response[Any]):
    """JSON whose pictures are pieces of their own: joining them would copy each once more."""

    def __init__(self, pieces: Sequence[bytes | memoryview], headers: Mapping[str, str]) -> None:
        # Nothing of Litestar's is needed but the type: it would encode a body and look for cookies.
        size = sum(map(len, pieces))
        self._pieces = pieces if size > LARGE else (b"".join(pieces),)
        told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        own = ((b"content-type", b"application/json"), (b"content-length", b"%d" % size))
        self._start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": 200,
            "headers": [*own, *told],
        }

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._send

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        if len(self._pieces) == 1:
            # Those that are ready in one turn of the loop go out one after the other, and wake a client once for all.
            await asyncio.sleep(0)
        await send(self._start)
        last = len(self._pieces) - 1
        for index, piece in enumerate(self._pieces):
            is_followed = index < last
            part = {"type": "http.response.body", "body": piece, "more_body": is_followed, MORE: is_followed}
            await send(cast(HTTPResponseBodyEvent, part))  # uvicorn sends whatever holds bytes
