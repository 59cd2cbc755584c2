"""The request's pictures, made ready and put on the server. Everything here but `upload_all` is for a thread."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image as Pillow
from PIL import ImageOps

from imagerouter import Image, ImageRequest, InvalidParameterError
from imagerouter.images import opaque, png, repaint_mask
from imagerouter.sources import decode
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
    """Decode what has to be decoded; a picture that is right as it is goes to the server untouched.

    Raises `InvalidParameterError`.
    """
    pictures = [_decoded(image, f"images[{index}]") for index, image in enumerate(request.images)]
    files = [picture.file() for picture in pictures]
    size = pictures[0].pixels.size if pictures else None
    mask = None
    if request.mask is not None:
        if not pictures:
            raise InvalidParameterError("`mask` needs an input picture in `images`", param="mask")
        white = repaint_mask(_decoded(request.mask, "mask").pixels, pictures[0].pixels.size)
        if recipe.mask_as == "alpha":
            files[0] = png(_with_hole(pictures[0].pixels, white))
        else:
            mask = png(white.convert("RGB"))
    controls = tuple(_control(item, index) for index, item in enumerate(_controls(request.options)))
    return Ready(tuple(files), size, mask, controls)


def _with_hole(picture: Pillow.Image, white: Pillow.Image) -> Pillow.Image:
    """The mask as the picture's alpha: `LoadImage` gives out ``1 - alpha`` as its second output."""
    holed = opaque(picture)
    holed.putalpha(ImageOps.invert(white))
    return holed


@dataclass(frozen=True, slots=True)
class _Picture:
    """The first frame of a picture as its viewer sees it, that is with its EXIF rotation applied."""

    pixels: Pillow.Image
    own: bytes | None
    """The client's file, if every version of ``LoadImage`` reads it in this way."""

    def file(self) -> bytes:
        """What the server is to load: opaque, since it would show whatever colour is behind transparency."""
        return png(opaque(self.pixels)) if self.own is None else self.own


def _decoded(image: Image, param: str) -> _Picture:
    # A grey file isn't read as it is: white is 254 of 255 (``nodes.py``: ``LoadImage``, which reads it by PyAV).
    pixels, is_plain = decode(image, param, modes=("RGB",))
    return _Picture(pixels, image.data if is_plain else None)


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
    return _decoded(Image(data=data), param).file()
