"""Pictures that have to be made anew: masks as a server reads them, and another size. All of it is for a thread."""

from __future__ import annotations

from io import BytesIO
from typing import Literal

from PIL import Image as Pillow
from PIL import ImageOps

from imagerouter import Image, ProviderResponseError
from imagerouter.canvas import Size
from imagerouter.images import opaque, png, repaint_mask
from imagerouter.sources import BROKEN, TOO_LARGE, decode, is_plain, reading, upright


def plain(image: Image, param: str, modes: tuple[str, ...]) -> Image:
    """``image``, in a form that every server reads in the same way; the same object where it has one already.

    :param param: the client's name for it.

    Raises `InvalidParameterError`.
    """
    with reading(image, param) as opened:
        if is_plain(opened, modes):
            return image
        picture = upright(opened)
        if "RGBA" in modes and picture.has_transparency_data:
            return _png(picture.convert("RGBA"))
        return _png(opaque(picture))


def written(mask: Image, way: Literal["alpha", "white"]) -> Image:
    """A mask that is transparent, or white, where to repaint. Raises `InvalidParameterError`."""
    picture = decode(mask, "mask", modes=("L",))[0]
    grey = repaint_mask(picture, picture.size)
    if way == "white":
        return _png(grey)
    clear = Pillow.new("RGBA", grey.size)
    clear.putalpha(ImageOps.invert(grey))
    return _png(clear)


def resized(image: Image, size: Size, is_edit: bool) -> Image:
    """``image`` of the asked size. Raises `ProviderResponseError`.

    :param is_edit: whether it has to stay aligned with its source; otherwise a canvas is cut to what it was for.
    """
    try:
        with Pillow.open(BytesIO(image.data)) as opened:
            opened.load()
            colours = opened.convert("RGBA" if opened.has_transparency_data else "RGB")
    except (*TOO_LARGE, *BROKEN):
        raise ProviderResponseError("the server returned something that is not a picture") from None
    wanted, canvas = (size.width, size.height), (size.canvas_width, size.canvas_height)
    if is_edit and colours.size == canvas:
        return _png(colours.resize(wanted, Pillow.Resampling.LANCZOS))
    if colours.size == canvas:
        left, top = (canvas[0] - wanted[0]) // 2, (canvas[1] - wanted[1]) // 2
        return _png(colours.crop((left, top, left + wanted[0], top + wanted[1])))
    return _png(ImageOps.fit(colours, wanted, Pillow.Resampling.LANCZOS))


def _png(picture: Pillow.Image) -> Image:
    return Image(data=png(picture))
