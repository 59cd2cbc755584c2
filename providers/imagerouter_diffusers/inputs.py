"""Input pictures and masks: decode, place on the canvas, and paste back what must not change."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageFilter, ImageOps

from imagerouter import Image, InvalidParameterError
from imagerouter.images import repaint_mask
from imagerouter_diffusers.sizes import Plan

Array = np.ndarray[Any, np.dtype[np.float32]]
_FEATHER = 3
"""Pixels over which a repainted area blends into the original, on its inner side."""


def decode(image: Image, param: str) -> Pillow.Image:
    """The picture as its viewer sees it, that is with its EXIF rotation applied."""
    try:
        with Pillow.open(BytesIO(image.data)) as opened:
            return ImageOps.exif_transpose(opened).copy()
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise InvalidParameterError(f"{param} isn't a picture that can be read", param=param) from error


def hard_mask(mask: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """`repaint_mask` with nothing between black and white."""
    return repaint_mask(mask, size).point([0] * 128 + [255] * 128)


def fit(picture: Pillow.Image, width: int, height: int) -> Pillow.Image:
    """Exactly this size: scaled to cover it, the rest cut off evenly."""
    if picture.size == (width, height):
        return picture
    method = Pillow.Resampling.NEAREST if picture.mode == "L" else Pillow.Resampling.LANCZOS
    return ImageOps.fit(picture, (width, height), method)


def onto_canvas(picture: Pillow.Image, plan: Plan) -> Pillow.Image:
    """A picture of the asked size, placed where the plan cuts it out again; its edges fill the margin."""
    left, top, right, bottom = (round(side) for side in plan.box)
    inner = (max(1, right - left), max(1, bottom - top))
    if picture.size != inner:
        method = Pillow.Resampling.NEAREST if picture.mode == "L" else Pillow.Resampling.LANCZOS
        picture = picture.resize(inner, method)
    margins = [(top, plan.canvas_height - top - inner[1]), (left, plan.canvas_width - left - inner[0])]
    pixels = np.asarray(picture)
    padding = margins if pixels.ndim == 2 else [*margins, (0, 0)]
    return Pillow.fromarray(np.pad(pixels, padding, mode="edge"))


def from_canvas(pixels: Array, plan: Plan) -> Pillow.Image:
    """What the model drew (0 to 1) → the picture of the asked size."""
    # Truncated, not rounded, as ComfyUI and A1111 do: else no two backends agree on the last bit.
    picture = Pillow.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    if plan.is_direct:
        left, top, right, bottom = (int(side) for side in plan.box)
        return picture.crop((left, top, right, bottom))
    return picture.resize((plan.width, plan.height), Pillow.Resampling.LANCZOS, box=plan.box)


def paste_back(drawn: Pillow.Image, original: Pillow.Image, mask: Pillow.Image) -> Pillow.Image:
    """Outside the mask every pixel is the original's."""
    return Pillow.composite(drawn, original, mask)


def feathered(mask: Pillow.Image) -> Pillow.Image:
    """A hard mask that blends over a few pixels, on its inner side."""
    hard = np.asarray(mask, dtype=np.float32) / 255
    blurred = np.asarray(mask.filter(ImageFilter.BoxBlur(_FEATHER)), dtype=np.float32) / 255
    soft = hard * np.clip(blurred * 2 - 1, 0, 1)
    # A mask as thin as the feather itself would vanish.
    chosen = soft if soft.sum() * 2 > hard.sum() else hard
    return Pillow.fromarray((chosen * 255).round().astype(np.uint8))


def to_png(picture: Pillow.Image) -> bytes:
    """Without metadata, so that a seed's picture is always the same file."""
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()
