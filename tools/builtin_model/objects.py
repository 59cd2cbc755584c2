"""One shape on a plain background, with the many ways of saying so."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from .palette import COLOUR_SYNONYMS, COLOURS, Rgb, mix
from .scenes import Band, Scene, Thing
from .shapes import SHAPE_SYNONYMS, SHAPES

HELD_OUT_ONE_IN = 8
SIZES: dict[str, tuple[float, float]] = {
    "big": (0.40, 0.46), "large": (0.40, 0.46), "huge": (0.43, 0.48),
    "small": (0.15, 0.20), "little": (0.15, 0.20), "tiny": (0.11, 0.15),
}  # fmt: skip
PLACES: dict[str, tuple[float, float]] = {
    "on the left": (0.27, 0.5), "on the right": (0.73, 0.5),
    "at the top": (0.5, 0.27), "at the bottom": (0.5, 0.73),
    "in the top left corner": (0.25, 0.25), "in the top right corner": (0.75, 0.25),
    "in the bottom left corner": (0.25, 0.75), "in the bottom right corner": (0.75, 0.75),
}  # fmt: skip
SHADES: dict[str, tuple[Rgb, float]] = {
    "dark": ((0, 0, 0), 0.4), "light": ((255, 255, 255), 0.45), "pale": ((255, 255, 255), 0.5),
}  # fmt: skip
BOTH_SAID = (
    "{obj} on {bg}", "{obj} on a {bg} background", "{obj}, {bg} background", "a {bg} background with {obj}",
    "{bg} background with {obj}", "{obj} on a plain {bg} background", "{obj} over a {bg} background",
    "{obj} in front of a {bg} background", "{obj} against a {bg} background", "{obj} {bg} background",
)  # fmt: skip
ONLY_OBJECT = ("{obj}", "{obj}", "{obj} on a plain background", "just {obj}")
OPENINGS = ("a picture of ", "an image of ", "a drawing of ", "an illustration of ", "a photo of ", "draw ")


@dataclass(frozen=True)
class Wish:
    """What a prompt asks for; the checker compares pictures with it."""

    colour: str
    shape: str
    background: str


def held_out(wish: Wish) -> bool:
    """True for the one in eight combinations that training never shows, decided by name alone."""
    digest = hashlib.sha256(f"{wish.colour}/{wish.shape}/{wish.background}".encode()).digest()
    return digest[0] % HELD_OUT_ONE_IN == 0


def wishes() -> list[Wish]:
    return [
        Wish(colour, shape, background)
        for colour in COLOURS
        for shape in SHAPES
        for background in COLOURS
        if colour != background
    ]


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def jitter(colour: Rgb, random: Random, spread: int = 8) -> Rgb:
    red, green, blue = (min(255, max(0, value + random.randint(-spread, spread))) for value in colour)
    return red, green, blue


def _word(name: str, synonyms: dict[str, tuple[str, ...]], random: Random) -> str:
    return random.choice(synonyms[name]) if name in synonyms and random.random() < 0.12 else name


def _training_wish(random: Random) -> Wish:
    while True:
        colour, background = random.sample(list(COLOURS), 2)
        wish = Wish(colour, random.choice(list(SHAPES)), background)
        if not held_out(wish):
            return wish


def _shaded(colour: str, random: Random) -> tuple[str, Rgb]:
    """A colour and its words, now and then "dark green" or "pale pink"."""
    rgb, word = COLOURS[colour], _word(colour, COLOUR_SYNONYMS, random)
    if word == colour and colour not in ("black", "white", "grey") and random.random() < 0.06:
        shade = random.choice(list(SHADES))
        return f"{shade} {word}", mix(rgb, *SHADES[shade])
    return word, rgb


@dataclass(frozen=True)
class _Placing:
    before: str
    after: str
    radius: float
    x: float
    y: float


def _central(random: Random) -> _Placing:
    return _Placing("", "", random.uniform(0.28, 0.37), random.gauss(0.5, 0.012), random.gauss(0.5, 0.012))


def _placing(random: Random, ratio: float) -> _Placing:
    """Where and how big, in shares of the shorter side; mostly unsaid, so mostly central."""
    before, after, x, y = "", "", 0.5 + random.gauss(0, 0.012), 0.5 + random.gauss(0, 0.012)
    low, high = (0.27, 0.38) if random.random() < 0.85 else (0.15, 0.44)
    if random.random() < 0.15:
        before = random.choice(list(SIZES))
        low, high = SIZES[before]
    if not before and random.random() < 0.12:
        after = random.choice(list(PLACES))
        (x, y), high = PLACES[after], min(high, 0.25)
        low = min(low, 0.17)
    elif not before and random.random() < 0.12:
        # Unsaid and off centre: what an inpainting mask asks for.
        x, y, low, high = random.uniform(0.2, 0.8), random.uniform(0.2, 0.8), 0.14, 0.28
    return _Placing(before, after, random.uniform(low, high) * min(1.0, ratio), x, y)


def _words(wish: Wish, colour: str, backdrop: str, place: _Placing, random: Random) -> str:
    shape = _word(wish.shape, SHAPE_SYNONYMS, random)
    name = " ".join(part for part in (place.before, colour, shape) if part)
    said = article(name) if random.random() < 0.75 else name
    if place.after:
        said = f"{said} {place.after}"
    templates = BOTH_SAID if backdrop else ONLY_OBJECT
    # The plain forms are what most people type.
    template = templates[0] if random.random() < 0.3 else random.choice(templates)
    caption = template.format(obj=said, bg=backdrop).replace("a orange", "an orange")
    if random.random() < 0.08:
        caption = random.choice(OPENINGS) + caption
    return caption


def draw_object(random: Random, width: int, height: int, simple: bool = False) -> Scene:
    """Anything, anywhere, however said; or, when `simple`, much the same size in the middle."""
    wish = _training_wish(random)
    place = _central(random) if simple else _placing(random, max(width, height) / min(width, height) * 0.9)
    colour, ink = _shaded(wish.colour, random)
    backdrop, paper = _shaded(wish.background, random)
    silence = random.random()
    if silence < 0.08:
        backdrop = ""
        white = Wish(wish.colour, wish.shape, "white")
        if silence < 0.06 and wish.colour != "white" and not held_out(white):
            wish, paper = white, COLOURS["white"]
    elif silence < 0.11:
        colour = ""
    caption = _words(wish, colour, backdrop, place, random)
    return _compose(caption, wish.shape, jitter(ink, random), jitter(paper, random), place, (width, height), random)


def _compose(
    caption: str, shape: str, ink: Rgb, paper: Rgb, place: _Placing, size: tuple[int, int], random: Random
) -> Scene:
    width, height = size
    radius = place.radius * min(width, height)
    # An object that hangs over the edge would teach half shapes.
    x = min(max(place.x * width, radius + 6), width - radius - 6)
    y = min(max(place.y * height, radius + 6), height - radius - 6)
    outline = SHAPES[shape].placed(x, y, radius, random.gauss(0, 2.5))
    return Scene(caption, width, height, [Band(0, paper, paper)], [Thing(outline, ink)])


def draw_wish(wish: Wish, caption: str, random: Random, width: int = 256, height: int = 256) -> Scene:
    """The plain drawing of a wish, used to check the checker."""
    place = _central(random)
    ink, paper = jitter(COLOURS[wish.colour], random), jitter(COLOURS[wish.background], random)
    return _compose(caption, wish.shape, ink, paper, place, (width, height), random)


def draw_plain(random: Random, width: int, height: int) -> Scene:
    """Nothing but a colour."""
    name, rgb = _shaded(random.choice(list(COLOURS)), random)
    forms = (
        "a {} background",
        "plain {} background",
        "{} background",
        "{}",
        "an empty {} background",
        "solid {}",
    )
    paper = jitter(rgb, random)
    return Scene(random.choice(forms).format(name), width, height, [Band(0, paper, paper)])
