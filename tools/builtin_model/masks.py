"""Where the objects of a picture are: background, connected regions, outlines brought to one grid."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from .palette import COLOURS, Floats, lab
from .shapes import SHAPES

Mask = NDArray[np.bool_]
RING = 8
GRID = 64
SAME_COLOUR = 24.0  # how far a colour may be from its name's own, in CIE Lab
FLAT = 16.0  # how far a background pixel may be from the background's own colour
APART = 14.0  # how far from the background a pixel must be to belong to an object at all
SPECK = 0.003  # regions of a smaller share of the picture are no objects


def distance(a: Floats, b: Floats) -> Floats:
    between: Floats = np.sqrt(np.square(a - b).sum(axis=-1))
    return between


def background(pixels: Floats) -> tuple[Floats, bool]:
    """The border's colour, and whether the border is one colour."""
    border = np.ones(pixels.shape[:2], bool)
    border[RING:-RING, RING:-RING] = False
    ring = pixels[border]
    paper = np.median(ring, axis=0)
    return paper, bool((distance(ring, paper) < FLAT).mean() >= 0.97)


def inked(pixels: Floats, paper: Floats) -> tuple[Mask, Floats]:
    """Everything that is nearer to the object's colour than to the background's, specks and all."""
    away = distance(pixels, paper)
    # The inside of the object is what differs most; a soft edge is between the two colours and must not vote.
    clear = away > max(0.7 * float(np.quantile(away, 0.98)), 12.0)
    if clear.mean() < 0.005:
        return np.zeros(away.shape, bool), paper
    ink = np.median(pixels[clear], axis=0)
    # Pixels of a third colour would go unseen by a two-way split, so they count as object.
    mask = (distance(pixels, ink) < away) | (away > 0.75 * float(distance(ink, paper)) + 6)
    return mask, ink


def regions(pixels: Floats, paper: Floats) -> list[tuple[Mask, Floats]]:
    """Each separate object with its colour; a bridge between two makes them one."""
    away = distance(pixels, paper)
    found = []
    for rough in _connected(away > APART):
        clear = rough & (away > 0.7 * float(np.quantile(away[rough], 0.9)))
        ink = np.median(pixels[clear], axis=0)
        mask = rough & ((distance(pixels, ink) < away) | (away > 0.75 * float(distance(ink, paper)) + 6))
        if mask.mean() >= SPECK:
            found.append((mask, ink))
    return found


def _connected(mask: Mask) -> list[Mask]:
    """Every pixel takes the highest number that it can reach, row by row and column by column, until none changes."""
    labels = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        before = labels.copy()
        for lines in (labels, labels[::-1], labels.T, labels.T[::-1]):
            for last, line in pairwise(lines):
                np.copyto(line, np.maximum(last, line), where=(line > 0))
        if (before == labels).all():
            return [labels == label for label in np.unique(labels) if label]


def named(colour: Floats) -> tuple[str, bool]:
    """The nearest of the twelve names, and whether it is near enough to be called that."""
    distances = distance(_palette(), colour)
    best = int(np.argmin(distances))
    return list(COLOURS)[best], bool(distances[best] < SAME_COLOUR)


def palette_of(name: str) -> Floats:
    colour: Floats = _palette()[list(COLOURS).index(name)]
    return colour


@cache
def _palette() -> Floats:
    return lab(np.array(list(COLOURS.values()), np.uint8))


def shape_of(mask: Mask) -> tuple[str, float]:
    """The drawn shape that overlaps best once position and size are taken out, and the overlap."""
    seen = _normal(mask)
    names, templates = _templates()
    both = (templates & seen).sum(axis=(1, 2))
    either = (templates | seen).sum(axis=(1, 2))
    overlap = both / np.maximum(either, 1)
    best = int(np.argmax(overlap))
    return names[best], float(overlap[best])


@cache
def measures(shape: str) -> tuple[float, float]:
    """Area and length of outline of a shape of radius 1."""
    area, length = 0.0, 0.0
    for sign, points in ((1, SHAPES[shape].points), (-1, SHAPES[shape].hole)):
        if points is not None:
            after = np.roll(points, -1, axis=0)
            area += sign * abs(float(np.sum(points[:, 0] * after[:, 1] - after[:, 0] * points[:, 1]))) / 2
            length += float(np.sqrt(np.square(after - points).sum(axis=1)).sum())
    return area, length


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
    names, found = [], []
    for name, outline in SHAPES.items():
        for degrees in (-8, -4, 0, 4, 8):
            image = Image.new("1", (256, 256))
            draw = ImageDraw.Draw(image)
            turned = outline.placed(128, 128, 85, degrees)
            draw.polygon(turned.points.ravel().tolist(), fill=1)
            if turned.hole is not None:
                draw.polygon(turned.hole.ravel().tolist(), fill=0)
            names.append(name)
            found.append(_normal(np.asarray(image)))
    return names, np.stack(found)
