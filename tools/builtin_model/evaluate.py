"""Asks for pictures that the model was never trained on and lets the checker judge the raw pixels.

`python -m tools.builtin_model.evaluate providers/imagerouter_diffusers/builtin` asks a saved pipeline,
`python -m tools.builtin_model.evaluate http://127.0.0.1:8000` a running server.
"""

from __future__ import annotations

import argparse
import base64
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

import httpx
import numpy as np
import torch
from diffusers import AutoPipelineForText2Image
from PIL import Image

from .checker import Verdict, judge
from .objects import Wish, article, held_out, wishes

PHRASINGS = ("{obj} on {bg}", "{obj} on {bg_article} background", "{bare}, {bg} background")
BATCH = 8
Question = tuple[str, Wish, int]  # a prompt, what it asks for, a seed


def questions(count: int, seed: int) -> list[Question]:
    """Prompts, what they ask for, and a seed each; only combinations that training left out."""
    random = Random(seed)
    unseen = [wish for wish in wishes() if held_out(wish)]
    asked: list[Question] = []
    while len(asked) < count:
        random.shuffle(unseen)
        phrasing = PHRASINGS[len(asked) // len(unseen) % len(PHRASINGS)]
        for wish in unseen[: count - len(asked)]:
            bare = f"{wish.colour} {wish.shape}"
            prompt = phrasing.format(
                obj=article(bare), bare=bare, bg=wish.background, bg_article=article(wish.background)
            )
            asked.append((prompt, wish, random.randrange(2**32)))
    return asked


def interval(hits: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval."""
    z, share = 1.96, hits / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half


def draw(pipeline: Callable[..., Any], asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    pictures: list[Image.Image] = []
    for start in range(0, len(asked), BATCH):
        chunk = asked[start : start + BATCH]
        generators = [torch.Generator().manual_seed(seed) for _, _, seed in chunk]
        prompts = [prompt for prompt, _, _ in chunk]
        drawn = pipeline(prompts, num_inference_steps=steps, guidance_scale=cfg, generator=generators)
        pictures += drawn.images
    return pictures


def draw_on_server(url: str, asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    """The PNG files that a client gets, one request each."""
    pictures = []
    with httpx.Client(base_url=url, timeout=120) as client:
        for prompt, _, seed in asked:
            body = {"model": "builtin", "prompt": prompt, "seed": seed, "steps": steps, "cfg_scale": cfg}
            answer = client.post("/v1/images/generations", json=body).raise_for_status().json()
            pictures.append(Image.open(BytesIO(base64.b64decode(answer["data"][0]["b64_json"]))).convert("RGB"))
    return pictures


def draw_with_pipeline(folder: str, asked: list[Question], steps: int, cfg: float) -> list[Image.Image]:
    pipeline = AutoPipelineForText2Image.from_pretrained(folder, variant="fp16", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return draw(pipeline, asked, steps, cfg)


def report(asked: list[Question], verdicts: list[Verdict]) -> None:
    marks = {
        "background": [v.background for v in verdicts],
        "object colour": [v.colour for v in verdicts],
        "shape": [v.shape for v in verdicts],
        "all three": [v.right for v in verdicts],
        # What a person would call the shape; above, its outline must also be good.
        "nearest shape": [v.seen.shape == wish.shape for v, (_, wish, _) in zip(verdicts, asked, strict=True)],
        # A steadier hand than `WOBBLE` asks for, the same overlap for every shape.
        "overlap 0.85": [v.shape and v.overlap >= 0.85 for v in verdicts],
    }
    for name, hits in marks.items():
        low, high = interval(sum(hits), len(hits))
        share = f"{sum(hits):4}/{len(hits)} = {np.mean(hits):6.1%}"
        print(f"{name:14} {share}  95 % interval {low:.1%}…{high:.1%}")
    missed = Counter(
        f"{wish.shape} as {verdict.seen.shape or 'nothing'}"
        for (_, wish, _), verdict in zip(asked, verdicts, strict=True)
        if not verdict.shape
    )
    print("missed shapes:", dict(missed.most_common(12)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="a pipeline's folder, or the address of a server")
    parser.add_argument("--count", type=int, default=330)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--cfg", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a directory for every picture, named by verdict")
    options = parser.parse_args()
    asked = questions(options.count, options.seed)
    started = time.monotonic()
    source = draw_on_server if options.model.startswith("http") else draw_with_pipeline
    pictures = source(options.model, asked, options.steps, options.cfg)
    seconds = time.monotonic() - started
    verdicts = [judge(np.asarray(p), wish) for p, (_, wish, _) in zip(pictures, asked, strict=True)]
    print(f"{len(asked)} prompts, {options.steps} steps, cfg {options.cfg}, {seconds:.0f} s")
    report(asked, verdicts)
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        for picture, verdict, (prompt, _, seed) in zip(pictures, verdicts, asked, strict=True):
            picture.save(options.keep / f"{'right' if verdict.right else 'wrong'} {prompt} {seed}.png")


if __name__ == "__main__":
    main()
