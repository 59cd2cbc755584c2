"""The pictures of a request, checked and made plain before anybody waits for a provider.

Adapters get PNG, JPEG or WebP files that every backend reads alike, upright and of 8 bits a channel, and masks that
leave nothing to interpretation: grey PNGs of the first picture's size that are 255 where to repaint and 0 elsewhere.
"""

from __future__ import annotations

import asyncio
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any, Literal

from msgspec.structs import replace
from PIL import Image as Pillow
from PIL import ImageOps

from imagerouter.errors import InvalidParameterError
from imagerouter.images import opaque
from imagerouter.jobs import Job
from imagerouter.sources import is_plain, reading, upright
from imagerouter.types import Image

MaskChannel = Literal["alpha", "white"]
"""What a mask says with: transparent is repainted, or white is."""

_PLAIN = ("L", "RGB", "RGBA")
_REPAINTED = {"alpha": "transparent", "white": "white", None: "transparent or white"}
_DECODERS = ThreadPoolExecutor(2, thread_name_prefix="imagerouter-pictures")
"""So few, because a picture of 20 megapixels takes 80 MB, several times over, while its file may have two."""
_SHAPES_DIFFER = 0.02
"""How much the sides of picture and mask may differ in proportion: clients round to multiples of 8 or 16."""


async def prepared(job: Job, mask_channel: MaskChannel | None = None) -> Job:
    """The job with pictures and mask that need no further checks.

    A picture that every backend reads right stays the same object, whose pixels nobody has looked at. All others
    become PNGs, with their transparency. Under a mask, what is transparent in the first picture gets the colours
    around it, for models that draw an area anew still see what was there.

    :param mask_channel: by default ``alpha`` for a mask with anything transparent in it, else ``white``. A mask that
        is the same object as the first picture is always read by its ``alpha``.
    :raises InvalidParameterError: naming ``images[0]`` and so on, or ``mask``.
    """
    images: tuple[Image, ...] = job.params.get("images", ())
    mask: Image | None = job.params.get("mask")
    if not images:
        if mask is not None:
            raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
        return job
    made = await asyncio.get_running_loop().run_in_executor(_DECODERS, _made_plain, images, mask, mask_channel)
    return replace(job, params={**job.params, **made})


def _made_plain(images: tuple[Image, ...], mask: Image | None, channel: MaskChannel | None) -> dict[str, Any]:
    plain = [_plain(image, f"images[{index}]") for index, image in enumerate(images)]
    if mask is None:
        return {"images": tuple(plain)}
    with reading(plain[0], "images[0]") as opened:
        size = opened.size
    white = _white(_plain(mask, "mask"), "alpha" if mask is images[0] else channel, size)
    plain[0] = _filled(plain[0], white)
    return {"images": tuple(plain), "mask": _png(white)}


def _plain(image: Image, param: str) -> Image:
    with reading(image, param) as opened:
        stays = is_plain(opened, _PLAIN) and not (opened.format == "PNG" and _has_more(image.data, opened))
        if stays and _is_whole(image.data, opened):
            return image
    with reading(image, param) as opened:
        picture = _colours(upright(opened))
    return image if stays else _png(picture)


def plain_file(picture: Pillow.Image) -> Image:
    """What a program holds in Pillow, as a PNG: upright, of 8 bits a channel. Takes a while, so it is for a thread."""
    return _png(_colours(upright(picture)))


def _has_more(data: bytes, png: Pillow.Image) -> bool:
    """16 bits a channel, which Pillow cuts to 8 without telling, or EXIF behind the pixels."""
    return data[24:25] == b"\x10" or ("exif" not in png.info and b"eXIf" in data)


def _is_whole(data: bytes, opened: Pillow.Image) -> bool:
    """Whether the end of the file is there; if not, decoding has to tell. It uses a PNG's reader up.

    Files are cut off far more often than they are damaged, and this takes milliseconds where decoding takes a second.
    """
    if opened.format == "PNG":
        opened.verify()  # every chunk's checksum
        return True
    if opened.format == "JPEG":
        # Neither marker can be inside compressed data; the thumbnail, which has both, is before the picture.
        return data.rfind(b"\xff\xda") < data.rfind(b"\xff\xd9")
    return int.from_bytes(data[4:8], "little") + 8 <= len(data)


def _colours(picture: Pillow.Image) -> Pillow.Image:
    if picture.mode in _PLAIN and (picture.mode == "RGBA" or not picture.has_transparency_data):
        return picture
    return picture.convert("RGBA" if picture.has_transparency_data else "L" if picture.mode == "1" else "RGB")


def _png(picture: Pillow.Image) -> Image:
    """Without metadata. Photographs, which most of these are, get no smaller with more effort than this."""
    picture.info = {}
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1, compress_type=zlib.Z_RLE)
    return Image(data=buffer.getvalue(), media_type="image/png")


def _white(mask: Image, channel: MaskChannel | None, size: tuple[int, int]) -> Pillow.Image:
    """Black and white, of ``size``, white where to repaint."""
    with reading(mask, "mask") as opened:
        _check_shape(opened.size, size)
        transparent, bright = _transparent(opened), _bright(opened)
    by_alpha = channel == "alpha" or (channel is None and _hard(transparent).getbbox() is not None)
    white = transparent if by_alpha else bright
    if white.size != size:
        white = white.resize(size, Pillow.Resampling.BILINEAR)
    white = _hard(white)
    if white.getbbox() is None:
        raise InvalidParameterError(f"`mask` repaints nothing: no part of it is {_REPAINTED[channel]}", param="mask")
    return white


def _hard(white: Pillow.Image) -> Pillow.Image:
    """Greys would be repainted by half on one backend, and wholly or not at all on another."""
    return white.point([0] * 128 + [255] * 128)


def _transparent(mask: Pillow.Image) -> Pillow.Image:
    return ImageOps.invert(mask.convert("RGBA").getchannel("A"))


def _bright(mask: Pillow.Image) -> Pillow.Image:
    """What is transparent isn't white, whatever colour is hidden there."""
    rgba = mask.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "black"), rgba).convert("L")


def _check_shape(mask: tuple[int, int], picture: tuple[int, int]) -> None:
    ratio = (mask[0] * picture[1]) / (mask[1] * picture[0])
    if abs(ratio - 1) > _SHAPES_DIFFER:
        raise InvalidParameterError(
            f"`mask` is {mask[0]}x{mask[1]} and the picture {picture[0]}x{picture[1]}: they must have the same size, "
            "or at least the same shape",
            param="mask",
        )


def _filled(plain: Image, white: Pillow.Image) -> Image:
    """The picture without transparency: the surrounding colours where it is repainted, white elsewhere."""
    with reading(plain, "images[0]") as opened:
        if opened.mode != "RGBA" or opened.getchannel("A").getextrema() == (255, 255):
            return plain
        return _png(Pillow.composite(_spread(opened), opaque(opened), white))


def _spread(pixels: Pillow.Image) -> Pillow.Image:
    """Opaque: what is transparent takes the nearest colours, the more blurred the farther they are.

    The picture is halved again and again, each pixel keeping the mean of what is visible below it, and on the way
    back up these fill what is still empty (pull-push: Gortler et al., The Lumigraph, 1996).
    """
    levels = [pixels]
    while max(levels[-1].size) > 1:
        width, height = levels[-1].size
        half = levels[-1].resize((-(-width // 2), -(-height // 2)), Pillow.Resampling.BILINEAR)
        # Of less, eight bits hold too little colour; what one pixel leaves in the next level is more.
        half.putalpha(half.getchannel("A").point([0] * 24 + [255] * 232))
        levels.append(half)
    filled = Pillow.new("RGBA", (1, 1), "white")
    for level in reversed(levels):
        filled = Pillow.alpha_composite(filled.resize(level.size, Pillow.Resampling.BILINEAR), level)
    return filled.convert("RGB")
