"""Arithmetic alone says whether a picture shows what was asked for: no network judges."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from . import masks
from .masks import Mask
from .objects import PLACES
from .palette import Floats, lab
from .patterns import KINDS
from .scenes import Picture
from .wishes import Item, Pattern, Wish

# How far an outline may stray on average, in shares of the radius: 0.85 overlap for a circle. A cell of the
# latents is 8 pixels, so a small outline may stray by most of one.
WOBBLE, WOBBLE_PIXELS = 0.08, 5.0
MIN_PURE = 0.75  # how much of an object must be its own colour; its soft edge is not
# Radii of drawings, in shares of the side: small ones end at 0.19, usual ones are 0.28 to 0.37, large
# ones begin at 0.40.
SMALLER, LARGER = 0.235, 0.385
REPEATS = range(3, 13)  # how many stripes or squares to a side still are a pattern
AGREEMENT = 0.88  # how much of the picture must agree with a perfect pattern


@dataclass(frozen=True)
class Seen:
    """An object as it was found; lengths in shares of the shorter side."""

    item: Item
    x: float
    y: float
    pure: bool
    overlap: float
    steady: bool
    """Whether its outline is as good as asked."""


@dataclass(frozen=True)
class Verdict:
    """What is right; things that were not asked for count as right."""

    background: bool
    count: bool
    colour: bool
    shape: bool
    place: bool
    size: bool
    seen: str
    """A few words for people."""
    nearest: bool = True
    """Whether each shape is the asked one, however much its outline strays."""
    overlap: float = 1.0
    """The worst overlap with a perfect outline."""

    @property
    def right(self) -> bool:
        return self.background and self.count and self.colour and self.shape and self.place and self.size


def judge(picture: Picture, wish: Wish) -> Verdict:
    """`picture` is the raw (rows, columns, 3) bytes, border included."""
    pixels = lab(picture)
    paper, flat = masks.background(pixels)
    name, close = masks.named(paper)
    found = _found(pixels, paper, alone=len(wish.items) == 1)
    ordered = sorted(found, key=lambda seen: seen.y if wish.stacked else seen.x)
    said = " + ".join(f"{seen.item.colour} {seen.item.shape}" for seen in ordered) or "nothing"
    background = flat and close and name == wish.background
    if len(found) != len(wish.items):
        return Verdict(background, False, False, False, False, False, f"{said} on {name}", False, 0.0)
    pairs = [*zip(ordered, wish.items, strict=True)]
    nearest = all(seen.item.shape == item.shape for seen, item in pairs)
    return Verdict(
        background=background,
        count=True,
        colour=all(seen.item.colour == item.colour and seen.pure for seen, item in pairs),
        shape=nearest and all(seen.steady for seen in ordered),
        place=all(item.place in ("", seen.item.place) for seen, item in pairs) and _in_order(ordered, wish),
        size=all(item.size in ("", seen.item.size) for seen, item in pairs),
        seen=f"{said} on {name}",
        nearest=nearest,
        overlap=min(seen.overlap for seen in ordered),
    )


def _found(pixels: Floats, paper: Floats, alone: bool) -> list[Seen]:
    """All that is not background, as one object when one was asked for: specks and doubles then spoil its outline."""
    if not alone:
        return [_look(pixels, mask, ink) for mask, ink in masks.regions(pixels, paper)]
    mask, ink = masks.inked(pixels, paper)
    return [_look(pixels, mask, ink)] if mask.any() else []


def _look(pixels: Floats, mask: Mask, ink: Floats) -> Seen:
    colour, close = masks.named(ink)
    shape, overlap = masks.shape_of(mask)
    rows, columns = np.nonzero(mask)
    height, width = mask.shape
    x, y = float(columns.mean() / width), float(rows.mean() / height)
    area, _ = masks.measures(shape)
    pixels_of_radius = float(np.sqrt(mask.sum() / area))
    radius = pixels_of_radius / min(height, width)
    size = "small" if radius < SMALLER else "large" if radius > LARGER else ""
    place = min(PLACES, key=lambda name: (PLACES[name][0] - x) ** 2 + (PLACES[name][1] - y) ** 2)
    pure = (masks.distance(pixels[mask], ink) < masks.SAME_COLOUR).mean() >= MIN_PURE
    steady = overlap >= least_overlap(shape, pixels_of_radius)
    return Seen(Item(colour, shape, size, place), x, y, bool(pure and close), overlap, steady)


def least_overlap(shape: str, radius: float) -> float:
    """The overlap that is left when the outline strays as far as it may: a thin shape loses more than a full one."""
    area, length = masks.measures(shape)
    lost = max(WOBBLE, WOBBLE_PIXELS / radius) * length / (2 * area)
    return (1 - lost) / (1 + lost)


def _in_order(ordered: list[Seen], wish: Wish) -> bool:
    """Two that differ must be clearly beside or above each other; how several alike stand is not asked."""
    if len({(item.colour, item.shape) for item in wish.items}) == 1:
        return True
    for first, second in pairwise(ordered):
        along, across = second.x - first.x, abs(second.y - first.y)
        if wish.stacked:
            along, across = second.y - first.y, abs(second.x - first.x)
        if along < 2 * across or along < 0.15:
            return False
    return True


@dataclass(frozen=True)
class PatternVerdict:
    kind: bool
    colour: bool
    seen: str

    @property
    def right(self) -> bool:
        return self.kind and self.colour


def judge_pattern(picture: Picture, wish: Pattern) -> PatternVerdict:
    """Each pixel goes to the nearer of the two asked colours; then any regular pattern of the kind will do."""
    pixels = lab(picture)
    first, second = (masks.palette_of(colour) for colour in wish.colours)
    to_first, to_second = masks.distance(pixels, first), masks.distance(pixels, second)
    taken: Mask = to_first < to_second
    fits = {kind: max(_agreement(taken, kind, count) for count in REPEATS) for kind in KINDS[:3]}
    best = max(fits, key=lambda kind: fits[kind])
    names = [
        masks.named(np.median(pixels[part], axis=0)) if part.mean() > 0.2 else ("nothing", False)
        for part in (taken, ~taken)
    ]
    pure = (np.minimum(to_first, to_second) < masks.SAME_COLOUR).mean() >= MIN_PURE
    return PatternVerdict(
        kind=best == wish.kind and fits[best] >= AGREEMENT,
        colour=bool(pure) and names == [(colour, True) for colour in wish.colours],
        seen=f"{best} {fits[best]:.2f}",
    )


def _agreement(taken: Mask, kind: str, count: int) -> float:
    height, width = taken.shape
    down = (np.arange(height) * count // height)[:, None]
    across = (np.arange(width) * count // width)[None, :]
    turn = {"vertical stripes": across + 0 * down, "horizontal stripes": down + 0 * across}.get(kind, across + down)
    agree = float(((turn % 2 == 0) == taken).mean())
    return max(agree, 1 - agree)
