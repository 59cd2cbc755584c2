"""The twelve colours the model knows, and how far apart two colours look."""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]
Floats = NDArray[np.float32]

COLOURS: dict[str, Rgb] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 30),
    "yellow": (250, 220, 50),
    "green": (50, 160, 70),
    "cyan": (60, 205, 215),
    "blue": (45, 85, 215),
    "purple": (130, 60, 175),
    "pink": (245, 150, 190),
    "brown": (125, 75, 40),
    "black": (20, 20, 20),
    "grey": (135, 135, 135),
    "white": (245, 245, 245),
}

COLOUR_SYNONYMS: dict[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet"),
    "orange": ("tangerine",),
    "yellow": ("golden",),
    "green": ("emerald",),
    "cyan": ("turquoise", "teal", "aqua"),
    "blue": ("azure",),
    "purple": ("violet",),
    "pink": ("rose",),
    "brown": ("chocolate",),
    "grey": ("gray",),
}


def mix(a: Rgb, b: Rgb, share: float) -> Rgb:
    """`share` of `b`, the rest of `a`."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def jitter(colour: Rgb, random: Random, spread: int = 4) -> Rgb:
    red, green, blue = (min(255, max(0, value + random.randint(-spread, spread))) for value in colour)
    return red, green, blue


def lab(rgb: NDArray[np.uint8]) -> Floats:
    """SRGB bytes (…, 3) to CIE L*a*b* (D65), where plain distance is close to what the eye sees."""
    value = rgb.astype(np.float32) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float32)
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089], np.float32)
    root = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    x, y, z = root[..., 0], root[..., 1], root[..., 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1).astype(np.float32)
