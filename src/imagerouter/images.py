"""Picture files in another format, made only when the backend's own isn't what the client wants.

And what input pictures and masks mean on every backend.
"""

from __future__ import annotations

import asyncio
import struct
from io import BytesIO
from typing import TYPE_CHECKING

from imagerouter.errors import ProviderResponseError
from imagerouter.types import Image

if TYPE_CHECKING:
    import PIL.Image


async def deliver(image: Image, output_format: str | None, compression: int | None) -> Image:
    """``image`` as ``png``, ``jpeg`` or ``webp``; the same object when it is that already.

    :param compression: quality from 0 to 100 for JPEG and WebP.
    """
    if output_format is None or image.media_type == f"image/{output_format}":
        return image
    return await asyncio.to_thread(convert, image, output_format, compression)


def convert(image: Image, output_format: str, compression: int | None = None) -> Image:
    """Decode and encode again; takes tens of milliseconds per megapixel, so never on the event loop."""
    from PIL import Image as Pillow
    from PIL import UnidentifiedImageError

    try:
        picture: PIL.Image.Image = Pillow.open(BytesIO(image.data))
        if output_format == "jpeg" and picture.mode != "RGB":
            picture = opaque(picture)  # which JPEG has to be
        out = BytesIO()
        options = {} if output_format == "png" else {"quality": 100 if compression is None else compression}
        picture.save(out, output_format.upper(), **options)
    except (UnidentifiedImageError, Pillow.DecompressionBombError, OSError, ValueError):
        raise ProviderResponseError("the provider returned something that is not a picture") from None
    return Image(data=out.getvalue(), media_type=f"image/{output_format}")


def opaque(picture: PIL.Image.Image) -> PIL.Image.Image:
    """RGB, on white where it is transparent."""
    from PIL import Image as Pillow

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    rgba = picture.convert("RGBA")
    return Pillow.alpha_composite(Pillow.new("RGBA", rgba.size, "white"), rgba).convert("RGB")


def repaint_mask(mask: PIL.Image.Image, size: tuple[int, int]) -> PIL.Image.Image:
    """A grey picture of this size, white where to repaint: what is transparent, or, without an alpha channel, white."""
    from PIL import Image as Pillow
    from PIL import ImageOps

    if mask.has_transparency_data:
        white = ImageOps.invert(mask.convert("RGBA").getchannel("A"))
    else:
        white = mask.convert("L")
    return white if white.size == size else white.resize(size, Pillow.Resampling.BILINEAR)


def dimensions(image: Image) -> tuple[int, int] | None:
    """Width and height, read from the file's header alone; ``None`` if there is none that Pillow knows."""
    from PIL import Image as Pillow

    if image.media_type == "image/png":
        head = image.head(24)
        return struct.unpack(">II", head[16:24]) if len(head) == 24 else None
    try:
        # Enough of the file for any header, without decoding a base64 picture that only passes through.
        with Pillow.open(BytesIO(image.head(65536))) as picture:
            return picture.size
    except (Pillow.DecompressionBombError, OSError, ValueError):
        return None
