"""Trains the decoder: sharp edges and flat colours from an 8x8 thumbnail, right up to the border."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from . import autoencoder
from .families import draw_any

BATCH = 8
LEARNING_RATE = 1.5e-3


def batch(step: int, seed: int, size: int) -> Tensor:
    """Pictures in -1…1. Windows are cut out before encoding, so each has true borders."""
    random = Random(f"decoder/{seed}/{step}")
    pictures = []
    for _ in range(BATCH):
        picture = np.asarray(draw_any(random, 256, 256).smooth())
        top, left = random.randint(0, 256 - size), random.randint(0, 256 - size)
        pictures.append(picture[top : top + size, left : left + size])
    return autoencoder.stacked(pictures).float() / 127.5 - 1


def loss_of(painted: Tensor, wanted: Tensor) -> Tensor:
    """Plain distance, plus distance between neighbouring differences: the second keeps edges crisp."""
    error = painted - wanted
    slopes = error.diff(dim=2).abs().mean() + error.diff(dim=3).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + 0.5 * slopes


def train(work: Path, steps: int, seed: int, device: torch.device) -> AutoencoderTiny:
    """Runs from wherever the last run stopped to `steps`."""
    path = work / "decoder.pt"
    torch.manual_seed(seed)
    vae = autoencoder.build().to(device, memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    optimiser = torch.optim.AdamW(vae.decoder.parameters(), LEARNING_RATE, weight_decay=1e-4)
    done = 0
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        vae.load_state_dict(state["vae"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["step"]
    started = time.monotonic()
    for step in range(done, steps):
        # Small windows for most of the way: four times as many pictures in the same time.
        size = 256 if step % 8 == 7 else 128
        loss = _step(vae, batch(step, seed, size).to(device), optimiser, step / steps)
        if step % 50 == 49 or step + 1 == steps:
            seconds = time.monotonic() - started
            print(f"decoder {step + 1}/{steps} loss {loss:.4f} {seconds:.0f} s", flush=True)
            _save(path, vae, optimiser, step + 1)
    return vae


def _step(vae: AutoencoderTiny, wanted: Tensor, optimiser: torch.optim.Optimizer, progress: float) -> float:
    for group in optimiser.param_groups:
        group["lr"] = LEARNING_RATE * min(1.0, 0.02 + 1.4 * (1 - progress)) * min(1.0, 0.1 + progress * 50)
    with torch.no_grad():
        latents = vae.encode(wanted).latents
        # What the denoiser makes is never exact, so a little noise must still give flat colour.
        noise = torch.randn_like(latents) * torch.rand(len(latents), 1, 1, 1, device=latents.device) * 0.12
    loss = loss_of(vae.decode(latents + noise).sample, wanted)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(vae.decoder.parameters(), 1.0)
    optimiser.step()
    return loss.item()


def _save(path: Path, vae: AutoencoderTiny, optimiser: torch.optim.Optimizer, step: int) -> None:
    fresh = path.with_suffix(".new")
    torch.save({"vae": vae.state_dict(), "optimiser": optimiser.state_dict(), "step": step}, fresh)
    fresh.replace(path)
