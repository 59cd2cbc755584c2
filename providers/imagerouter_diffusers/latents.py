"""Latents: noise to start from and to add, pictures into latents, and back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image as Pillow

_DIGITS = 6


def draw_noise(shape: Sequence[int], generators: Sequence[Any]) -> Any:
    """One per generator, along the first axis.

    :param shape: of one, that is (1, channels, height, width).
    """
    import torch

    # Always in single precision and on the CPU, so that hosts of any kind start from the same noise.
    return torch.cat([torch.randn(tuple(shape), generator=generator) for generator in generators])


def generators(seeds: Sequence[int]) -> list[Any]:
    import torch

    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


class FreshNoise:
    """A draw for each step, as ComfyUI's ancestral samplers make it: from the seed after the picture's own."""

    def __init__(self, shape: Sequence[int], seeds: Sequence[int], device: Any) -> None:
        self._shape, self._device = shape, device
        self._generators = generators([seed + 1 for seed in seeds])

    def __call__(self, _now: Any, _after: Any) -> Any:
        return draw_noise(self._shape, self._generators).to(self._device)


class BrownianNoise:
    """What a Brownian motion, of which each seed has its own, does between two sigmas, brought to unit variance."""

    def __init__(self, shape: Sequence[int], seeds: Sequence[int], device: Any, sigmas: Any) -> None:
        import torch
        from torchsde import BrownianTree

        low, high = sigmas[sigmas > 0].min(), sigmas.max()
        still = torch.zeros(tuple(shape))
        self._device = device
        self._motions = [BrownianTree(low, still, high, entropy=seed) for seed in seeds]

    def __call__(self, now: Any, after: Any) -> Any:
        import torch

        # Ends of a motion are rounded like this; one that isn't may lie beyond them, which is warned of.
        start, end = (round(float(sigma), _DIGITS) for sigma in (after, now))
        moved = torch.cat([motion(start, end) for motion in self._motions])
        return (-moved / (now - after).sqrt()).to(self._device)


def encode(pipe: Any, pixels: Any) -> Any:
    """The mode of the encoder's distribution, in single precision; pipelines draw from it instead.

    :param pixels: (images, 3, height, width), -1 to 1.
    """
    vae = pipe.vae
    with _precise(vae):
        encoded = vae.encode(pixels.to(vae.device, vae.dtype))
    found = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
    return found.float() * vae.config.scaling_factor


def pixels_of(pipe: Any, picture: Pillow.Image) -> Any:
    """(1, 3, height, width), -1 to 1."""
    return pipe.image_processor.preprocess(picture)


def decode(pipe: Any, latents: Any) -> Any:
    """(images, 3, height, width), about -1 to 1."""
    vae = pipe.vae
    with _precise(vae):
        return vae.decode((latents / vae.config.scaling_factor).to(vae.dtype), return_dict=False)[0]


@contextmanager
def _precise(vae: Any) -> Iterator[None]:
    """Some VAEs overflow in half precision, and say so."""
    import torch

    own = vae.dtype
    if not (getattr(vae.config, "force_upcast", False) and own == torch.float16):
        yield
        return
    vae.to(torch.float32)
    try:
        yield
    finally:
        vae.to(own)
