"""The request's pictures, brought to the canvas, and the finished ones, brought to the asked size.

All but `ready` and `finished` is for a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from io import BytesIO
from typing import Any, cast

import pybase64
from PIL import Image as Pillow
from PIL import ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo

from imagerouter import Image, ImageRequest, InvalidParameterError, Operation, ProviderResponseError
from imagerouter.canvas import Size
from imagerouter.images import dimensions, opaque, png, repaint_mask
from imagerouter.metadata import without_texts
from imagerouter.sources import BROKEN, TOO_LARGE, decode
from imagerouter_a1111.recipe import Order

_MODES = ("RGB",)
"""stable-diffusion.cpp refuses greys (``load_image_common`` in its ``examples/common/media_io.cpp``)."""
_EXACT = {"image/jpeg": "image/png"}
"""What a picture with an original around it is written as, since no JPEG leaves every pixel as it was."""


@dataclass(frozen=True)
class Source:
    """An input picture as its viewer sees it, with the mask that lies over it."""

    pixels: Pillow.Image
    own: Image | None
    """The client's file, if every server reads it in this way."""
    mask: Pillow.Image | None
    """Grey, of the picture's size, white where to repaint."""

    @property
    def size(self) -> tuple[int, int]:
        return self.pixels.size


async def source(request: ImageRequest) -> Source | None:
    """What a request brings; ``None`` for text to image. Raises `InvalidParameterError`."""
    if request.operation is Operation.GENERATE:
        return None
    return await asyncio.to_thread(read, request)


def read(request: ImageRequest) -> Source:
    """Raises `InvalidParameterError`."""
    if not request.images:
        raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
    pixels, is_plain = decode(request.images[0], "images[0]", modes=_MODES)
    mask = None
    if request.mask is not None:
        mask = repaint_mask(decode(request.mask, "mask", modes=_MODES)[0], pixels.size)
    return Source(opaque(pixels), request.images[0] if is_plain else None, mask)


async def sent(source: Source, size: Size) -> tuple[str, str | None]:
    """Base64 of picture and mask, both of the canvas's size."""
    return await asyncio.to_thread(_sent, source, size)


def _sent(source: Source, size: Size) -> tuple[str, str | None]:
    canvas = (size.canvas_width, size.canvas_height)
    if source.own is not None and size.is_whole and source.size == canvas:
        picture = source.own.b64.decode("ascii")
    else:
        picture = _base64_png(_stretched(_cropped(source.pixels, size), canvas))
    if source.mask is None:
        return picture, None
    return picture, _base64_png(_stretched(_cropped(source.mask, size), canvas))


def _cropped(picture: Pillow.Image, size: Size) -> Pillow.Image:
    """Of the asked size: the most of the picture's middle that has this shape."""
    wanted = (size.width, size.height)
    if picture.size == wanted:
        return picture
    return ImageOps.fit(picture, wanted, _resampling(picture))


def _stretched(picture: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    return picture if picture.size == size else picture.resize(size, _resampling(picture))


def _resampling(picture: Pillow.Image) -> Pillow.Resampling:
    """A mask is softened at most: the waves of a sharper filter would reach beyond its edge."""
    return Pillow.Resampling.BILINEAR if picture.mode == "L" else Pillow.Resampling.LANCZOS


def _base64_png(picture: Pillow.Image) -> str:
    return pybase64.b64encode(png(picture)).decode("ascii")


async def finished(image: Image, order: Order, *, keep_metadata: bool) -> Image:
    """``image`` as it is delivered: of the asked size, the original outside the mask, and without its texts.

    The same object where that is what it is. Raises `ProviderResponseError`.
    """
    size = delivered(order)
    try:
        if order.mask is not None or dimensions(image) != (size.width, size.height):
            return await asyncio.to_thread(_finished, image, order, size, keep_metadata)
        return image if keep_metadata else await without_texts(image)
    except (*TOO_LARGE, *BROKEN):
        raise ProviderResponseError("the server returned something that is not a picture") from None


def delivered(order: Order) -> Size:
    """Size of the picture that the client gets, a second pass included, and of the canvas that it is on."""
    if order.hires is None or order.request.hires is None:
        return order.size
    asked = order.size.scaled(order.request.hires.scale, 1)
    return Size(asked.width, asked.height, order.hires.width, order.hires.height)


def _finished(image: Image, order: Order, size: Size, keep_metadata: bool) -> Image:
    with Pillow.open(BytesIO(image.data)) as opened:
        opened.load()
        texts = _texts(opened) if keep_metadata else {}
        colours = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
        picture = _stretched(colours, (size.canvas_width, size.canvas_height))
    wanted = (size.width, size.height)
    if order.request.operation is Operation.GENERATE:
        x, y = (size.canvas_width - size.width) // 2, (size.canvas_height - size.height) // 2
        picture = picture.crop((x, y, x + size.width, y + size.height))
    else:
        picture = _stretched(picture, wanted)
    media_type = image.media_type
    if order.mask is not None:
        picture = _composed(picture, order)
        media_type = _EXACT.get(media_type, media_type)
    return Image(b64=pybase64.b64encode(_encoded(picture, media_type, texts)), media_type=media_type)


def _composed(picture: Pillow.Image, order: Order) -> Pillow.Image:
    """The original around what was repainted: a server's pixels come back from the VAE a little changed everywhere."""
    original = read(order.request)
    assert original.mask is not None
    mask = _cropped(original.mask, order.size)
    if blur := order.options.get("mask_blur", 0):
        # Twice as white, as the server's own overlay is: the edge softens outside the mask, and all inside is new.
        mask = mask.filter(ImageFilter.GaussianBlur(blur)).point(lambda level: min(255, level * 2))
    return Pillow.composite(opaque(picture), _cropped(original.pixels, order.size), mask)


def _texts(opened: Pillow.Image) -> dict[str, Any]:
    """Arguments that write the texts of a picture into another of its format."""
    if opened.format != "PNG":
        return {"exif": opened.info["exif"]} if "exif" in opened.info else {}
    info = PngInfo()
    for key, text in cast("dict[str, str]", getattr(opened, "text", {})).items():
        info.add_text(key, text)
    return {"pnginfo": info}


def _encoded(picture: Pillow.Image, media_type: str, texts: dict[str, Any]) -> bytes:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "image/png": ("PNG", {"compress_level": 1}),
        "image/jpeg": ("JPEG", {"quality": 95, "subsampling": 0}),
        "image/webp": ("WEBP", {"lossless": True}),
    }
    kind, how = kinds.get(media_type, kinds["image/png"])
    picture.info = {}
    buffer = BytesIO()
    picture.save(buffer, kind, **how, **texts)
    return buffer.getvalue()
