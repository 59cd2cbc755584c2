"""An answer in several pieces, each of them sent as it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

from litestar.response import Response
from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

LARGE = 65_536
"""Bytes from which on copying a piece costs more than sending it by itself."""


class Pieces(Response[Any]):
    """JSON whose pictures are pieces of their own: joining them would copy each once more."""

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(b"")
        self._pieces = _few(pieces)
        size = sum(map(len, pieces))
        told = {"content-type": "application/json", "content-length": str(size), **headers}
        self._start: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": 200,
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()],
        }

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._send

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's
        await send(self._start)
        for piece in self._pieces[:-1]:
            await send(_part(piece, more=True))
        await send(_part(self._pieces[-1], more=False))


def _few(pieces: Iterable[bytes]) -> list[bytes]:
    """The small ones joined: each costs a message."""
    return [joined for large, some in groupby(pieces, _is_large) for joined in (some if large else [b"".join(some)])]


def _is_large(piece: bytes) -> bool:
    return len(piece) > LARGE


def _part(piece: bytes, *, more: bool) -> HTTPResponseBodyEvent:
    return {"type": "http.response.body", "body": piece, "more_body": more}
