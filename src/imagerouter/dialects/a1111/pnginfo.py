"""The parameters in a picture's file, as ``/sdapi/v1/png-info`` answers them."""

from __future__ import annotations

from typing import Any

from imagerouter import embedding
from imagerouter.dialects.a1111.infotext import parsed, written
from imagerouter.sources import reading
from imagerouter.types import Image

_USER_COMMENT, _EXIF = 0x9286, 0x8769
_LONGEST = 200_000


def read(image: Image) -> dict[str, Any]:
    """What imagerouter itself has written, else what a server of this family has. Reads a file, so it is for a thread.

    Raises `InvalidParameterError` for what isn't a picture.
    """
    with reading(image, "image") as opened:
        items = {name: value for name, value in opened.info.items() if isinstance(value, str) and name != "parameters"}
        text = opened.info.get("parameters") or _comment(opened.getexif().get_ifd(_EXIF).get(_USER_COMMENT))
    if (request := embedding.read(image.data)) is not None:
        text = written(str(request.get("prompt", "")), str(request.get("negative_prompt") or ""), request)
    info = text[:_LONGEST] if isinstance(text, str) else ""
    return {"info": info, "items": items, "parameters": parsed(info)}


def _comment(value: Any) -> str:
    """EXIF's UserComment: eight bytes of what it is written in, then the text."""
    if not isinstance(value, bytes):
        return ""
    code, text = value[:8], value[8:]
    return text.decode("utf-16-be" if code.startswith(b"UNICODE") else "utf-8", "replace")
