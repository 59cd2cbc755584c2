"""Input pictures as texts: base64, a data URL, or the name of one that has been received or fetched already."""

from __future__ import annotations

import re
from collections.abc import Mapping

from imagerouter.errors import InvalidParameterError
from imagerouter.sources import KINDS, is_picture
from imagerouter.types import Image

_DATA_URL = re.compile(r"data:([\w.+/-]*)(;[\w.+-]+=[^;,]*)*;base64,", re.IGNORECASE)
_SPACE = b" \t\n\r\v\f"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_HEADER = 4096
"""Characters within which a data URL's own part has to end."""


def is_address(text: str) -> bool:
    """Whether it names a picture that has to be fetched."""
    return text[:8].lower().startswith(("http://", "https://"))


def picture(text: str, param: str, known: Mapping[str, Image] | None = None) -> Image:
    """The picture in ``text``; what it really is, is read from its first bytes.

    :param known: pictures by their addresses, and by the names of files in a form.
    """
    if known is not None and text in known:
        return known[text]
    if is_address(text) or text[:5].lower() == "file:":
        raise InvalidParameterError(
            f"`{param}`: pictures are not fetched from addresses here; send it as base64 or data URL",
            param=param,
        )
    match = _DATA_URL.match(text, 0, _HEADER)
    encoded = (text[match.end() :] if match else text).encode("ascii", "replace").translate(None, _SPACE)
    if not _is_base64(encoded):
        raise InvalidParameterError(f"`{param}` is neither base64 nor a data URL", param=param)
    image = Image(b64=encoded)
    if not is_picture(image.head(16)):
        raise InvalidParameterError(f"`{param}` is not a {KINDS} picture", param=param)
    return image


def _is_base64(text: bytes) -> bool:
    """Each step looks at each byte once: the text may have any length and hold anything."""
    digits = text.removesuffix(b"=").removesuffix(b"=")
    return bool(digits) and len(text) % 4 == 0 and not digits.translate(None, _ALPHABET)
