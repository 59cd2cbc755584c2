"""Is the checker to be trusted? It must pass real drawings, soft ones too, and fail every wrong one.

`python -m tools.builtin_model.prove_checker`
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from .checker import Verdict, judge
from .objects import Wish, draw_wish, wishes
from .palette import COLOURS
from .scenes import Picture
from .shapes import SHAPES

COUNT = 300
Tried = tuple[Picture, Callable[[Verdict], bool]]
Case = Callable[[Wish, Random], Tried]


def _drawing(wish: Wish, random: Random) -> Image.Image:
    return draw_wish(wish, "", random).smooth()


def _other(name: str, names: dict[str, object], random: Random, but: tuple[str, ...] = ()) -> str:
    return random.choice([other for other in names if other != name and other not in but])


def _real(wish: Wish, random: Random) -> Tried:
    return np.asarray(_drawing(wish, random)), lambda v: v.right


def _soft(wish: Wish, random: Random) -> Tried:
    return np.asarray(_drawing(wish, random).filter(ImageFilter.GaussianBlur(3))), lambda v: v.right


def _wrong_shape(wish: Wish, random: Random) -> Tried:
    drawn = Wish(wish.colour, _other(wish.shape, dict(SHAPES), random), wish.background)
    return np.asarray(_drawing(drawn, random)), lambda v: v.background and v.colour and not v.shape


def _wrong_colour(wish: Wish, random: Random) -> Tried:
    drawn = Wish(_other(wish.colour, dict(COLOURS), random, (wish.background,)), wish.shape, wish.background)
    return np.asarray(_drawing(drawn, random)), lambda v: v.background and not v.colour and v.shape


def _wrong_background(wish: Wish, random: Random) -> Tried:
    drawn = Wish(wish.colour, wish.shape, _other(wish.background, dict(COLOURS), random, (wish.colour,)))
    return np.asarray(_drawing(drawn, random)), lambda v: not v.background and v.colour and v.shape


def _empty(wish: Wish, _random: Random) -> Tried:
    picture = np.full((256, 256, 3), COLOURS[wish.background], np.uint8)
    return picture, lambda v: v.background and not v.colour and not v.shape


def _framed(wish: Wish, random: Random) -> Tried:
    picture = np.asarray(_drawing(wish, random)).copy()
    away = COLOURS[_other(wish.background, dict(COLOURS), random)]
    for edge in (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:]):
        edge[:] = away
    return picture, lambda v: not v.right


def _halved(wish: Wish, random: Random) -> Tried:
    picture = np.asarray(_drawing(wish, random)).copy()
    picture[128:] = picture[0, 0]
    # The upper half of a triangle is a triangle.
    return picture, lambda v: v.shape == (wish.shape == "triangle")


def _doubled(wish: Wish, random: Random) -> Tried:
    small = _drawing(wish, random).resize((128, 128))
    picture = np.asarray(Image.new("RGB", (256, 256), small.getpixel((0, 0)))).copy()
    picture[64:192, :128] = picture[64:192, 128:] = np.asarray(small)
    return picture, lambda v: not v.shape


def _noise(_wish: Wish, random: Random) -> Tried:
    picture = np.random.default_rng(random.randrange(2**32)).integers(0, 256, (256, 256, 3), np.uint8)
    return picture, lambda v: not v.background and not v.shape


def _two_tone(wish: Wish, random: Random) -> Tried:
    """Half the object in a third colour: the outline is right, the colour is not the whole of it."""
    picture = np.asarray(_drawing(wish, random)).copy()
    third = COLOURS[_other(wish.colour, dict(COLOURS), random, (wish.background,))]
    differs = (np.abs(picture.astype(int) - picture[0, 0]).sum(axis=-1) > 30) & (np.arange(256) < 140)[:, None]
    picture[differs] = third
    return picture, lambda v: not v.right


CASES: dict[str, Case] = {
    "a real drawing is right": _real,
    "a blurred drawing is right": _soft,
    "another shape is caught": _wrong_shape,
    "another object colour is caught": _wrong_colour,
    "another background is caught": _wrong_background,
    "no object at all is caught": _empty,
    "a coloured frame is caught": _framed,
    "half a shape is caught": _halved,
    "two objects are caught": _doubled,
    "noise is caught": _noise,
    "an object of two colours is caught": _two_tone,
}


def main() -> None:
    asked = Random(0).sample(wishes(), COUNT)
    for title, case in CASES.items():
        passed = 0
        for index, wish in enumerate(asked):
            picture, expected = case(wish, Random(f"{title}/{index}"))
            passed += expected(judge(picture, wish))
        print(f"{passed}/{COUNT}  {title}")


if __name__ == "__main__":
    main()
