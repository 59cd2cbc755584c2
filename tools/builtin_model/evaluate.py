"""Asks for pictures that the model was never trained on and lets the checker judge the raw pixels.

`python -m tools.builtin_model.evaluate providers/imagerouter_diffusers/builtin` asks a saved pipeline,
`python -m tools.builtin_model.evaluate http://127.0.0.1:8000` a running server.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from .checker import PatternVerdict, Verdict, judge, judge_pattern
from .questions import CATEGORIES, Question, questions
from .wishes import Wish

BATCH = 8
MARKS = ("background", "count", "colour", "shape", "nearest", "place", "size", "kind", "right")
# Marks that say nothing in a category, because nothing of the kind was asked there.
UNASKED: dict[str, tuple[str, ...]] = {
    "one object": ("count", "place", "size"), "place": ("count", "size"), "size": ("count", "place"),
    "count": ("place", "size"), "two objects": ("size",),
}  # fmt: skip
Judged = Verdict | PatternVerdict


def interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval."""
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def draw(pipeline: Callable[..., Any], asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    for start in range(0, len(asked), BATCH):
        chunk = asked[start : start + BATCH]
        generators = [torch.Generator().manual_seed(question.seed) for question in chunk]
        prompts = [question.prompt for question in chunk]
        drawn = pipeline(prompts, num_inference_steps=steps, guidance_scale=cfg, generator=generators)
        pictures += drawn.images
    return pictures


def draw_on_server(url: str, asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    """The PNG files that a client gets, one request each."""
    pictures = []
    with httpx.Client(base_url=url, timeout=120) as client:
        for question in asked:
            body = {"model": "builtin", "prompt": question.prompt, "seed": question.seed}
            body |= {"steps": steps, "cfg_scale": cfg, "size": "256x256"}
            answer = client.post("/v1/images/generations", json=body).raise_for_status().json()
            pictures.append(Image.open(BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB"))
    return pictures


def draw_with_pipeline(folder: str, asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return draw(pipeline, asked, steps, cfg)


def verdict(picture: Image.Image, question: Question) -> Judged:
    pixels = np.asarray(picture)
    return judge(pixels, question.wish) if isinstance(question.wish, Wish) else judge_pattern(pixels, question.wish)


def share(kind: str, mark: str, hits: int, count: int) -> str:
    """How many were right in one way, as a line with the share and its interval."""
    low, high = interval(hits, count)
    return f"{kind:16} {mark:13} {hits:4}/{count} = {hits / count:6.1%}   {low:.1%}…{high:.1%}"


def report(asked: list[Question], verdicts: list[Judged]) -> None:
    """One line for each category and mark, and what the worst pictures show instead."""
    for category in dict.fromkeys(question.category for question in asked):
        rows = [(q, v) for q, v in zip(asked, verdicts, strict=True) if q.category == category]
        for mark in MARKS:
            if mark in UNASKED.get(category, ()) or not hasattr(rows[0][1], mark):
                continue
            title = "all of it" if mark == "right" else mark
            print(share(category, title, sum(getattr(v, mark) for _, v in rows), len(rows)))
        for question, wrong in [row for row in rows if not row[1].right][:8]:
            print(f"    {question.prompt} [{question.seed}]: {wrong.seen}")


def main() -> None:
    options = _options()
    asked = questions(options.count, options.seed, tuple(options.only or CATEGORIES))
    started = time.monotonic()
    source = draw_on_server if options.model.startswith("http") else draw_with_pipeline
    pictures = source(options.model, asked, options.steps, options.cfg)
    seconds = time.monotonic() - started
    verdicts = [verdict(picture, question) for picture, question in zip(pictures, asked, strict=True)]
    print(f"{len(asked)} prompts, {options.steps} steps, cfg {options.cfg}, {seconds:.0f} s")
    report(asked, verdicts)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for picture, judged, question in zip(pictures, verdicts, asked, strict=True):
            name = f"{question.category} {'right' if judged.right else 'wrong'} {question.prompt} {question.seed}.png"
            picture.save(options.keep / name)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a pipeline's folder, or the address of a server")
    parser.add_argument("--count", type=int, default=80, help="prompts in each category")
    parser.add_argument("--only", nargs="*", choices=tuple(CATEGORIES), help="these categories, not all")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for every picture, named by verdict")
    return parser.parse_args()


if __name__ == "__main__":
    main()
