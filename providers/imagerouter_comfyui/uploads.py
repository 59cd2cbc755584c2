"""The request's pictures, made ready and put on the server. Everything here but `upload_all` is for a thread."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps

from imagerouter import Image, ImageRequest, InvalidParameterError
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.recipe import Recipe, Sources


@dataclass(frozen=True, slots=True)
class Ready:
    """The files of a request as they are uploaded."""

    images: tuple[bytes, ...] = ()
    image_size: tuple[int, int] | None = None
    mask: bytes | None = None
    controls: tuple[bytes, ...] = ()


async def upload_all(api: Api, folder: str, request: ImageRequest, recipe: Recipe) -> Sources:
    """Sources without seed and prefix, every picture on the server. Raises `InvalidParameterError`."""
    if not request.images and request.mask is None and "controlnet" not in request.options:
        return Sources(seed=0, prefix="")
    ready = await asyncio.to_thread(prepare, request, recipe)
    files = [*ready.images, *([ready.mask] if ready.mask is not None else []), *ready.controls]
    names = await asyncio.gather(*(api.upload(file, _name(file), folder) for file in files))
    count = len(ready.images)
    rest = names[count:]
    mask = rest.pop(0) if ready.mask is not None else None
    return Sources(0, "", tuple(names[:count]), ready.image_size, mask, tuple(rest))


def _name(data: bytes) -> str:
    """By its content, so that the server keeps one copy of what is sent again."""
    return f"{hashlib.sha256(data).hexdigest()[:40]}.png"


def prepare(request: ImageRequest, recipe: Recipe) -> Ready:
    """Decode what has to be decoded; a picture that is right as it is goes to the server untouched."""
    pictures = [_decoded(image, f"images[{index}]") for index, image in enumerate(request.images)]
    files = [_file(image, picture) for image, picture in zip(request.images, pictures, strict=True)]
    size = pictures[0].size if pictures else None
    mask = None
    if request.mask is not None and pictures:
        white = repaint_mask(_decoded(request.mask, "mask"), pictures[0].size)
        if recipe.mask_as == "alpha":
            files[0] = _png(_with_hole(pictures[0], white))
        else:
            mask = _png(white)
    controls = tuple(_control(item, index) for index, item in enumerate(_controls(request.options)))
    return Ready(tuple(files), size, mask, controls)


def repaint_mask(mask: Pillow.Image, size: tuple[int, int]) -> Pillow.Image:
    """White where to repaint: what is transparent, or, without an alpha channel, what is white."""
    if mask.has_transparency_data:
        white = ImageOps.invert(mask.convert("RGBA").getchannel("A"))
    else:
        white = mask.convert("L")
    return white if white.size == size else white.resize(size, Pillow.Resampling.BILINEAR)


def _with_hole(picture: Pillow.Image, white: Pillow.Image) -> Pillow.Image:
    """The mask as the picture's alpha: `LoadImage` gives out ``1 - alpha`` as its second output."""
    holed = picture.convert("RGB")
    holed.putalpha(ImageOps.invert(white))
    return holed


def _file(image: Image, picture: Pillow.Image) -> bytes:
    """`LoadImage` turns a picture by its EXIF itself, but drops transparency without a background."""
    return _png(_opaque(picture)) if picture.has_transparency_data else image.data


def _opaque(picture: Pillow.Image) -> Pillow.Image:
    rgba = picture.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def _decoded(image: Image, param: str) -> Pillow.Image:
    """The picture as its viewer sees it, that is with its EXIF rotation applied."""
    try:
        with Pillow.open(BytesIO(image.data)) as opened:
            return ImageOps.exif_transpose(opened).copy()
    except (OSError, ValueError, SyntaxError, Pillow.DecompressionBombError) as error:
        raise InvalidParameterError(f"`{param}` isn't a picture that can be read", param=param) from error


def _png(picture: Pillow.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _controls(options: Mapping[str, Any]) -> list[Any]:
    found = options.get("controlnet", [])
    return found if isinstance(found, list) else [found]


def _control(item: Any, index: int) -> bytes:
    """The picture of one ControlNet: base64, with or without a data URL's head."""
    param = f"provider.options.controlnet[{index}].image"
    text = item.get("image") if isinstance(item, dict) else None
    if not isinstance(text, str):
        raise InvalidParameterError(f"`{param}` must be a picture in base64", param=param)
    try:
        data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidParameterError(f"`{param}` must be a picture in base64", param=param) from None
    image = Image(data=data)
    return _file(image, _decoded(image, param))
