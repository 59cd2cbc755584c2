"""How things are said: articles, plurals, synonyms, the templates around an object, and openings."""

from __future__ import annotations

from random import Random

from .palette import COLOUR_SYNONYMS, COLOURS, Rgb, mix
from .shapes import SHAPE_SYNONYMS

BOTH_SAID = (
    "{obj} on {bg}", "{obj} on a {bg} background", "{obj}, {bg} background", "a {bg} background with {obj}",
    "{bg} background with {obj}", "{obj} on a plain {bg} background", "{obj} over a {bg} background",
    "{obj} in front of a {bg} background", "{obj} against a {bg} background", "{obj} {bg} background",
)  # fmt: skip
ONLY_OBJECT = ("{obj}", "{obj}", "{obj} on a plain background", "just {obj}")
OPENINGS = ("a picture of ", "an image of ", "a drawing of ", "an illustration of ", "a photo of ", "draw ")
SHADES: dict[str, tuple[Rgb, float]] = {
    "dark": ((0, 0, 0), 0.4), "light": ((255, 255, 255), 0.45), "pale": ((255, 255, 255), 0.5),
}  # fmt: skip
SIZE_WORDS: dict[str, tuple[str, ...]] = {
    "large": ("big", "large", "big", "large", "huge"),
    "small": ("small", "little", "small", "small", "tiny"),
}
PLACE_WORDS: dict[str, tuple[str, ...]] = {
    "left": ("on the left", "on the left side", "to the left", "at the left"),
    "right": ("on the right", "on the right side", "to the right", "at the right"),
    "top": ("at the top", "on top", "near the top", "at the top"),
    "bottom": ("at the bottom", "at the bottom", "near the bottom"),
    "centre": ("in the centre", "in the center", "in the middle", "centered"),
    "top left": ("in the top left corner", "at the top left", "in the upper left corner"),
    "top right": ("in the top right corner", "at the top right", "in the upper right corner"),
    "bottom left": ("in the bottom left corner", "at the bottom left", "in the lower left corner"),
    "bottom right": ("in the bottom right corner", "at the bottom right", "in the lower right corner"),
}
NUMBERS: dict[int, tuple[str, ...]] = {
    1: ("one", "1", "a single"),
    2: ("two", "2", "a pair of", "two"),
    3: ("three", "3", "three"),
    4: ("four", "4", "four"),
}
# Which of two objects is said first, and what stands between them.
BESIDE = (
    "{left} to the left of {right}", "{left} left of {right}", "{right} to the right of {left}",
    "{right} right of {left}", "{left} and {right}", "{left} next to {right}", "{left} beside {right}",
    "{left} and {right} side by side", "{left} on the left and {right} on the right",
    "{right} on the right and {left} on the left", "{left} on the left, {right} on the right", "{left} with {right}",
)  # fmt: skip
STACKED = (
    "{top} above {bottom}", "{bottom} below {top}", "{top} above {bottom}", "{bottom} under {top}",
    "{top} over {bottom}", "{bottom} beneath {top}", "{top} at the top and {bottom} at the bottom",
    "{top} on top of {bottom}",
)  # fmt: skip


def article(words: str) -> str:
    return ("an " if words[0] in "aeiou" else "a ") + words


def plural(words: str) -> str:
    return words + ("es" if words.endswith(("s", "x")) else "s")


def shape_word(shape: str, random: Random) -> str:
    return _word(shape, SHAPE_SYNONYMS, random)


def colour_word(colour: str, random: Random) -> str:
    return _word(colour, COLOUR_SYNONYMS, random)


def _word(name: str, synonyms: dict[str, tuple[str, ...]], random: Random) -> str:
    return random.choice(synonyms[name]) if name in synonyms and random.random() < 0.12 else name


def shaded(colour: str, random: Random) -> tuple[str, Rgb]:
    """A colour and its words, now and then "dark green" or "pale pink"."""
    rgb, word = COLOURS[colour], colour_word(colour, random)
    if word == colour and colour not in ("black", "white", "grey") and random.random() < 0.06:
        shade = random.choice(list(SHADES))
        return f"{shade} {word}", mix(rgb, *SHADES[shade])
    return word, rgb


def on_background(said: str, backdrop: str, random: Random) -> str:
    """A whole caption; `backdrop` is empty when nothing is said of it."""
    templates = BOTH_SAID if backdrop else ONLY_OBJECT
    # The plain forms are what most people type.
    template = templates[0] if random.random() < 0.3 else random.choice(templates)
    caption = template.format(obj=said, bg=backdrop).replace("a orange", "an orange").replace("a azure", "an azure")
    return opened(caption, random)


def opened(caption: str, random: Random) -> str:
    return random.choice(OPENINGS) + caption if random.random() < 0.06 else caption
