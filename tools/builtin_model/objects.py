"""Shapes on a plain background: one, several alike, or two that differ; any size, any place."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from . import captions
from .captions import article, shaded
from .palette import COLOURS, Rgb, jitter
from .scenes import Backdrop, Scene, Thing
from .shapes import SHAPES
from .wishes import Item, Wish

# Radii in shares of the shorter side.
USUAL, LARGE, SMALL, SHARED = (0.28, 0.37), (0.40, 0.46), (0.14, 0.19), (0.16, 0.195)
NEAR, MIDDLE, FAR = 0.27, 0.5, 0.73
PLACES: dict[str, tuple[float, float]] = {
    "left": (NEAR, MIDDLE), "right": (FAR, MIDDLE), "top": (MIDDLE, NEAR), "bottom": (MIDDLE, FAR),
    "centre": (MIDDLE, MIDDLE), "top left": (NEAR, NEAR), "top right": (FAR, NEAR),
    "bottom left": (NEAR, FAR), "bottom right": (FAR, FAR),
}  # fmt: skip
# Where two to four objects stand. One arrangement for each number is soonest learned.
ROWS: dict[int, tuple[str, ...]] = {
    1: ("centre",),
    2: ("left", "right"),
    3: ("top", "bottom left", "bottom right"),
    4: ("top left", "top right", "bottom left", "bottom right"),
}

# How far each byte of a colour may be from its name's in a picture that the model hasn't drawn itself.
FOREIGN_SPREAD = 8
# A star is the hardest to learn, above all a small one: it is drawn three times as often.
SHAPE_SHARES = [3 if shape == "star" else 1 for shape in SHAPES]


@dataclass(frozen=True)
class Spot:
    """A middle, in shares of the sides, and a radius, in shares of the shorter one."""

    x: float
    y: float
    radius: float


def _spot(place: str, radii: tuple[float, float], random: Random) -> Spot:
    x, y = PLACES[place or "centre"]
    return Spot(random.gauss(x, 0.012), random.gauss(y, 0.012), random.uniform(*radii))


def _spot_of(item: Item, random: Random) -> Spot:
    if item.size:
        return _spot(item.place, {"small": SMALL, "large": LARGE}[item.size], random)
    return _spot(item.place, USUAL if item.place in ("", "centre") else (0.17, 0.25), random)


def spots(wish: Wish, random: Random) -> list[Spot]:
    """One spot for each item: its own place, or one in the arrangement of as many objects."""
    count = len(wish.items)
    if count == 1:
        return [_spot_of(wish.items[0], random)]
    radius = random.uniform(*SHARED)
    places = ("top", "bottom") if wish.stacked else ROWS[count]
    return [_spot(place, (radius * 0.95, radius * 1.05), random) for place in places]


def compose(
    caption: str, size: tuple[int, int], paper: Rgb, things: list[tuple[str, Rgb, Spot]], random: Random
) -> Scene:
    scene = Scene(caption, *size, Backdrop(paper, paper))
    for shape, ink, spot in things:
        radius = spot.radius * min(size)
        # An object that hangs over the edge would teach half shapes.
        x, y = (
            min(max(at * side, radius + 6), side - radius - 6) for at, side in zip((spot.x, spot.y), size, strict=True)
        )
        scene.things.append(Thing(SHAPES[shape].placed(x, y, radius, random.gauss(0, 2.5)), ink))
    return scene


def draw_wish(wish: Wish, caption: str, random: Random) -> Scene:
    """The plain drawing of a wish, to check the checker and to be edited."""
    paper = jitter(COLOURS[wish.background], random, FOREIGN_SPREAD)
    inks = [jitter(COLOURS[item.colour], random, FOREIGN_SPREAD) for item in wish.items]
    shapes = [item.shape for item in wish.items]
    return compose(caption, (256, 256), paper, [*zip(shapes, inks, spots(wish, random), strict=True)], random)


@dataclass(frozen=True)
class _Paper:
    """A background, and what a caption says of it."""

    name: str
    words: str
    colour: Rgb


def _paper(taken: set[str], random: Random) -> _Paper:
    if random.random() < 0.12:
        return _unsaid(taken, random)
    name = random.choice([colour for colour in COLOURS if colour not in taken])
    words, colour = shaded(name, random)
    return _Paper(name, words, colour)


def _unsaid(taken: set[str], random: Random) -> _Paper:
    """Mostly white."""
    name = random.choice([colour for colour in COLOURS if colour not in taken])
    if "white" not in taken and random.random() < 0.8:
        name = "white"
    return _Paper(name, "", COLOURS[name])


def _inked(colour: str, shape: str, random: Random) -> tuple[str, Rgb]:
    words, ink = shaded(colour, random)
    return f"{words} {captions.shape_word(shape, random)}", ink


def draw_one(random: Random, size: tuple[int, int], item: Item) -> Scene:
    paper = _paper({item.colour}, random)
    while Wish(paper.name, (item,)).held_out:
        paper = _paper({item.colour}, random)
    said, ink = _inked(item.colour, item.shape, random)
    if item.size:
        said = f"{random.choice(captions.SIZE_WORDS[item.size])} {said}"
    start = random.random()
    said = article(said) if start < 0.75 else said if start < 0.92 else f"{random.choice(captions.NUMBERS[1])} {said}"
    where = random.choice(captions.PLACE_WORDS[item.place]) if item.place else ""
    last = where and random.random() < 0.15
    caption = captions.on_background(said if last or not where else f"{said} {where}", paper.words, random)
    caption = f"{caption}, {where}" if last else caption
    return compose(
        caption, size, jitter(paper.colour, random), [(item.shape, jitter(ink, random), _spot_of(item, random))], random
    )


def _random_shape(random: Random) -> str:
    return random.choices(list(SHAPES), SHAPE_SHARES)[0]


def _random_item(random: Random, **more: str) -> Item:
    return Item(random.choice(list(COLOURS)), _random_shape(random), **more)


def draw_central(random: Random, size: tuple[int, int]) -> Scene:
    return draw_one(random, size, _random_item(random))


def draw_sized(random: Random, size: tuple[int, int]) -> Scene:
    return draw_one(random, size, _random_item(random, size=random.choice(("small", "large"))))


def draw_placed(random: Random, size: tuple[int, int]) -> Scene:
    places = list(PLACES)
    place = random.choice(places[:5] if random.random() < 0.7 else places[5:])
    return draw_one(random, size, _random_item(random, place=place, size="small" if random.random() < 0.25 else ""))


def draw_loose(random: Random, size: tuple[int, int]) -> Scene:
    """Unsaid and off centre: what an inpainting mask asks for."""
    item = _random_item(random)
    paper = _paper({item.colour}, random)
    said, ink = _inked(item.colour, item.shape, random)
    caption = captions.on_background(article(said), paper.words, random)
    spot = Spot(random.uniform(0.2, 0.8), random.uniform(0.2, 0.8), random.uniform(0.15, 0.28))
    return compose(caption, size, jitter(paper.colour, random), [(item.shape, jitter(ink, random), spot)], random)


def draw_alike(random: Random, size: tuple[int, int]) -> Scene:
    """Two to four of the same."""
    count = random.choice((2, 3, 3, 4, 4))
    item = _random_item(random)
    paper = _paper({item.colour}, random)
    wish = Wish(paper.name, (item,) * count)
    if wish.held_out:
        return draw_alike(random, size)
    words, ink = shaded(item.colour, random)
    said = captions.plural(f"{words} {captions.shape_word(item.shape, random)}")
    caption = captions.on_background(f"{random.choice(captions.NUMBERS[count])} {said}", paper.words, random)
    ink = jitter(ink, random)
    things = [(item.shape, ink, spot) for spot in spots(wish, random)]
    return compose(caption, size, jitter(paper.colour, random), things, random)


def draw_pair(random: Random, size: tuple[int, int]) -> Scene:
    """Two objects, each with a colour of its own, beside or above each other."""
    colours = random.sample(list(COLOURS), 2)
    items = tuple(Item(colour, _random_shape(random)) for colour in colours)
    paper = _paper(set(colours), random)
    wish = Wish(paper.name, items, stacked=random.random() < 0.4)
    if wish.held_out:
        return draw_pair(random, size)
    said = [_inked(item.colour, item.shape, random) for item in items]
    ends = ("top", "bottom") if wish.stacked else ("left", "right")
    names = {end: article(words) for end, (words, _) in zip(ends, said, strict=True)}
    relation = random.choice(captions.STACKED if wish.stacked else captions.BESIDE)
    caption = captions.on_background(relation.format(**names), paper.words, random)
    inks = [jitter(ink, random) for _, ink in said]
    things = [*zip((item.shape for item in items), inks, spots(wish, random), strict=True)]
    return compose(caption, size, jitter(paper.colour, random), things, random)


def draw_vague(random: Random, size: tuple[int, int]) -> Scene:
    """Captions that leave the colour or the shape open, so that either word alone means something."""
    item = _random_item(random)
    # "not on white" and the like need the background's words to stand alone, too.
    backdrop = _paper if random.random() < 0.4 else _unsaid
    paper = backdrop({item.colour}, random)
    while Wish(paper.name, (item,)).held_out:
        item = _random_item(random)
        paper = backdrop({item.colour}, random)
    colour, ink = shaded(item.colour, random)
    shape = captions.shape_word(item.shape, random)
    forms = (shape, article(shape), article(shape), colour, colour, f"something {colour}", f"{colour} shape")
    form = random.choice(forms)
    if backdrop is _paper:
        form = captions.on_background(form, paper.words, random)
    things = [(item.shape, jitter(ink, random), _spot_of(item, random))]
    return compose(form, size, jitter(paper.colour, random), things, random)


def draw_plain(random: Random, size: tuple[int, int]) -> Scene:
    """Nothing but a colour."""
    name, rgb = shaded(random.choice(list(COLOURS)), random)
    forms = ("a {} background", "plain {} background", "{} background", "an empty {} background", "solid {}")
    return compose(random.choice(forms).format(name), size, jitter(rgb, random), [], random)
