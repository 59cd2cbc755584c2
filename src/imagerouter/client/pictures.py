"""Pictures as a program has them: those that it sends, and those that it gets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import IO, Any, TypeAlias

from PIL import Image as Pillow

from imagerouter.embedding import read
from imagerouter.errors import InvalidParameterError
from imagerouter.images import dimensions, encoded
from imagerouter.inputs import plain_file
from imagerouter.sources import check_size
from imagerouter.types import Image

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp", ".avif": "avif"}


@dataclass(frozen=True)
class Picture:
    """A picture that has been drawn. Jupyter shows it."""

    image: Image = field(repr=False)
    seed: int | None
    """Draws the same picture again, where everything else stays the same; ``None`` where the provider knows none."""

    @property
    def data(self) -> bytes:
        """The file."""
        return self.image.data

    @property
    def b64(self) -> str:
        """The file in base64."""
        return self.image.b64.decode()

    @property
    def media_type(self) -> str:
        """Such as ``image/png``."""
        return self.image.media_type

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return dimensions(self.image) or self.pil().size

    def pil(self) -> Pillow.Image:
        """The pixels, for Pillow."""
        with Pillow.open(BytesIO(self.data)) as opened:
            opened.load()
            return opened

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the file, and give its path.

        A suffix of another format (``.png``, ``.jpg``, ``.jpeg``, ``.webp``, ``.avif``) makes it one of these, in its
        best quality; with a suffix of no picture (``.bin``), or none, it is the file that was drawn. Raises `OSError`,
        and `ValueError` for a suffix of yet another format (``.gif``).
        """
        path = Path(path)
        suffix = path.suffix.lower()
        wanted = FORMATS.get(suffix, "")
        if not wanted and suffix in Pillow.registered_extensions():
            raise ValueError(
                f"a picture is saved as one of {', '.join(FORMATS)}, not {suffix}; for others there is `pil()`"
            )
        data = self.data
        if wanted and self.media_type != f"image/{wanted}":
            data = encoded(self.image, wanted, None, read(data)).data
        path.write_bytes(data)
        return path

    def _repr_mimebundle_(self, **_: Any) -> Mapping[str, str]:
        return {self.media_type: self.b64, "text/plain": repr(self)}


PictureLike: TypeAlias = bytes | os.PathLike[str] | IO[bytes] | Pillow.Image | Image | Picture | str
"""A picture to send: a file's bytes, its path (as `pathlib.Path`), an open file, a picture of Pillow, one that was
drawn before, or a text as over HTTP: base64, a data URL, or an address, where ``inputs`` allows to fetch it.
A text is never taken for a path, so that a program may pass on what somebody else has written."""


def picture(given: Any, param: str) -> Image:
    """The picture, unless it is a text. For a thread. Raises `InvalidParameterError`."""
    match given:
        case Image():
            image = given
        case Picture():
            image = given.image
        case bytes() | bytearray() | memoryview():
            image = Image(data=bytes(given))
        case Pillow.Image():
            image = _file(given, param)
        case os.PathLike():
            image = _read(given, param)
        case _:
            image = _opened(given, param)
    return image


def _opened(file: Any, param: str) -> Image:
    try:
        data = file.read() if hasattr(file, "read") else None
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"`{param}`: the file can't be read: {_reason(error)}", param=param) from error
    if data == b"":
        raise InvalidParameterError(f"`{param}`: the file has nothing more to read", param=param)
    if isinstance(data, bytes):
        return Image(data=data)
    kinds = "bytes, a `pathlib.Path`, an open binary file, a picture of Pillow, base64 or a data URL"
    message = f"`{param}` must be a picture, as {kinds}, not {type(file).__name__}"
    raise InvalidParameterError(message, param=param)


def _file(pixels: Pillow.Image, param: str) -> Image:
    check_size(pixels, param)
    try:
        return plain_file(pixels)
    except (OSError, ValueError) as error:
        raise InvalidParameterError(f"`{param}` can't be read: {error}", param=param) from error


def _read(path: os.PathLike[str], param: str) -> Image:
    try:
        return Image(data=Path(path).read_bytes())
    except OSError as error:
        raise InvalidParameterError(f"`{param}`: the file can't be read: {_reason(error)}", param=param) from error


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower().removesuffix(".")
