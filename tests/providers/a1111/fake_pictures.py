"""What the stand-in draws: coloured squares of the right size, different wherever something that draws differs."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Mapping
from typing import Any

import PIL.Image
import PIL.ImageChops
import PIL.ImageFilter
import PIL.ImageOps
from PIL.PngImagePlugin import PngInfo

CELLS = 4
KEPT = 0.05
"""How much of what was drawn shows where sd.cpp keeps a picture: it has passed its VAE."""

FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
EXIF, USER_COMMENT = 0x8769, 0x9286

Size = tuple[int, int]


def paint(what: Mapping[str, Any], size: Size) -> PIL.Image.Image:
    """A picture that depends on ``what`` and on nothing else."""
    seed = hashlib.shake_128(json.dumps(what, sort_keys=True, default=str).encode())
    grid = PIL.Image.frombytes("RGB", (CELLS, CELLS), seed.digest(CELLS * CELLS * 3))
    return grid.resize(size, PIL.Image.Resampling.NEAREST)


def decode(text: str) -> PIL.Image.Image | None:
    """The picture in a base64 text or a data URI; ``None`` where there is none."""
    if text.startswith("data:image/"):
        text = text.partition(",")[2]
    try:
        picture = PIL.Image.open(io.BytesIO(base64.b64decode(text)))
        picture.load()
    except (OSError, binascii.Error, ValueError):
        return None
    return picture


def encode(picture: PIL.Image.Image, file_format: str, text: str | None) -> str:
    """Base64 of the file, with ``text`` where the format keeps its parameters."""
    file = io.BytesIO()
    if file_format == "png":
        notes = PngInfo()
        if text is not None:
            notes.add_text("parameters", text)
        picture.save(file, "PNG", pnginfo=notes, compress_level=1)
    else:
        exif = PIL.Image.Exif()
        exif.get_ifd(EXIF)[USER_COMMENT] = b"UNICODE\0" + (text or "").encode("utf-16-be")
        picture.save(file, FORMATS[file_format], exif=exif, quality=80)
    return base64.b64encode(file.getvalue()).decode()


def fitted(picture: PIL.Image.Image, size: Size, mode: int = 0) -> PIL.Image.Image:
    """``resize_mode``: stretched, cropped or filled up."""
    if mode == 1:
        return PIL.ImageOps.fit(picture, size)
    if mode == 2:
        return PIL.ImageOps.pad(picture, size)
    return picture.resize(size)


def mask_of(picture: PIL.Image.Image, invert: bool, blur: float) -> PIL.Image.Image:
    """White where to draw: an alpha channel that isn't opaque, or else the brightness, split at the middle."""
    grey = picture.convert("L")
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema() != (255, 255):
        grey = picture.getchannel("A")
    grey = grey.point(lambda value: 255 if value > 128 else 0)
    grey = PIL.ImageOps.invert(grey) if invert else grey
    return grey.filter(PIL.ImageFilter.GaussianBlur(blur)) if blur else grey


def edited(
    drawn: PIL.Image.Image, init: PIL.Image.Image, mask: PIL.Image.Image | None, body: Mapping[str, Any]
) -> PIL.Image.Image:
    """What image to image makes of ``init``, as AUTOMATIC1111 does it; ``drawn`` has the size that was asked for."""
    base = init.convert("RGB")
    fitting = fitted(base, drawn.size, body["resize_mode"])
    strength = float(body["denoising_strength"])
    if mask is None or (body["inpaint_full_res"] and mask.getbbox() is None):
        return PIL.Image.blend(fitting, drawn, strength)
    if body["inpaint_full_res"]:  # drawn large, and put back small into a picture that keeps its size
        box = mask.resize(base.size).getbbox() or (0, 0, *base.size)
        patch = base.copy()
        patch.paste(fitted(drawn, (box[2] - box[0], box[3] - box[1])), box)
        new = PIL.Image.blend(base, patch, strength) if body["inpainting_fill"] == 1 else patch
        return PIL.Image.composite(new, base, mask.resize(base.size))
    doubled = fitted(mask, drawn.size, body["resize_mode"]).point(lambda value: min(255, value * 2))
    new = PIL.Image.blend(fitting, drawn, strength) if body["inpainting_fill"] == 1 else drawn
    return PIL.Image.composite(new, fitting, doubled)


def kept_roughly(
    drawn: PIL.Image.Image, init: PIL.Image.Image, mask: PIL.Image.Image | None, strength: float
) -> PIL.Image.Image:
    """The same in stable-diffusion.cpp: what the mask spares comes back almost as it was."""
    base = init.convert("RGB").resize(drawn.size)
    new = PIL.Image.blend(base, drawn, strength)
    if mask is None:
        return new
    spared = PIL.Image.blend(base, drawn, KEPT)
    return PIL.Image.composite(new, spared, mask.convert("L").resize(drawn.size))


def grid(pictures: list[PIL.Image.Image]) -> PIL.Image.Image:
    """All in one row."""
    width, height = pictures[0].size
    sheet = PIL.Image.new("RGB", (width * len(pictures), height))
    for index, picture in enumerate(pictures):
        sheet.paste(picture, (index * width, 0))
    return sheet
