"""A saved pipeline, asked as any client asks: what is judged and looked at is what people get."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from imagerouter import Client


class Artist:
    """Draws in 20 steps with a `cfg_scale` of 2, unless it is told otherwise."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def draw(self, prompt: str, seed: int = 1, **more: Any) -> Image.Image:
        return self.client.generate(prompt, seed=seed, **{"steps": 20, "cfg_scale": 2.0, **more})[0].pil()

    def change(self, prompt: str, image: Image.Image, strength: float, seed: int = 2) -> Image.Image:
        return self.draw(prompt, seed, images=[image], strength=strength)

    def repaint(self, prompt: str, image: Image.Image, mask: Image.Image, seed: int = 3) -> Image.Image:
        """:param mask: white where to repaint."""
        return self.draw(prompt, seed, images=[image], mask=mask, mask_channel="white")


@contextmanager
def artist_of(folder: Path) -> Iterator[Artist]:
    model = {"source": str(folder.resolve()), "variant": "fp16"}
    provider = {"type": "diffusers", "builtin": False, "hub_cache": False, "models": {"model": model}}
    with Client({"providers": {"local": provider}}) as client:
        yield Artist(client)
