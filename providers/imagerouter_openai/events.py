"""Server-sent events, as far as this API uses them: the data of each, put together from pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator

_DONE = b"[DONE]"


class Events:
    """A stream that is being read. Lines end with LF or CRLF; names, comments and ``[DONE]`` are left out."""

    def __init__(self) -> None:
        self._begun: list[bytes] = []
        """Pieces of a line whose end hasn't come yet. A picture is one line, of many of them."""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of each event that ``piece`` completes."""
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            line = b"".join([*self._begun, piece[start:end]]).removesuffix(b"\r")
            self._begun.clear()
            start = end + 1
            yield from self._line(line)
        if start < len(piece):
            self._begun.append(piece[start:])

    def _line(self, line: bytes) -> Iterator[bytes]:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif not line and self._data:
            whole, self._data = b"\n".join(self._data), []
            if whole != _DONE:
                yield whole
