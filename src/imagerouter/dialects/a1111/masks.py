"""Masks as this API reads them, made into those that the house reads by their white."""

from __future__ import annotations

from PIL import ImageOps

from imagerouter.images import png
from imagerouter.sources import reading
from imagerouter.types import Image


def white(mask: Image, *, invert: bool) -> Image:
    """White where to repaint; the same object where it is that already. Decodes, so it is for a thread.

    One with anything transparent in it says by its alpha: what is opaque is repainted, whatever its colour
    (``modules/processing.py``: ``create_binary_mask``).

    :param invert: ``inpainting_mask_invert``.

    Raises `InvalidParameterError`.
    """
    with reading(mask, "mask") as opened:
        alpha = opened.convert("RGBA").getchannel("A") if opened.has_transparency_data else None
        if alpha is not None and alpha.getextrema() == (255, 255):
            alpha = None
        if alpha is None and not invert:
            return mask
        grey = opened.convert("L") if alpha is None else alpha
        grey = ImageOps.exif_transpose(grey)
    return Image(data=png(ImageOps.invert(grey) if invert else grey), media_type="image/png")
