"""What a prompt asks for, in a form that the checker compares pictures with; and which wishes training never sees."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .palette import COLOURS
from .shapes import SHAPES

HELD_OUT_ONE_IN = 8


@dataclass(frozen=True)
class Item:
    """An object, how large it is and where."""

    colour: str
    shape: str
    size: str = ""
    """`small`, `large`, or nothing said."""
    place: str = ""
    """A key of `PLACES`, or nothing said."""


@dataclass(frozen=True)
class Wish:
    """Objects on a plain background, from left to right, or from top to bottom where two are stacked."""

    background: str
    items: tuple[Item, ...]
    stacked: bool = False

    @property
    def held_out(self) -> bool:
        """True for the one in eight combinations that training never shows, decided by names alone."""
        if len(self.items) == 1:
            item = self.items[0]
            return _held_out(item.colour, item.shape, self.background)
        kinds = [f"{item.colour} {item.shape}" for item in self.items]
        if len(set(kinds)) == 1:
            return _held_out(str(len(kinds)), kinds[0])
        return _held_out(*sorted(kinds))


@dataclass(frozen=True)
class Pattern:
    """Two colours that take turns over the whole picture."""

    kind: str
    """`vertical stripes`, `horizontal stripes`, `checkerboard` or `dots`."""
    colours: tuple[str, str]

    @property
    def held_out(self) -> bool:
        return _held_out(self.kind, *sorted(self.colours))


def _held_out(*names: str) -> bool:
    digest = hashlib.sha256("/".join(names).encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


def single_wishes() -> list[Wish]:
    """Every colour, shape and background; neither size nor place said."""
    return [
        Wish(background, (Item(colour, shape),))
        for colour in COLOURS
        for shape in SHAPES
        for background in COLOURS
        if colour != background
    ]
