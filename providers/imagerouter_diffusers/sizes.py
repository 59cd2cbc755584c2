"""How big to draw, so that exactly the asked size comes back.

A model draws multiples of a few pixels, and draws well only around the area that it was trained on. The
canvas is what it really draws; the crop box is the part of the canvas that becomes the picture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from imagerouter_diffusers.traits import Traits


@dataclass(frozen=True)
class Plan:
    """Sizes of one request, in pixels."""

    width: int
    height: int
    canvas_width: int
    canvas_height: int
    scale: float
    """Canvas pixels per picture pixel."""

    @property
    def is_direct(self) -> bool:
        """Whether the picture is cut out of the canvas without resampling."""
        return self.scale == 1.0

    @property
    def inner(self) -> tuple[float, float]:
        """Width and height of the part of the canvas that is kept."""
        return self.width * self.scale, self.height * self.scale

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of that part; whole pixels where no resampling is needed."""
        width, height = self.inner
        left, top = (self.canvas_width - width) / 2, (self.canvas_height - height) / 2
        if self.is_direct:
            left, top = math.floor(left), math.floor(top)
        return left, top, left + width, top + height


def plan(traits: Traits, width: int, height: int) -> Plan:
    native = traits.width * traits.height
    area = width * height
    scale = 1.0
    if area > native * traits.max_scale or area < native * traits.min_scale:
        wanted = native if traits.min_scale else native * traits.max_scale
        scale = math.sqrt(wanted / area)
    if scale == 1.0:
        return Plan(width, height, _up(width, traits.multiple), _up(height, traits.multiple), scale)
    canvas_width = _nearest(width * scale, traits.multiple)
    canvas_height = _nearest(height * scale, traits.multiple)
    # Use what rounding gave for picture, not for margin.
    return Plan(width, height, canvas_width, canvas_height, min(canvas_width / width, canvas_height / height))


def _up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _nearest(value: float, multiple: int) -> int:
    return max(multiple, round(value / multiple) * multiple)
