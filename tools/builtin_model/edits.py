"""Does it do with a picture what people expect? Recolouring, repainting, and what a negative prompt takes away.

`python -m tools.builtin_model.edits providers/imagerouter_diffusers/builtin`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw

from . import masks
from .artist import Artist, artist_of
from .captions import article
from .checker import judge
from .evaluate import share
from .objects import draw_wish
from .palette import COLOURS, Floats, lab
from .shapes import SHAPES
from .wishes import Item, Wish, single_wishes

# What is repainted, from and to in pixels of both axes; and the side of the squares whose tones are compared.
AREA, SQUARE = (28, 228), 20
SEAM = 3.0  # how far tones may be apart across its edge, in CIE Lab: an eye begins to see 2.3, side by side
Trial = tuple[str, dict[str, bool]]
"""What came of it in a few words, and what of it is right."""


def _wishes(name: str, count: int) -> Iterator[tuple[Wish, Random]]:
    """Held-out single objects."""
    random = Random(name)
    for wish in random.sample([wish for wish in single_wishes() if wish.held_out], count):
        yield wish, random


def recolour(artist: Artist, count: int, strength: float) -> Iterator[Trial]:
    """Another colour of the object and nothing else changed, with a light touch."""
    for wish, random in _wishes("recolour", count):
        item = wish.items[0]
        colour = random.choice([name for name in COLOURS if name not in (item.colour, wish.background)])
        wanted = replace(wish, items=(replace(item, colour=colour),))
        prompt = f"{article(f'{colour} {item.shape}')} on {wish.background}"
        before = draw_wish(wish, "", random).smooth()
        after = judge(np.asarray(artist.change(prompt, before, strength, random.randrange(2**32))), wanted)
        marks = {"background": after.background, "colour": after.colour, "shape": after.shape}
        yield f"{item.colour} to {prompt}: {after.seen}", marks


def repaint(artist: Artist, count: int, *, own: bool) -> Iterator[Trial]:
    """An object painted over with its background leaves no trace, and no seam.

    :param own: in a picture that the model has drawn, rather than in one with tones that it wouldn't choose.
    """
    for wish, random in _wishes("repaint", count):
        item, seed = wish.items[0], random.randrange(2**32)
        said = f"{article(f'{item.colour} {item.shape}')} on {wish.background}"
        before = artist.draw(said, seed) if own else draw_wish(wish, "", random).smooth()
        mask = Image.new("L", before.size)
        ImageDraw.Draw(mask).rectangle((AREA[0], AREA[0], AREA[1] - 1, AREA[1] - 1), fill=255)
        after = artist.repaint(f"a {wish.background} background", before, mask, random.randrange(2**32))
        pixels = lab(np.asarray(after))
        step = _step(pixels)
        marks = {"nothing left": not masks.regions(pixels, masks.background(pixels)[0]), "no seam": step < SEAM}
        yield f"{said}: a step of {step:.1f}", marks


def _step(pixels: Floats) -> float:
    """The largest distance in CIE Lab between the mean tones of two squares that touch at the repainted area's edge."""
    start, stop = AREA
    count = (stop - start) // SQUARE
    largest = 0.0
    for turns in range(4):
        across = np.rot90(pixels, turns)[start - SQUARE : start + SQUARE, start:stop]
        outside, inside = across.reshape(2, SQUARE, count, SQUARE, 3).mean(axis=(1, 3))
        largest = max(largest, float(masks.distance(outside, inside).max()))
    return largest


def without(artist: Artist, count: int) -> Iterator[Trial]:
    """A colour that is not wanted makes room for another, and the shape stays."""
    random = Random("without")
    for index in range(count):
        shape, seed = list(SHAPES)[index % len(SHAPES)], random.randrange(2**32)
        prompt = article(shape)
        taken = _colour(artist.draw(prompt, seed))
        after = np.asarray(artist.draw(prompt, seed, negative_prompt=taken))
        colour = _colour(Image.fromarray(after))
        paper, _ = masks.background(lab(after))
        wish = Wish(masks.named(paper)[0], (Item(colour, shape),))
        verdict = judge(after, wish)
        marks = {"other colour": colour != taken, "shape": verdict.nearest, "background": verdict.background}
        yield f"{prompt}, not {taken}: {verdict.seen}", marks


def _colour(picture: Image.Image) -> str:
    pixels = lab(np.asarray(picture))
    _, ink = masks.inked(pixels, masks.background(pixels)[0])
    return masks.named(ink)[0]


TRIALS: dict[str, Callable[[Artist, int], Iterator[Trial]]] = {
    "recolour at 0.4": lambda artist, count: recolour(artist, count, 0.4),
    "recolour at 0.6": lambda artist, count: recolour(artist, count, 0.6),
    "repaint its own": lambda artist, count: repaint(artist, count, own=True),
    "repaint others": lambda artist, count: repaint(artist, count, own=False),
    "negative": without,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the pipeline's folder")
    parser.add_argument("--count", type=int, default=60, help="trials of each kind")
    options = parser.parse_args()
    with artist_of(options.model) as artist:
        for name, trials in TRIALS.items():
            told = list(trials(artist, options.count))
            for mark in (*told[0][1], "all of it"):
                print(share(name, mark, sum(marks.get(mark, all(marks.values())) for _, marks in told), len(told)))
            for said in [said for said, marks in told if not all(marks.values())][:8]:
                print(f"    {said}")


if __name__ == "__main__":
    main()
