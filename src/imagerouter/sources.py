"""Input pictures as their viewer sees them. Decoding is for a thread."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import cast

from PIL import ExifTags, ImageOps
from PIL import Image as Pillow

from imagerouter.errors import InvalidParameterError
from imagerouter.types import Image

LARGEST = 89_000_000
"""Pixels of an input picture. Beyond that Pillow warns of files that are made to fill the memory."""
TOO_LARGE = (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning)
BROKEN = (OSError, ValueError, SyntaxError, struct.error)
"""What Pillow raises for a file that isn't a picture, or only the beginning of one."""


def decode(image: Image, param: str, *, modes: tuple[str, ...]) -> tuple[Pillow.Image, bool]:
    """The first frame with its EXIF rotation applied, and whether every server would read the file in this way.

    :param modes: of Pillow, that every server knows.

    Raises `InvalidParameterError`.
    """
    try:
        with Pillow.open(BytesIO(image.data)) as opened:
            if opened.width * opened.height > LARGEST:
                raise _too_large(param)
            upright = ImageOps.exif_transpose(opened)
            return _in_eight_bits(upright), _is_plain(opened, modes)
    except TOO_LARGE:
        raise _too_large(param) from None
    except (*BROKEN, TypeError) as error:  # of broken EXIF
        raise InvalidParameterError(f"`{param}` isn't a picture that can be read", param=param) from error


def _too_large(param: str) -> InvalidParameterError:
    return InvalidParameterError(f"`{param}` has more than {LARGEST // 10**6} megapixels", param=param)


def _is_plain(opened: Pillow.Image, modes: tuple[str, ...]) -> bool:
    """Not every server obeys EXIF, knows every mode, or takes the first of several frames."""
    return (
        opened.format in ("PNG", "JPEG", "WEBP")
        and opened.mode in modes
        and not opened.has_transparency_data
        and getattr(opened, "n_frames", 1) == 1
        and opened.getexif().get(ExifTags.Base.Orientation, 1) == 1
    )


def _in_eight_bits(picture: Pillow.Image) -> Pillow.Image:
    """With 255 for white: Pillow itself cuts greys of more bits off there."""
    if not picture.mode.startswith(("I", "F")):
        return picture
    wide = picture.convert("F")
    _, brightest = cast("tuple[float, float]", wide.getextrema())
    # A float's white is 1, or 255 if it was made from eight bits.
    white = 65535 if picture.mode != "F" else 255 if brightest > 1 else 1
    narrow = wide.point(lambda level: level * (255 / white) + 0.5).convert("L")
    narrow.info.pop("transparency", None)
    return narrow
