"""What a body says about the picture's size: ``size``, ``width`` and ``height``, ``resolution``, ``aspect_ratio``."""

from __future__ import annotations

import re

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import VALID, GenerationBody
from imagerouter.sources import proportions
from imagerouter.suggest import shortened
from imagerouter.types import Image

_SIZE = re.compile(r"(\d{1,6})\s*[xX]\s*(\d{1,6})")
_RATIO = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)\s*[:/]\s*(\d{1,6}(?:\.\d{1,6})?)")
SMALLEST = 16
MOST_RATIO = 16
TOLERANCE = 0.05
"""How far a size may be from the aspect ratio beside it: models' own "16:9" sizes are off by up to 4 %."""
TIERS = {"512": 512, "768": 768, "1K": 1024, "1.5K": 1536, "2K": 2048, "4K": 4096}
"""OpenRouter's words for about so many pixels squared, in whatever shape."""
TIER_TOLERANCE = 0.24
"""How far the square root of a size's pixels may be from the tier beside it: 1536x1024 is called 1K, too."""
MULTIPLE = 16
"""Sides that are made of a tier are cut to it, for there are models that draw no others."""

Size = tuple[int, int]


def shape_of(body: GenerationBody, limits: Limits, picture: Image | None = None) -> tuple[Size | None, float | None]:
    """Width and height, and width divided by height, as far as the body gives them.

    Pixels are authoritative: what is said beside them may not contradict them.

    :param picture: the input picture, whose shape a tier gets where the body gives none.
    """
    if not (body.size or body.width or body.height or body.resolution or body.aspect_ratio):
        return None, None
    pixels, tier = _pixels(body, limits), _tier(body)
    ratio = _ratio(body, pixels)
    if tier is None:
        return pixels, ratio
    name, side, param = tier
    if pixels is None:
        size = _of_area(side, ratio or _proportions(picture))
        _check_size(*size, limits, param)
        return size, ratio
    if abs((pixels[0] * pixels[1]) ** 0.5 / side - 1) > TIER_TOLERANCE:
        message = f"`{param}`: {name} contradicts the size {pixels[0]}x{pixels[1]}"
        raise InvalidParameterError(message, param=param)
    return pixels, ratio


def _proportions(picture: Image | None) -> float:
    found = None if picture is None else proportions(picture)
    return min(max(found or 1.0, 1 / MOST_RATIO), MOST_RATIO)


def _of_area(side: int, ratio: float) -> Size:
    height = side / ratio**0.5
    # Not rounded: a tier that is within `limits.max_pixels` has to be in every shape.
    width, height = (int(length / MULTIPLE + 1e-6) * MULTIPLE for length in (height * ratio, height))
    return width, height


def _tier(body: GenerationBody) -> tuple[str, int, str] | None:
    """The tier that the body asks for, its side in pixels, and the parameter that says so."""
    size, resolution = (_named(text) for text in (body.size, body.resolution))
    text = (body.resolution or "auto").strip()
    if resolution is None and text.casefold() != "auto":
        valid = VALID["resolution"]
        raise InvalidParameterError(
            f'Invalid value for `resolution`: it must be {valid}, not "{shortened(text)}"', param="resolution"
        )
    if size is not None and resolution not in (size, None):
        raise InvalidParameterError(f"`resolution`: {resolution} contradicts `size`: {size}", param="resolution")
    name = resolution or size
    return None if name is None else (name, TIERS[name], "size" if resolution is None else "resolution")


def _named(text: str | None) -> str | None:
    """``2k`` → ``2K``."""
    name = (text or "").strip().upper()
    return name if name in TIERS else None


def _pixels(body: GenerationBody, limits: Limits) -> Size | None:
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


def _ratio(body: GenerationBody, size: Size | None) -> float | None:
    text = (body.aspect_ratio or "auto").strip()
    if text.casefold() == "auto":
        return None
    match = _RATIO.fullmatch(text)
    ratio = float(match[1]) / float(match[2]) if match and float(match[2]) else 0.0
    if not 1 / MOST_RATIO <= ratio <= MOST_RATIO:
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


def _written(size: str | None) -> Size | None:
    text = (size or "auto").strip()
    if text.casefold() == "auto" or _named(text) is not None:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise InvalidParameterError(
            f'Invalid value for `size`: it must be {VALID["size"]}, not "{shortened(text)}"', param="size"
        )
    return int(match[1]), int(match[2])
