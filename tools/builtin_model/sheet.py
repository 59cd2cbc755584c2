"""A labelled sheet of what a saved pipeline draws: prompts, changes, repaints, settings and sizes.

`python -m tools.builtin_model.sheet providers/imagerouter_diffusers/builtin sheet.png`
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting, AutoPipelineForText2Image
from PIL import Image, ImageDraw

from .questions import questions
from .samples import PROMPTS, Labelled, compose

TILE, COLUMNS = 144, 8


class Artist:
    """One set of weights behind the three stock pipelines."""

    def __init__(self, folder: Path, steps: int = 20, cfg: float = 2.0) -> None:
        self.text = AutoPipelineForText2Image.from_pretrained(folder, variant="fp16", dtype=torch.float32)
        self.edit = AutoPipelineForImage2Image.from_pipe(self.text)
        self.fill = AutoPipelineForInpainting.from_pipe(self.text)
        for pipeline in (self.text, self.edit, self.fill):
            pipeline.set_progress_bar_config(disable=True)
        self.steps, self.cfg = steps, cfg

    def draw(self, prompt: str, seed: int = 1, **more: object) -> Image.Image:
        return self._run(self.text, prompt, seed, more)

    def change(self, prompt: str, image: Image.Image, strength: float, seed: int = 2) -> Image.Image:
        # The pipeline runs only `strength` of the steps it is given.
        steps = max(1, round(self.steps / strength))
        more = {"image": image, "strength": strength, "num_inference_steps": steps}
        return self._run(self.edit, prompt, seed, more)

    def repaint(self, prompt: str, image: Image.Image, mask: Image.Image, seed: int = 3) -> Image.Image:
        more = {
            "image": image,
            "mask_image": mask,
            "strength": 1.0,
            "width": image.width,
            "height": image.height,
        }
        return self._run(self.fill, prompt, seed, more)

    def _run(self, pipeline: Callable[..., Any], prompt: str, seed: int, more: dict[str, object]) -> Image.Image:
        settings = {"num_inference_steps": self.steps, "guidance_scale": self.cfg, **more}
        generator = torch.Generator().manual_seed(seed)
        image: Image.Image = pipeline(prompt, generator=generator, **settings).images[0]
        return image


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
    rows += [(f"{star}, {n} steps", artist.draw(star, 1, num_inference_steps=n)) for n in (2, 5)]
    rows += [(f"{star}, cfg {g:g}", artist.draw(star, 1, guidance_scale=g)) for g in (1.0, 6.0)]
    shapes = ((320, 192), (192, 320), (288, 224), (224, 288))
    rows += [(f"{star}, {w}x{h}", artist.draw(star, 3, width=w, height=h)) for w, h in shapes]
    odd = ("something blue", "dark green square on light blue")
    return rows + [(words, artist.draw(words, 6)) for words in odd]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("sheet", type=Path)
    options = parser.parse_args()
    artist = Artist(options.model)
    tiles = _objects(artist) + _compositions(artist) + _edits(artist) + _settings(artist)
    # 256 colours are enough to look at, and halve the file.
    compose(tiles, TILE, COLUMNS).quantize(256).save(options.sheet, optimize=True)


if __name__ == "__main__":
    main()
