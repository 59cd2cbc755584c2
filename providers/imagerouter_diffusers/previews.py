"""Previews: latents → a small picture through one linear map, which costs nothing next to a step."""

from __future__ import annotations

import math
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image as Pillow

from imagerouter import Image

Map = tuple[tuple[tuple[float, float, float], ...], tuple[float, float, float]]
"""One RGB triple per latent channel, and what is added; the result is 0 to 1."""

_SD1: Map = (
    ((0.149, 0.1035, 0.104), (0.0935, 0.143, 0.0865), (-0.079, 0.0945, 0.132), (-0.092, -0.1355, -0.2365)),
    (0.5, 0.5, 0.5),
)
_SDXL: Map = (
    (
        (60 / 255, 60 / 255, 60 / 255),
        (-60 / 255, -5 / 255, 10 / 255),
        (25 / 255, 15 / 255, -5 / 255),
        (-70 / 255, -50 / 255, -35 / 255),
    ),
    (150 / 255, 140 / 255, 130 / 255),
)
_SMALLEST_SIDE = 256


def map_for(pipeline: str, *, builtin: Map | None = None) -> Map | None:
    """The map for a pipeline class, or ``None`` where nobody knows one."""
    if builtin is not None:
        return builtin
    if pipeline.startswith("StableDiffusionXL"):
        return _SDXL
    if pipeline.startswith("StableDiffusion3"):
        return None
    return _SD1 if pipeline.startswith(("StableDiffusion", "LatentConsistency")) else None


def wanted_steps(steps: int, previews: int) -> frozenset[int]:
    """The steps (counted from 1) after which a preview is made, evenly spread, the last step left out.

    Rounded up: one that comes before its part of the run is done isn't sent.
    """
    return frozenset(-(-steps * (index + 1) // (previews + 1)) for index in range(previews)) - {0, steps}


def clean(scheduler: Any, output: Any, timestep: Any, sample: Any) -> Any:
    """The current guess at the finished latents; the running ones are mostly noise until late."""
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None:
        return sample - float(timestep) / scheduler.config.num_train_timesteps * output
    alpha = float(alphas[min(max(round(float(timestep)), 0), len(alphas) - 1)])
    signal, noise = math.sqrt(alpha), math.sqrt(1 - alpha)
    if float(scheduler.init_noise_sigma) > 2:
        # Such classes keep latents scaled up by their noise level.
        sample = sample * signal
    if scheduler.config.prediction_type == "v_prediction":
        return signal * sample - noise * output
    if scheduler.config.prediction_type == "sample":
        return output
    return (sample - noise * output) / max(signal, 1e-3)


def draw(latents: Any, mapping: Map) -> Image:
    """The first picture of a batch, as a small JPEG."""
    factors, bias = mapping
    values = latents[0, : len(factors)].detach().float().cpu().numpy()
    rgb = np.einsum("chw,cr->hwr", values, np.asarray(factors)) + np.asarray(bias)
    picture = Pillow.fromarray((np.clip(np.nan_to_num(rgb), 0, 1) * 255).astype(np.uint8))
    grow = max(1, _SMALLEST_SIDE // min(picture.size))
    picture = picture.resize((picture.width * grow, picture.height * grow), Pillow.Resampling.BICUBIC)
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return Image(data=buffer.getvalue())
