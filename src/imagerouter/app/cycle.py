"""One request and its answer, as the protocol has them."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_FIELDS = re.compile(rb"(?:[^\x00-\x20\x7f:]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
MORE = "imagerouter.more"
"""In a message with a piece of a body: whether the next one follows at once, so that they can go out together."""
_FEW = 2
"""Pieces that aren't large: a head and the whole of a small body."""


class Cycle(RequestResponseCycle):
    """uvicorn's, but of an answer whose length is known the head and all that is there of the body go out at once.

    That saves a system call for each piece, and the client from being woken for it.
    """

    _start: Any = None
    """The message with the head, while it waits for the body."""
    _pieces: tuple[bytes | memoryview, ...] = ()
    """Of the body, while they wait for the rest."""

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            self._start = message if self._may_wait(message) else None
            if self._start is not None:
                return
        elif self._start is not None:
            self._pieces += (message.get("body", b""),)
            if message.get(MORE):
                return
            message = self._begun(message)
        await super().send(message)

    def _may_wait(self, message: Any) -> bool:
        fields = dict(message["headers"])
        return b"content-length" in fields and b"connection" not in fields and self.scope["method"] != "HEAD"

    def _begun(self, message: Any) -> Any:
        """Write the head and the pieces, of which the last is this message's; returns that message without it."""
        start, self._start = self._start, None
        pieces, self._pieces = self._pieces, ()
        fields = [*self.default_headers, *start["headers"]]
        if not self.keep_alive:
            fields.append((b"connection", b"close"))
        head = b"".join([b"%b: %b\r\n" % (name, value) for name, value in fields])
        if head.count(b"\r\n") != len(fields) or not _FIELDS.fullmatch(head):
            raise RuntimeError("an answer's head has characters that end it")
        self.response_started, self.waiting_for_100_continue, self.chunked_encoding = True, False, False
        self.expected_content_length = int(dict(fields)[b"content-length"]) - sum(map(len, pieces))
        if not self.disconnected:
            self._write(STATUS_LINE[start["status"]] + head + b"\r\n", *pieces)
        return {**message, "body": b""}

    def _write(self, *pieces: bytes | memoryview) -> None:
        if len(pieces) > _FEW and isinstance(self.transport, asyncio.Transport):
            for piece in pieces:  # asyncio would join them before Python 3.12; uvloop, which isn't derived, doesn't
                self.transport.write(piece)
        else:
            self.transport.writelines(pieces)
