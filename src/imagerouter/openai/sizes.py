"""What a body says about the picture's size: ``size``, ``width`` and ``height``, ``aspect_ratio``."""

from __future__ import annotations

import re

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import VALID, GenerationBody
from imagerouter.suggest import shortened

_SIZE = re.compile(r"(\d{1,6})\s*[xX]\s*(\d{1,6})")
_RATIO = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*[:/]\s*(\d{1,6}(?:\.\d{1,6})?)")
SMALLEST = 16
TOLERANCE = 0.05
"""How far a size may be from the aspect ratio beside it: models' own "16:9" sizes are off by up to 4 %."""


def size_of(body: GenerationBody, limits: Limits) -> tuple[int, int] | None:
    """Width and height, if the body gives them."""
    written = _written(body.size)
    if written is None:
        width, height = body.width, body.height
    else:
        width, height = written
        if (body.width or width) != width or (body.height or height) != height:
            raise InvalidParameterError("`size` contradicts `width` and `height`", param="size")
    if width is None and height is None:
        return None
    if width is None or height is None:
        missing = "height" if height is None else "width"
        raise InvalidParameterError(f"`width` and `height` go together; `{missing}` is missing", param=missing)
    _check_size(width, height, limits, "width" if written is None else "size")
    return width, height


def _check_size(width: int, height: int, limits: Limits, param: str) -> None:
    if min(width, height) < SMALLEST:
        raise InvalidParameterError(f"`{param}`: both sides must be at least {SMALLEST} pixels", param=param)
    if max(width, height) > limits.max_side or width * height > limits.max_pixels:
        raise InvalidParameterError(
            f"`{param}`: {width}x{height} is too large; at most {limits.max_side} pixels a side and "
            f"{limits.max_pixels} pixels in all",
            param=param,
        )


def ratio_of(body: GenerationBody, size: tuple[int, int] | None) -> float | None:
    """Width divided by height, if the body gives a ratio that does not contradict its size."""
    text = (body.aspect_ratio or "auto").strip()
    if text.casefold() == "auto":
        return None
    match = _RATIO.fullmatch(text)
    ratio = float(match[1]) / float(match[2]) if match and float(match[2]) else 0.0
    if not 1 / 16 <= ratio <= 16:
        raise InvalidParameterError(
            f"Invalid value for `aspect_ratio`: it must be {VALID['aspect_ratio']}, between 1:16 and 16:1, "
            f'not "{shortened(text)}"',
            param="aspect_ratio",
        )
    if size is not None and abs(size[0] / size[1] / ratio - 1) > TOLERANCE:
        raise InvalidParameterError(
            f"`aspect_ratio`: {text} contradicts the size {size[0]}x{size[1]}", param="aspect_ratio"
        )
    return ratio


def _written(size: str | None) -> tuple[int, int] | None:
    text = (size or "auto").strip()
    if text.casefold() == "auto":
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidParameterError(
            f'Invalid value for `size`: it must be {VALID["size"]}, not "{shortened(text)}"', param="size"
        )
    return int(match[1]), int(match[2])
