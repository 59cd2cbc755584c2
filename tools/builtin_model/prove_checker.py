"""Is the checker to be trusted? It must pass real drawings, soft ones too, and fail every wrong one.

`python -m tools.builtin_model.prove_checker`
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from . import patterns
from .checker import PatternVerdict, Verdict, judge, judge_pattern
from .objects import PLACES, draw_wish
from .palette import COLOURS
from .patterns import KINDS
from .shapes import SHAPES
from .wishes import Item, Pattern, Wish, single_wishes

COUNT = 300
Case = Callable[[Wish, Random], bool]


def _drawing(wish: Wish, random: Random) -> Image.Image:
    return draw_wish(wish, "", random).smooth()


def _judged(wish: Wish, drawn: Wish, random: Random) -> Verdict:
    """What is said of a drawing of one wish where another was asked for."""
    return judge(np.asarray(_drawing(drawn, random)), wish)


def _other(name: str, names: Iterable[str], random: Random, but: Iterable[str] = ()) -> str:
    return random.choice([other for other in names if other != name and other not in but])


def _with(wish: Wish, index: int = 0, **changes: str) -> Wish:
    items = [replace(item, **changes) if at == index else item for at, item in enumerate(wish.items)]
    return replace(wish, items=tuple(items))


def _pair(wish: Wish, random: Random) -> Wish:
    """The wish with another object of another colour beside it or below it."""
    colour = _other(wish.items[0].colour, COLOURS, random, (wish.background,))
    other = Item(colour, _other(wish.items[0].shape, SHAPES, random))
    return replace(wish, items=(*wish.items, other), stacked=random.random() < 0.5)


def _several(wish: Wish, random: Random) -> Wish:
    return replace(wish, items=wish.items * random.choice((2, 3, 4)))


def _real(wish: Wish, random: Random) -> bool:
    return _judged(wish, wish, random).right


def _soft(wish: Wish, random: Random) -> bool:
    """Small objects have less to lose."""
    radius = 3 if len(wish.items) == 1 else 2
    return judge(np.asarray(_drawing(wish, random).filter(ImageFilter.GaussianBlur(radius))), wish).right


def _wrong_shape(wish: Wish, random: Random) -> bool:
    v = _judged(wish, _with(wish, shape=_other(wish.items[0].shape, SHAPES, random)), random)
    return v.background and v.colour and not v.shape


def _wrong_colour(wish: Wish, random: Random) -> bool:
    colour = _other(wish.items[0].colour, COLOURS, random, (wish.background,))
    v = _judged(wish, _with(wish, colour=colour), random)
    return v.background and not v.colour and v.shape


def _wrong_background(wish: Wish, random: Random) -> bool:
    other = _other(wish.background, COLOURS, random, (wish.items[0].colour,))
    v = _judged(wish, replace(wish, background=other), random)
    return not v.background and v.colour and v.shape


def _empty(wish: Wish, _random: Random) -> bool:
    v = judge(np.full((256, 256, 3), COLOURS[wish.background], np.uint8), wish)
    return v.background and not v.colour and not v.shape


def _framed(wish: Wish, random: Random) -> bool:
    picture = np.asarray(_drawing(wish, random)).copy()
    away = COLOURS[_other(wish.background, COLOURS, random)]
    for edge in (picture[:4], picture[-4:], picture[:, :4], picture[:, -4:]):
        edge[:] = away
    return not judge(picture, wish).right


def _halved(wish: Wish, random: Random) -> bool:
    picture = np.asarray(_drawing(wish, random)).copy()
    picture[128:] = picture[0, 0]
    # The upper half of a triangle is a triangle.
    return judge(picture, wish).shape == (wish.items[0].shape == "triangle")


def _doubled(wish: Wish, random: Random) -> bool:
    return not _judged(wish, replace(wish, items=wish.items * 2), random).shape


def _noise(wish: Wish, random: Random) -> bool:
    picture = np.random.default_rng(random.randrange(2**32)).integers(0, 256, (256, 256, 3), np.uint8)
    v = judge(picture, wish)
    return not v.background and not v.shape


def _two_tone(wish: Wish, random: Random) -> bool:
    """Half the object in a third colour: the outline is right, the colour is not the whole of it."""
    picture = np.asarray(_drawing(wish, random)).copy()
    third = COLOURS[_other(wish.items[0].colour, COLOURS, random, (wish.background,))]
    differs = (np.abs(picture.astype(int) - picture[0, 0]).sum(axis=-1) > 30) & (np.arange(256) < 140)[:, None]
    picture[differs] = third
    return not judge(picture, wish).right


def _real_place(wish: Wish, random: Random) -> bool:
    wish = _with(wish, place=random.choice(list(PLACES)), size=random.choice(("", "small")))
    return _judged(wish, wish, random).right


def _wrong_place(wish: Wish, random: Random) -> bool:
    place = random.choice(list(PLACES))
    v = _judged(_with(wish, place=place), _with(wish, place=_other(place, PLACES, random)), random)
    return not v.place and v.colour and v.shape


def _real_size(wish: Wish, random: Random) -> bool:
    wish = _with(wish, size=random.choice(("small", "large")))
    return _judged(wish, wish, random).right


def _wrong_size(wish: Wish, random: Random) -> bool:
    size = random.choice(("small", "large"))
    v = _judged(_with(wish, size=size), _with(wish, size=_other(size, ("small", "large", ""), random)), random)
    return not v.size and v.colour and v.shape


def _real_several(wish: Wish, random: Random) -> bool:
    return _real(_several(wish, random), random)


def _soft_several(wish: Wish, random: Random) -> bool:
    return _soft(_several(wish, random), random)


def _wrong_count(wish: Wish, random: Random) -> bool:
    asked = _several(wish, random)
    count = random.choice([n for n in (1, 2, 3, 4) if n != len(asked.items)])
    return not _judged(asked, replace(wish, items=wish.items * count), random).count


def _odd_one_out(wish: Wish, random: Random) -> bool:
    asked = _several(wish, random)
    colour = _other(wish.items[0].colour, COLOURS, random, (wish.background,))
    recoloured = _judged(asked, _with(asked, colour=colour), random)
    reshaped = _judged(asked, _with(asked, shape=_other(wish.items[0].shape, SHAPES, random)), random)
    return recoloured.count and not recoloured.colour and reshaped.count and not reshaped.shape


def _real_pair(wish: Wish, random: Random) -> bool:
    return _real(_pair(wish, random), random)


def _soft_pair(wish: Wish, random: Random) -> bool:
    return _soft(_pair(wish, random), random)


def _swapped_pair(wish: Wish, random: Random) -> bool:
    asked = _pair(wish, random)
    return not _judged(asked, replace(asked, items=asked.items[::-1]), random).right


def _exchanged_colours(wish: Wish, random: Random) -> bool:
    asked = _pair(wish, random)
    one, two = asked.items
    exchanged = (replace(one, colour=two.colour), replace(two, colour=one.colour))
    v = _judged(asked, replace(asked, items=exchanged), random)
    return v.count and v.shape and not v.colour


def _turned_pair(wish: Wish, random: Random) -> bool:
    """Above instead of beside."""
    asked = _pair(wish, random)
    return not _judged(asked, replace(asked, stacked=not asked.stacked), random).place


def _half_a_pair(wish: Wish, random: Random) -> bool:
    return not _judged(_pair(wish, random), wish, random).count


def _pattern_verdict(asked: Pattern, drawn: Pattern, random: Random, blur: float = 0) -> PatternVerdict:
    picture = patterns.draw_wish(drawn, "", random).smooth().filter(ImageFilter.GaussianBlur(blur))
    return judge_pattern(np.asarray(picture), asked)


def _pattern_of(wish: Wish, random: Random) -> Pattern:
    return Pattern(random.choice(KINDS[:3]), (wish.items[0].colour, wish.background))


def _real_pattern(wish: Wish, random: Random) -> bool:
    asked = _pattern_of(wish, random)
    return _pattern_verdict(asked, asked, random).right and _pattern_verdict(asked, asked, random, 2).right


def _wrong_pattern(wish: Wish, random: Random) -> bool:
    asked = _pattern_of(wish, random)
    return not _pattern_verdict(asked, replace(asked, kind=_other(asked.kind, KINDS, random)), random).kind


def _wrong_pattern_colour(wish: Wish, random: Random) -> bool:
    asked = _pattern_of(wish, random)
    colours = (_other(asked.colours[0], COLOURS, random, asked.colours), asked.colours[1])
    return not _pattern_verdict(asked, replace(asked, colours=colours), random).colour


def _no_pattern(wish: Wish, random: Random) -> bool:
    return not judge_pattern(np.asarray(_drawing(wish, random)), _pattern_of(wish, random)).right


CASES: dict[str, Case] = {
    "a real drawing is right": _real,
    "a blurred drawing is right": _soft,
    "another shape is caught": _wrong_shape,
    "another object colour is caught": _wrong_colour,
    "another background is caught": _wrong_background,
    "no object at all is caught": _empty,
    "a coloured frame is caught": _framed,
    "half a shape is caught": _halved,
    "two objects for one are caught": _doubled,
    "noise is caught": _noise,
    "an object of two colours is caught": _two_tone,
    "a real place is right": _real_place,
    "another place is caught": _wrong_place,
    "a real size is right": _real_size,
    "another size is caught": _wrong_size,
    "two to four real ones are right": _real_several,
    "two to four blurred ones are right": _soft_several,
    "another number is caught": _wrong_count,
    "one of several in another colour or shape is caught": _odd_one_out,
    "a real pair is right": _real_pair,
    "a blurred pair is right": _soft_pair,
    "a pair in the wrong order is caught": _swapped_pair,
    "a pair with exchanged colours is caught": _exchanged_colours,
    "above for beside is caught": _turned_pair,
    "one object for two is caught": _half_a_pair,
    "a real pattern, sharp and blurred, is right": _real_pattern,
    "another pattern is caught": _wrong_pattern,
    "a pattern in another colour is caught": _wrong_pattern_colour,
    "an object for a pattern is caught": _no_pattern,
}


def tried(title: str, count: int) -> int:
    """How many of so many drawings the checker treats as the title says."""
    asked = Random(0).sample(single_wishes(), count)
    return sum(CASES[title](wish, Random(f"{title}/{index}")) for index, wish in enumerate(asked))


def main() -> None:
    for title in CASES:
        print(f"{tried(title, COUNT)}/{COUNT}  {title}", flush=True)


if __name__ == "__main__":
    main()
