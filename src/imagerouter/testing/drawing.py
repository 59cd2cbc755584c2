"""Small pictures for tests: quick to draw, valid, and the same bytes every time."""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache
from typing import Any

import PIL.ExifTags
import PIL.Image
import PIL.PngImagePlugin

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
def draw(fingerprint: bytes, width: int, height: int, file_format: str = "png", text: str = "") -> bytes:
    """The file of a picture that depends on ``fingerprint`` and on nothing else; ``text`` is put into its metadata."""
    pixels = hashlib.shake_128(fingerprint).digest(CELLS * CELLS * 3)
    grid = PIL.Image.frombytes("RGB", (CELLS, CELLS), pixels)
    return _encode(grid.resize((width, height), PIL.Image.Resampling.NEAREST), file_format, text)


def _encode(picture: PIL.Image.Image, file_format: str, text: str = "") -> bytes:
    file = io.BytesIO()
    options: dict[str, Any] = {"compress_level": 1} if file_format == "png" else {}
    if text and file_format == "png":
        options["pnginfo"] = PIL.PngImagePlugin.PngInfo()
        options["pnginfo"].add_text("parameters", text)
    elif text:
        options["exif"] = picture.getexif()
        options["exif"][PIL.ExifTags.Base.ImageDescription] = text
    picture.save(file, file_format, **options)
    return file.getvalue()
