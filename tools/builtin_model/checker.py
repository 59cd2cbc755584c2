"""Arithmetic alone says whether a picture shows the asked shape in the asked colours: no network judges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .objects import Wish
from .palette import COLOURS, Floats, lab
from .scenes import Picture
from .shapes import SHAPES

Mask = NDArray[np.bool_]
RING = 8
GRID = 64
SAME_COLOUR = 24.0  # how far a colour may be from its name's own, in CIE Lab
FLAT = 16.0  # how far a background pixel may be from the background's own colour
WOBBLE = 0.08  # how far an outline may stray on average, as a share of the radius: 0.85 overlap for a circle
MIN_PURE = 0.75  # how much of the object must be its own colour; its soft edge is not


@dataclass(frozen=True)
class Verdict:
    background: bool
    colour: bool
    shape: bool
    seen: Wish
    overlap: float

    @property
    def right(self) -> bool:
        return self.background and self.colour and self.shape


def judge(picture: Picture, wish: Wish) -> Verdict:
    """`picture` is the raw (rows, columns, 3) bytes, border included."""
    pixels = lab(picture)
    paper, flat = _background(pixels)
    mask, ink = _object(pixels, paper)
    pure = _distance(pixels[mask], ink) < SAME_COLOUR
    paper_name, paper_close = _nearest(paper)
    right_paper = flat and paper_close and paper_name == wish.background
    if not mask.any():
        return Verdict(right_paper, False, False, Wish("", "", paper_name), 0.0)
    ink_name, ink_close = _nearest(ink)
    shape, overlap = _shape(mask)
    return Verdict(
        background=right_paper,
        colour=ink_close and ink_name == wish.colour and pure.mean() >= MIN_PURE,
        shape=shape == wish.shape and overlap >= least_overlap(shape),
        seen=Wish(ink_name, shape, paper_name),
        overlap=overlap,
    )


def _background(pixels: Floats) -> tuple[Floats, bool]:
    """The border's colour, and whether the border is one colour."""
    border = np.ones(pixels.shape[:2], bool)
    border[RING:-RING, RING:-RING] = False
    ring = pixels[border]
    paper = np.median(ring, axis=0)
    return paper, bool((_distance(ring, paper) < FLAT).mean() >= 0.97)


def _object(pixels: Floats, paper: Floats) -> tuple[Mask, Floats]:
    """Everything that is nearer to the object's colour than to the background's, specks and all."""
    away = _distance(pixels, paper)
    # The inside of the object is what differs most; a soft edge is between the two colours and must not vote.
    clear = away > max(0.7 * float(np.quantile(away, 0.98)), 12.0)
    if clear.mean() < 0.005:
        return np.zeros(away.shape, bool), paper
    ink = np.median(pixels[clear], axis=0)
    # Pixels of a third colour would go unseen by a two-way split, so they count as object.
    mask = (_distance(pixels, ink) < away) | (away > 0.75 * float(_distance(ink, paper)) + 6)
    return mask, ink


def _nearest(colour: Floats) -> tuple[str, bool]:
    distances = _distance(_named(), colour)
    best = int(np.argmin(distances))
    return list(COLOURS)[best], bool(distances[best] < SAME_COLOUR)


@cache
def _named() -> Floats:
    return lab(np.array(list(COLOURS.values()), np.uint8))


def _distance(a: Floats, b: Floats) -> Floats:
    distance: Floats = np.sqrt(np.square(a - b).sum(axis=-1))
    return distance


def _shape(mask: Mask) -> tuple[str, float]:
    """The drawn shape that overlaps best once position and size are taken out."""
    seen = _normal(mask)
    names, templates = _templates()
    both = (templates & seen).sum(axis=(1, 2))
    either = (templates | seen).sum(axis=(1, 2))
    overlap = both / np.maximum(either, 1)
    best = int(np.argmax(overlap))
    return names[best], float(overlap[best])


@cache
def least_overlap(shape: str) -> float:
    """The overlap that is left when the outline strays by `WOBBLE`: a thin shape loses more than a full one."""
    area, length = 0.0, 0.0
    for sign, points in ((1, SHAPES[shape].points), (-1, SHAPES[shape].hole)):
        if points is not None:
            after = np.roll(points, -1, axis=0)
            area += sign * abs(float(np.sum(points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]))) / 2
            length += float(np.sqrt(np.square(after - points).sum(axis=1)).sum())
    lost = WOBBLE * length / (2 * area)
    return (1 - lost) / (1 + lost)


def _normal(mask: Mask) -> Mask:
    """The mask on a fixed grid, centred on its middle, scaled to a fixed area."""
    rows, columns = np.nonzero(mask)
    side = float(np.sqrt(len(rows))) * 2.6
    steps = (np.arange(GRID) + 0.5) / GRID - 0.5
    y = np.round(rows.mean() + steps * side).astype(int)
    x = np.round(columns.mean() + steps * side).astype(int)
    padded = np.pad(mask, 1)
    y, x = np.clip(y + 1, 0, padded.shape[0] - 1), np.clip(x + 1, 0, padded.shape[1] - 1)
    grid: Mask = padded[np.ix_(y, x)]
    return grid


@cache
def _templates() -> tuple[list[str], Mask]:
    names, masks = [], []
    for name, outline in SHAPES.items():
        for degrees in (-8, -4, 0, 4, 8):
            image = Image.new("1", (256, 256))
            draw = ImageDraw.Draw(image)
            turned = outline.placed(128, 128, 85, degrees)
            draw.polygon(turned.points.ravel().tolist(), fill=1)
            if turned.hole is not None:
                draw.polygon(turned.hole.ravel().tolist(), fill=0)
            names.append(name)
            masks.append(_normal(np.asarray(image)))
    return names, np.stack(masks)
