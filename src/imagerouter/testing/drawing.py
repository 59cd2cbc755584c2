"""Small pictures for tests: quick to draw, valid, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache

import PIL.Image

from imagerouter.types import Image

CELLS = 4
"""Pictures are a grid of this many cells a side, so that two of them hardly ever look the same."""


def make_image(
    width: int = 64, height: int = 64, colour: str | tuple[int, ...] = "teal", file_format: str = "png"
) -> Image:
    """A picture in one colour; a colour with four components makes one with an alpha channel."""
    mode = "RGBA" if isinstance(colour, tuple) and len(colour) == 4 else "RGB"
    return Image(data=_encode(PIL.Image.new(mode, (width, height), colour), file_format))


def decode(image: Image) -> PIL.Image.Image:
    """The picture's pixels. Fails if the file is cut short or isn't what ``media_type`` says."""
    picture = PIL.Image.open(io.BytesIO(image.data))
    picture.load()
    found = PIL.Image.MIME.get(picture.format or "")
    if found != image.media_type:
        raise AssertionError(f"the file is {found}, but media_type says {image.media_type}")
    return picture


@lru_cache(maxsize=64)
def draw(fingerprint: bytes, width: int, height: int, file_format: str = "png") -> bytes:
    """The file of a picture that depends on ``fingerprint`` and on nothing else."""
    pixels = hashlib.shake_128(fingerprint).digest(CELLS * CELLS * 3)
    grid = PIL.Image.frombytes("RGB", (CELLS, CELLS), pixels)
    return _encode(grid.resize((width, height), PIL.Image.Resampling.NEAREST), file_format)


def _encode(picture: PIL.Image.Image, file_format: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, file_format, **({"compress_level": 1} if file_format == "png" else {}))
    return file.getvalue()
