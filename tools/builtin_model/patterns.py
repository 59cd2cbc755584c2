"""Stripes, checkerboards and dots in two colours, eight to a side."""

from __future__ import annotations

from random import Random

import numpy as np

from .captions import colour_word, opened
from .palette import COLOURS, Floats, jitter
from .scenes import Backdrop, Scene, Thing
from .shapes import SHAPES, Outline
from .wishes import Pattern

COUNT, DOTS = 8, 4
KINDS = ("vertical stripes", "horizontal stripes", "checkerboard", "dots")
STRIPES = (
    "{way} {a} and {b} stripes", "{a} and {b} {way} stripes", "{way} stripes in {a} and {b}",
    "{way} stripes, {a} and {b}", "{a} and {b} stripes, {way}", "a pattern of {way} {a} and {b} stripes",
)  # fmt: skip
CHECKS = (
    "a {a} and {b} checkerboard", "{a} and {b} checkerboard", "a checkerboard in {a} and {b}",
    "a {a} and {b} checkered pattern", "a {a} and {b} chessboard", "checkerboard of {a} and {b} squares",
)  # fmt: skip
POLKA = ("{a} polka dots on {b}", "{a} dots on a {b} background", "a pattern of {a} dots on {b}", "{b} with {a} dots")


def wishes() -> list[Pattern]:
    """Every pattern but dots, which the checker does not judge."""
    names = list(COLOURS)
    pairs = [(a, b) for a in names for b in names if a != b]
    return [Pattern(kind, pair) for kind in KINDS[:3] for pair in pairs]


def caption_of(pattern: Pattern, random: Random) -> str:
    first, second = (colour_word(colour, random) for colour in pattern.colours)
    kind, _, stripes = pattern.kind.partition(" ")
    # Stripes stand upright unless it is said how they run.
    way = "" if kind == "vertical" and random.random() < 0.4 else kind
    forms = STRIPES if stripes else CHECKS if kind == "checkerboard" else POLKA
    caption = random.choice(forms).format(a=first, b=second, way=way)
    return " ".join(caption.replace("a orange", "an orange").rstrip(", ").split())


def _box(left: float, top: float, right: float, bottom: float) -> Outline:
    corners: Floats = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    return Outline(corners)


def _outlines(kind: str, width: int, height: int) -> list[Outline]:
    across, down = width / COUNT, height / COUNT
    if kind == "vertical stripes":
        return [_box(i * across, 0, (i + 1) * across, height) for i in range(0, COUNT, 2)]
    if kind == "horizontal stripes":
        return [_box(0, i * down, width, (i + 1) * down) for i in range(0, COUNT, 2)]
    if kind == "checkerboard":
        cells = [(x, y) for y in range(COUNT) for x in range(COUNT) if (x + y) % 2 == 0]
        return [_box(x * across, y * down, (x + 1) * across, (y + 1) * down) for x, y in cells]
    middles = [((x + 0.5) / DOTS * width, (y + 0.5) / DOTS * height) for y in range(DOTS) for x in range(DOTS)]
    return [SHAPES["circle"].placed(x, y, min(width, height) * 0.075) for x, y in middles]


def draw_wish(pattern: Pattern, caption: str, random: Random, size: tuple[int, int] = (256, 256)) -> Scene:
    ink, paper = (jitter(COLOURS[colour], random) for colour in pattern.colours)
    things = [Thing(outline, ink) for outline in _outlines(pattern.kind, *size)]
    return Scene(caption, *size, Backdrop(paper, paper), things)


def draw_pattern(random: Random, size: tuple[int, int]) -> Scene:
    first, second = random.sample(list(COLOURS), 2)
    pattern = Pattern(random.choice((*KINDS[:3], *KINDS[:3], "dots")), (first, second))
    if pattern.held_out:
        return draw_pattern(random, size)
    return draw_wish(pattern, opened(caption_of(pattern, random), random), random, size)
