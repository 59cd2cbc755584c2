"""Input pictures as their viewer sees them. Decoding is for a thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from struct import error as StructError  # noqa: N812 - it is a class
from typing import cast

from PIL import ExifTags, ImageCms
from PIL import Image as Pillow

from imagerouter.errors import InvalidParameterError
from imagerouter.types import Image

LARGEST = 89_000_000
"""Pixels of an input picture. Beyond that Pillow warns of files that are made to fill the memory."""
TOO_LARGE = (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning)
BROKEN = (OSError, ValueError, SyntaxError, StructError)
"""What Pillow raises for a file that isn't a picture, or only the beginning of one."""

KINDS = "PNG, JPEG, WebP, GIF, BMP, TIFF or AVIF"
"""For error messages."""
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
"""Pillow knows more, some of which start other programs; an MPO is a JPEG with further pictures behind it."""
_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TURNS = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}
"""EXIF's orientation → what brings the picture upright."""
_LYING = (5, 6, 7, 8)
"""Those that exchange width and height."""


def is_picture(head: bytes) -> bool:
    """Whether the first 16 or more bytes of a file are those of one of the `KINDS`."""
    if head[:4] == b"RIFF":
        return head[8:12] == b"WEBP"
    if head[4:8] == b"ftyp":
        return head[8:12] in (b"avif", b"avis", b"mif1", b"msf1")
    return head.startswith(_MAGIC)


@contextmanager
def reading(image: Image, param: str) -> Iterator[Pillow.Image]:
    """The file, of which only the header has been read; what goes wrong inside is the file's fault.

    Raises `InvalidParameterError`.
    """
    try:
        with _opened(image) as opened:
            check_size(opened, param)
            yield opened
    except InvalidParameterError:
        raise
    except TOO_LARGE:
        raise _too_large(param) from None
    except Exception as error:  # a damaged file can make a decoder fail in any way
        message = f"`{param}` isn't a picture that can be read: send a whole {KINDS} file"
        raise InvalidParameterError(message, param=param) from error


def proportions(image: Image) -> float | None:
    """Width divided by height of the upright picture, by the header alone; ``None`` where that can't be read."""
    try:
        with _opened(image) as opened:
            width, height = opened.size
            is_lying = _turn(opened) in [_TURNS[number] for number in _LYING]
            return height / width if is_lying else width / height
    except Exception:  # what is wrong with it is told when it is read
        return None


def _opened(image: Image) -> Pillow.Image:
    Pillow.init()
    return Pillow.open(BytesIO(image.data), formats=[name for name in _FORMATS if name in Pillow.OPEN])


def check_size(opened: Pillow.Image, param: str) -> None:
    if not opened.width * opened.height:
        raise InvalidParameterError(f"`{param}` has no pixels", param=param)
    if opened.width * opened.height > LARGEST:
        raise _too_large(param)


def _too_large(param: str) -> InvalidParameterError:
    return InvalidParameterError(f"`{param}` has more than {LARGEST // 10**6} megapixels", param=param)


def decode(image: Image, param: str, *, modes: tuple[str, ...]) -> tuple[Pillow.Image, bool]:
    """The first frame, upright and of 8 bits, and whether every server would read the file in this way.

    :param modes: of Pillow, that every server knows.

    Raises `InvalidParameterError`.
    """
    with reading(image, param) as opened:
        picture = upright(opened)
        return picture, is_plain(opened, modes)


def is_plain(opened: Pillow.Image, modes: tuple[str, ...]) -> bool:
    """Not every server obeys EXIF or a colour profile, knows every mode, or takes the first of several frames."""
    return (
        opened.format in ("PNG", "JPEG", "WEBP")
        and opened.mode in modes
        and (opened.mode == "RGBA" or not opened.has_transparency_data)
        and getattr(opened, "n_frames", 1) == 1
        and _turn(opened) is None
        and _profile(opened) is None
    )


def _turn(opened: Pillow.Image) -> Pillow.Transpose | None:
    """What brings the picture upright. One whose EXIF is broken is shown as it is by everybody."""
    try:
        # That of PNG decodes the whole file, in search of an EXIF block behind the pixels.
        return _TURNS.get(Pillow.Image.getexif(opened).get(ExifTags.Base.Orientation, 1))
    except Exception:  # it can be broken in any way
        return None


def upright(opened: Pillow.Image) -> Pillow.Image:
    """The pixels, turned as EXIF says, with 8 bits a channel, in sRGB where the file has a profile."""
    opened.load()  # after which a TIFF is upright already
    turn = _turn(opened)
    turned = opened if turn is None else opened.transpose(turn)
    return _in_srgb(_in_eight_bits(turned.copy() if turned is opened else turned))


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


def _profile(picture: Pillow.Image) -> ImageCms.ImageCmsProfile | None:
    """What its colours mean, where that isn't sRGB."""
    data = picture.info.get("icc_profile")
    if not data or picture.mode not in ("RGB", "RGBA", "CMYK"):
        return None
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(data))
        return None if "sRGB" in ImageCms.getProfileDescription(profile) else profile
    except (ImageCms.PyCMSError, OSError):
        return None


def _in_srgb(picture: Pillow.Image) -> Pillow.Image:
    profile = _profile(picture)
    if profile is None:
        return picture
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        srgb = ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, profile, srgb, outputMode=mode)
    except ImageCms.PyCMSError:  # a profile of another kind than the pixels
        return picture
    assert converted is not None
    converted.info = {key: value for key, value in picture.info.items() if key != "icc_profile"}
    return converted
