"""Input pictures in a JSON body: base64 or a data URL, never a remote address."""

from __future__ import annotations

import re

from imagerouter.errors import InvalidParameterError
from imagerouter.types import Image

_DATA_URL = re.compile(r"data:([\w.+/-]*)(;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")


def picture(text: str, param: str) -> Image:
    """The picture in ``text``; what it really is, is read from its first bytes."""
    if text.lower().startswith(("http://", "https://", "file:")):
        raise InvalidParameterError(
            f"`{param}`: pictures are not fetched from addresses here; send it as base64 or data URL",
            param=param,
        )
    match = _DATA_URL.match(text)
    encoded = (text[match.end() :] if match else text).encode("ascii", "replace")
    if not _BASE64.fullmatch(encoded):
        raise InvalidParameterError(f"`{param}` is neither base64 nor a data URL", param=param)
    image = Image(b64=b"".join(encoded.split()))
    if image.media_type not in ("image/png", "image/jpeg", "image/webp"):
        raise InvalidParameterError(f"`{param}` is not a PNG, JPEG or WebP picture", param=param)
    return image
