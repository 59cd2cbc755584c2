"""Picture files in another format, made only when the backend's own isn't what the client wants.

And what input pictures and masks mean on every backend.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from imagerouter.embedding import embedded, exif_of
from imagerouter.errors import InvalidParameterError, ProviderResponseError
from imagerouter.metadata import has_texts, without_texts
from imagerouter.types import Image

if TYPE_CHECKING:
    import PIL.Image

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_WORKERS = ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="pictures")
"""For decoding and encoding. A picture being encoded holds several times its pixels, and those of a hundred clients
at once would fill the memory without being done any sooner."""
_BEST = 100
"""The quality that OpenAI's ``output_compression`` has by default."""
_HEAD = 65536
"""Bytes that hold the header of any picture, so that base64 which only passes through is not decoded for it."""


async def in_worker(function: Callable[[*Ts], T], *arguments: *Ts) -> T:
    """Decode or encode in a thread, a few at a time in the whole process; the others wait."""
    return await asyncio.get_running_loop().run_in_executor(_WORKERS, function, *arguments)


def check_format(output_format: str | None, background: str | None = None) -> None:
    """Raise `InvalidParameterError` for a file that can't be written here, or can't hold what is asked."""
    if output_format == "avif" and not _writes_avif():
        message = "`output_format`: the Pillow of this server can't write AVIF; use png, jpeg or webp"
        raise InvalidParameterError(message, param="output_format")
    if output_format in ("jpeg", "jpg") and background == "transparent":
        message = "`background` can't be transparent in a JPEG; use the `output_format` png or webp"
        raise InvalidParameterError(message, param="background")


def _writes_avif() -> bool:
    try:
        from PIL import AvifImagePlugin
    except ImportError:  # before Pillow 11.3
        return False
    return AvifImagePlugin.SUPPORTED


async def deliver(
    image: Image,
    output_format: str | None,
    compression: int | None,
    *,
    request: Mapping[str, Any] | None = None,
    keep_texts: bool = False,
) -> Image:
    """``image`` as ``png``, ``jpeg``, ``webp`` or ``avif``; the same object when it is that already.

    :param compression: quality of JPEG, WebP and AVIF, by default 100; below, also the right format is encoded anew.
    :param request: what is embedded (`imagerouter.embedding`).
    :param keep_texts: leave what the backend wrote into a file that is neither encoded nor embedded into.

    Raises `ProviderResponseError` for what is not a picture.
    """
    own = image.media_type.removeprefix("image/")
    wanted = output_format or own
    compression = None if wanted == "png" else compression
    if request is not None:
        quality = {} if compression is None else {"output_compression": compression}
        request = {**request, "output_format": wanted, **quality}
    try:
        if wanted != own or (compression is not None and compression < _BEST) or _is_turned(image):
            return await in_worker(encoded, image, wanted, compression, request)
        if request is not None:
            return await in_worker(embedded, image, request)
        return image if keep_texts else await without_texts(image)
    except ValueError:
        raise _no_picture() from None


def _is_turned(image: Image) -> bool:
    """Whether a JPEG stands upright only by its EXIF, which it is going to lose."""
    if image.media_type != "image/jpeg" or not has_texts(image):
        return False

    from PIL import ExifTags
    from PIL import Image as Pillow

    from imagerouter.sources import BROKEN, TOO_LARGE

    try:
        with Pillow.open(BytesIO(image.head(_HEAD))) as picture:
            return bool(picture.getexif().get(ExifTags.Base.Orientation, 1) != 1)
    except (*TOO_LARGE, *BROKEN, TypeError):
        return False


def encoded(image: Image, output_format: str, compression: int | None, request: Mapping[str, Any] | None) -> Image:
    """`convert`, with ``request`` embedded if there is one."""
    if request is None:
        return convert(image, output_format, compression)
    if output_format == "avif":
        return convert(image, output_format, compression, exif=exif_of(request))
    return embedded(convert(image, output_format, compression), request)


def convert(image: Image, output_format: str, compression: int | None = None, *, exif: bytes = b"") -> Image:
    """Decode and encode again, without texts but ``exif``.

    Takes from 16 (JPEG) to 600 ms (AVIF) per megapixel, so never on the event loop.
    """
    from PIL import Image as Pillow
    from PIL import ImageOps

    from imagerouter.sources import BROKEN, TOO_LARGE

    out = BytesIO()
    try:
        with Pillow.open(BytesIO(image.data)) as opened:
            picture = _plain(ImageOps.exif_transpose(opened), output_format)
            # A profile is about the colours that the file had: one of CMYK or of greys says nothing about RGB.
            is_same = picture.mode[:3] == opened.mode[:3] or opened.mode in ("P", "PA")
            profile = opened.info.get("icc_profile") if is_same else None
        picture.info = {}
        settings = _settings(output_format, _BEST if compression is None else compression)
        picture.save(out, output_format.upper(), icc_profile=profile, exif=exif, **settings)
    except (*TOO_LARGE, *BROKEN, TypeError):  # of broken EXIF
        raise _no_picture() from None
    return Image(data=out.getvalue(), media_type=f"image/{output_format}")


def _plain(picture: PIL.Image.Image, output_format: str) -> PIL.Image.Image:
    """In eight bits, with an alpha channel where there is transparency and the format has room for it."""
    if picture.mode.startswith("I"):
        # 257 times 255 is 65,535; Pillow itself would cut everything above 255 off.
        picture = picture.convert("I").point(lambda level: level * (1 / 257) + 0.5).convert("L")
    if output_format == "jpeg" and picture.has_transparency_data:
        return opaque(picture)
    if picture.has_transparency_data:
        return picture.convert("RGBA")
    return picture if picture.mode in ("L", "RGB") else picture.convert("RGB")


def _settings(output_format: str, quality: int) -> dict[str, Any]:
    """How Pillow encodes. Measured with photos of a megapixel, on two cores."""
    # From 90, colours are as sharp as brightness: in a JPEG of 90 that is 2.3 dB more for 30 % more bytes.
    subsampling = "4:4:4" if quality >= 90 else "4:2:0"
    match output_format:
        case "png":
            # 160 ms; level 6 saves 7 % of the bytes and takes 420, level 9 saves 10 % and takes 2,700.
            return {"compress_level": 3}
        case "jpeg":
            # 16 ms; `optimize` saves 2 % and takes 24, `progressive` 4 % and 90.
            return {"quality": quality, "subsampling": subsampling}
        case "webp":
            # 160 ms at 80 and 330 at 100; method 2 takes half and is 28 % larger at 100, method 6 saves 3 % and takes
            # two to three times as long.
            return {"quality": quality, "method": 4}
        case _:
            # AVIF at 75: 600 ms; speed 6 saves 10 % and takes 860 to 2,400 ms, speed 10 takes 240 and is 12 % larger.
            return {"quality": quality, "subsampling": subsampling, "speed": 8}


def png(picture: PIL.Image.Image) -> bytes:
    """A file that is sent on at once: written fast rather than small. Takes a while, so it is for a thread."""
    out = BytesIO()
    picture.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _no_picture() -> ProviderResponseError:
    return ProviderResponseError("the provider returned something that is not a picture")


def opaque(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB, on white where it is transparent."""
    from PIL import Image as Pillow

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def repaint_mask(mask: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A grey picture of this size, white where to repaint: what is transparent, or, without an alpha channel, white."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    if mask.has_transparency_data:
        white = ImageOps.invert(mask.convert("RGBA").getchannel("A"))
    else:
        white = mask.convert("L")
    return white if white.size == size else white.resize(size, Pillow.Resampling.BILINEAR)


def dimensions(image: Image) -> tuple[int, int] | None:
    """Width and height, read from the file's header alone; ``None`` if there is none that Pillow knows."""
    if image.media_type == "image/png":
        head = image.head(24)
        return struct.unpack(">II", head[16:24]) if len(head) == 24 else None
    from PIL import Image as Pillow

    try:
        # Pillow reads an AVIF only as a whole.
        head = image.data if image.media_type == "image/avif" else image.head(_HEAD)
        with Pillow.open(BytesIO(head)) as picture:
            return picture.size
    except (Pillow.DecompressionBombError, OSError, ValueError):
        return None
