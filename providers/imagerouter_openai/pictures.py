"""The request's pictures, as they are sent, and the finished ones, as they are delivered.

Pillow is only loaded where a picture has to be made anew.
"""

from __future__ import annotations

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


async def finished(image: Image, size: Size | None, *, is_edit: bool) -> Image:
    """``image`` of the asked size; the same object where that is what it is. Raises `ProviderResponseError`.

    :param is_edit: whether it has to stay aligned with a source.
    """
    if size is None or dimensions(image) == (size.width, size.height):
        return image
    return await in_worker(_resized, image, size, is_edit)


def _resized(image: Image, size: Size, is_edit: bool) -> Image:
    from imagerouter_openai.pixels import resized

    return resized(image, size, is_edit)
