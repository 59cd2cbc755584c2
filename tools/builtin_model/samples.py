"""A small sheet of fixed prompts, drawn while training goes on: the quickest way to see what it has learned."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw
from transformers import CLIPTokenizer

from . import autoencoder, model

if TYPE_CHECKING:
    from .denoiser import Nets

PROMPTS = (
    "a red circle on blue", "a pink star on green", "a blue ring on yellow", "a circle", "a red arrow on white",
    "a small red heart in the top left corner on white", "a green square on the right on black",
    "a large purple diamond on yellow", "a yellow star at the bottom on a blue background",
    "a tiny black cross on pink",
    "two red circles on white", "three blue stars on yellow", "four green hearts on white", "3 purple rings on grey",
    "a red circle to the left of a blue square on white", "a yellow star above a green heart on black",
    "a white ring and an orange triangle on purple", "a blue diamond below a red cross on yellow",
    "red and white stripes", "a black and white checkerboard", "horizontal stripes in blue and yellow",
    "a house on a green field under a blue sky with a sun", "a boat on the sea at night with a moon",
    "a tree on snow under a grey sky", "sunset over the sea", "a red house and a tree on a meadow under a blue sky",
    "green hills under a blue sky with clouds", "the sun over the sea",
)  # fmt: skip
TILE, LINE, COLUMNS, STEPS, CFG, BATCH = 128, 34, 7, 15, 2.0, 14
Labelled = tuple[str, Image.Image]


def compose(tiles: list[Labelled], tile: int = TILE, columns: int = COLUMNS) -> Image.Image:
    """Pictures in rows, each above its words."""
    rows = -(-len(tiles) // columns)
    sheet = Image.new("RGB", (columns * tile, rows * (tile + LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (label, picture) in enumerate(tiles):
        x, y = index % columns * tile, index // columns * (tile + LINE)
        small = picture.copy()
        small.thumbnail((tile - 4, tile - 4), Image.Resampling.LANCZOS)
        sheet.paste(small, (x + (tile - small.width) // 2, y + 2))
        text = "\n".join(textwrap.wrap(label, tile // 6)[:3])
        pen.text((x + 3, y + tile - 1), text, fill="black", font_size=10, spacing=0)
    return sheet


def look(work: Path, nets: Nets, words: CLIPTokenizer, step: int, device: torch.device) -> None:
    """Writes `samples/STEP.png` into the working directory."""
    vae = autoencoder.build()
    trained = work / "decoder.pt"
    if trained.exists():
        vae.load_state_dict(torch.load(trained, map_location="cpu", weights_only=True)["vae"])
    pipeline = StableDiffusionPipeline(
        vae=vae, text_encoder=nets.text, tokenizer=words, unet=nets.unet, scheduler=model.build_scheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(device).set_progress_bar_config(disable=True)
    pictures: list[Image.Image] = []
    for start in range(0, len(PROMPTS), BATCH):
        prompts = list(PROMPTS[start : start + BATCH])
        generators = [torch.Generator().manual_seed(start + index) for index in range(len(prompts))]
        drawn = pipeline(prompts, num_inference_steps=STEPS, guidance_scale=CFG, generator=generators)
        pictures += drawn.images
    (work / "samples").mkdir(exist_ok=True)
    compose([*zip(PROMPTS, pictures, strict=True)]).save(work / "samples" / f"{step:06}.png")
