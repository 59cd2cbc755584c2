"""The request's pictures, as they are sent, and the finished ones, as they are delivered.

Pillow is only loaded where a picture has to be made anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from imagerouter import Image, ImageRequest
from imagerouter.canvas import Size
from imagerouter.images import dimensions, in_worker
from imagerouter_openai.api import Form
from imagerouter_openai.dialects import Dialect


async def sent(request: ImageRequest, dialect: Dialect) -> Form:
    """The files of a form. Raises `InvalidParameterError`."""
    return await in_worker(_sent, request, dialect)


def _sent(request: ImageRequest, dialect: Dialect) -> Form:
    from imagerouter_openai import pixels

    images = request.images
    if not dialect.takes_anything:
        images = tuple(pixels.plain(image, f"images[{i}]", dialect.modes) for i, image in enumerate(images))
    field = "image" if len(images) == 1 else "image[]"
    files = [(field, image) for image in images]
    if request.mask is not None:
        files.append(("mask", pixels.written(request.mask, dialect.mask)))
    for _, image in files:
        _ = image.data  # decoded here, and kept
    return Form(files)


async def finished(images: Sequence[Image], size: Size | None, *, is_edit: bool) -> Sequence[Image]:
    """``images`` of the asked size; the same objects where that is what they are. Raises `ProviderResponseError`.

    :param is_edit: whether they have to stay aligned with a source.
    """
    if size is None or all(_is_of(image, size) for image in images):
        return images
    return await asyncio.gather(*(_finished(image, size, is_edit) for image in images))


def _is_of(image: Image, size: Size) -> bool:
    return dimensions(image) == (size.width, size.height)


async def _finished(image: Image, size: Size, is_edit: bool) -> Image:
    return image if _is_of(image, size) else await in_worker(_resized, image, size, is_edit)


def _resized(image: Image, size: Size, is_edit: bool) -> Image:
    from imagerouter_openai.pixels import resized

    return resized(image, size, is_edit)
