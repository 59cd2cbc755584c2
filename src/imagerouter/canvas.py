"""How big to draw, so that exactly the asked size comes back.

Backends silently round a canvas down to what the model can draw. So the next multiple up is drawn instead: a picture
from text is cut out of its middle, and an edited one is stretched to it and back, so that it stays aligned with its
source.
"""

from __future__ import annotations

import math

import msgspec

from imagerouter.types import ImageRequest, Operation

LARGEST = 16384
"""Longest side of a canvas in pixels, which is what ComfyUI's nodes take (`MAX_RESOLUTION` in its ``nodes.py``)."""
LEAST = 16
"""Shortest side of a picture in pixels."""


class Size(msgspec.Struct, frozen=True):
    """Pixels: of the picture, and of the canvas that holds it."""

    width: int
    height: int
    canvas_width: int
    canvas_height: int

    @property
    def is_whole(self) -> bool:
        """Whether the canvas is the picture."""
        return (self.width, self.height) == (self.canvas_width, self.canvas_height)

    def scaled(self, factor: float, multiple: int) -> Size:
        """Of the picture ``factor`` times as wide and high."""
        width, height = (max(LEAST, round(side * factor)) for side in (self.width, self.height))
        return fitted(width, height, multiple)


def fitted(width: int, height: int, multiple: int) -> Size:
    """A picture of this size on the least canvas that holds it."""
    return Size(width, height, _up(width, multiple), _up(height, multiple))


def choose(
    request: ImageRequest, source: tuple[int, int] | None, *, native: tuple[int, int], multiple: int, times: int
) -> Size:
    """What was asked for, else the input picture's own size, else the model's.

    :param source: width and height of the input picture, where they are known.
    :param native: width and height that the model was trained for.
    :param multiple: what sides of a canvas are divisible by.
    :param times: an input picture sets the size up to so many times the native area. Beyond about four of them models
        repeat themselves. Those that look at the picture while they draw a new one aren't held together by it: 1.
    """
    usual = native
    if request.operation is not Operation.GENERATE and source is not None:
        usual = bounded(source, native[0] * native[1] * times, multiple)
    return fitted(request.width or usual[0], request.height or usual[1], multiple)


def bounded(size: tuple[int, int], area: int, multiple: int) -> tuple[int, int]:
    """The same shape with at most ``area`` pixels and sides that a canvas can have; unchanged where it has them."""
    width, height = size
    factor = min(1.0, math.sqrt(area / (width * height)), LARGEST / max(size))
    if factor < 1:
        width, height = (max(multiple, int(side * factor) // multiple * multiple) for side in size)
    return max(LEAST, width), max(LEAST, height)


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple
