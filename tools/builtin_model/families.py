"""Which kinds of picture there are, and how often each is drawn."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from . import objects
from .landscapes import draw_landscape
from .patterns import draw_pattern
from .scenes import Scene

Family = Callable[[Random, tuple[int, int]], Scene]
# Two objects are the hardest to learn, then counts and places: those are drawn most.
FAMILIES: dict[str, tuple[float, Family]] = {
    "one": (0.13, objects.draw_central),
    "sized": (0.10, objects.draw_sized),
    "placed": (0.18, objects.draw_placed),
    "loose": (0.02, objects.draw_loose),
    "vague": (0.08, objects.draw_vague),
    "alike": (0.12, objects.draw_alike),
    "pair": (0.16, objects.draw_pair),
    "pattern": (0.07, draw_pattern),
    "landscape": (0.12, draw_landscape),
    "plain": (0.04, objects.draw_plain),
}


def draw_any(random: Random, width: int, height: int, simple: bool = False) -> Scene:
    """Any kind; or, when `simple`, mostly one shape of the usual size in the middle."""
    if simple and random.random() < 0.8:
        return objects.draw_central(random, (width, height))
    draws = [draw for _, draw in FAMILIES.values()]
    draw = random.choices(draws, [share for share, _ in FAMILIES.values()])[0]
    return draw(random, (width, height))
