"""The ten shapes as outlines in a unit square (-1…1, y down), each with at most one hole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .palette import Floats


@dataclass(frozen=True)
class Outline:
    points: Floats
    hole: Floats | None = None

    def placed(self, x: float, y: float, radius: float, degrees: float = 0.0) -> Outline:
        """The same outline, turned, scaled and moved to picture coordinates."""
        angle = np.deg2rad(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]], np.float32)
        move = np.array([x, y], np.float32)
        hole = None if self.hole is None else self.hole @ turn * radius + move
        return Outline(self.points @ turn * radius + move, hole)


def _arc(radius: float, x: float = 0.0, start: float = 0.0, stop: float = 2 * np.pi, count: int = 64) -> Floats:
    angle = np.linspace(start, stop, count, endpoint=False)
    return np.stack([x + radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)


def _polygon(*points: tuple[float, float]) -> Floats:
    return np.array(points, np.float32)


def _star() -> Floats:
    angle = np.arange(10) * np.pi / 5 - np.pi / 2
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32)


def _heart() -> Floats:
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x / 16.5, (y - 2.5) / 16.5], axis=1).astype(np.float32)


def _crescent() -> Floats:
    # The inner arc bites from the right, so the horns point right as in a waning moon.
    outer = _arc(1.0, 0.0, 0.23 * np.pi, 1.77 * np.pi)
    far = outer[-1]
    inner_x, inner_radius = 0.42, float(np.hypot(far[0] - 0.42, far[1]))
    angle = float(np.arctan2(far[1], far[0] - inner_x)) % (2 * np.pi)
    inner = _arc(inner_radius, inner_x, angle, 2 * np.pi - angle)
    return np.concatenate([outer, inner])


_ARM = 0.34
_CROSS = _polygon(
    (-_ARM, -1), (_ARM, -1), (_ARM, -_ARM), (1, -_ARM), (1, _ARM), (_ARM, _ARM),
    (_ARM, 1), (-_ARM, 1), (-_ARM, _ARM), (-1, _ARM), (-1, -_ARM), (-_ARM, -_ARM),
)  # fmt: skip
SHAPES: dict[str, Outline] = {
    "circle": Outline(_arc(1.0)),
    "square": Outline(_polygon((-0.86, -0.86), (0.86, -0.86), (0.86, 0.86), (-0.86, 0.86))),
    "triangle": Outline(_polygon((0, -0.95), (1.0, 0.8), (-1.0, 0.8))),
    "star": Outline(_star()),
    "heart": Outline(_heart()),
    "diamond": Outline(_polygon((0, -1.05), (0.72, 0), (0, 1.05), (-0.72, 0))),
    "cross": Outline(_CROSS),
    "ring": Outline(_arc(1.0), _arc(0.55)),
    "crescent": Outline(_crescent()),
    "arrow": Outline(_polygon((-1, -0.3), (0.1, -0.3), (0.1, -0.8), (1.0, 0), (0.1, 0.8), (0.1, 0.3), (-1, 0.3))),
}

SHAPE_SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("disc", "disk", "ball", "dot"),
    "square": ("box",),
    "triangle": ("pyramid",),
    "heart": ("love heart",),
    "diamond": ("rhombus",),
    "cross": ("plus", "plus sign"),
    "ring": ("donut", "hoop"),
    "crescent": ("crescent moon",),
}
