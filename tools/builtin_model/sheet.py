"""A labelled sheet of what a saved pipeline draws: prompts, changes, repaints, settings and sizes.

`python -m tools.builtin_model.sheet providers/imagerouter_diffusers/builtin sheet.jpg --grid grid.jpg`
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from .artist import Artist, artist_of
from .questions import questions
from .samples import PROMPTS, Labelled, compose

TILE, COLUMNS, QUALITY = 144, 8, 88
GRID = (
    "a red circle on blue", "three yellow stars on black", "a small pink heart in the top left corner on cyan",
    "a green diamond to the left of an orange ring on white", "a large purple arrow on yellow", "red and white stripes",
    "a white ring above a blue square on grey", "a black and white checkerboard", "four orange crosses on brown",
    "sunset over the sea", "a red house and a tree on a meadow under a blue sky",
    "a boat on the sea at night with a moon",
)  # fmt: skip
GRID_COLUMNS = 6


def _objects(artist: Artist) -> list[Labelled]:
    asked = questions(16, 7, ("one object",))
    return [(question.prompt, artist.draw(question.prompt, question.seed)) for question in asked]


def _compositions(artist: Artist) -> list[Labelled]:
    return [(prompt, artist.draw(prompt, 5)) for prompt in PROMPTS[4:]]


def _edits(artist: Artist) -> list[Labelled]:
    start = artist.draw("a green square on white", 4)
    wish = "a red circle on white"
    changed = [(f"{wish}, strength {s}", artist.change(wish, start, s)) for s in (0.2, 0.4, 0.6, 0.8, 1.0)]
    mask = Image.new("L", start.size)
    ImageDraw.Draw(mask).rectangle((128, 0, 255, 255), fill=255)
    field = artist.draw("a green field under a blue sky", 5)
    sky = Image.new("L", start.size)
    ImageDraw.Draw(sky).rectangle((30, 20, 150, 120), fill=255)
    return [
        ("the picture to change: a green square", start),
        *changed,
        ("repaint the right half: a white background", artist.repaint("a white background", start, mask)),
        ("repaint a part of the sky: the sun", artist.repaint("the sun over a green field", field, sky)),
    ]


def _settings(artist: Artist) -> list[Labelled]:
    prompt = "a circle"
    rows: list[Labelled] = [(f"{prompt}, seed {seed}", artist.draw(prompt, seed)) for seed in (1, 2)]
    unwanted = ("white background", "red")
    rows += [(f"{prompt}, not: {no}", artist.draw(prompt, 1, negative_prompt=no)) for no in unwanted]
    star = "a pink star on brown"
    rows += [(f"{star}, {n} steps", artist.draw(star, 1, steps=n)) for n in (2, 5)]
    rows += [(f"{star}, cfg {g:g}", artist.draw(star, 1, cfg_scale=g)) for g in (1.0, 6.0)]
    shapes = ((320, 192), (192, 320), (288, 224), (224, 288))
    rows += [(f"{star}, {w}x{h}", artist.draw(star, 3, width=w, height=h)) for w, h in shapes]
    odd = ("something blue", "dark green square on light blue")
    return rows + [(words, artist.draw(words, 6)) for words in odd]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--grid", type=Path, help="a second, smaller sheet, for people in a hurry")
    options = parser.parse_args()
    with artist_of(options.model) as artist:
        if options.grid:
            tiles = [(prompt, artist.draw(prompt, 1)) for prompt in GRID]
            compose(tiles, TILE, GRID_COLUMNS).save(options.grid, quality=QUALITY)
        tiles = _objects(artist) + _compositions(artist) + _edits(artist) + _settings(artist)
    compose(tiles, TILE, COLUMNS).save(options.sheet, quality=QUALITY)


if __name__ == "__main__":
    main()
