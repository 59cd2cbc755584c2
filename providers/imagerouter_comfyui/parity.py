"""Same seed, same picture: what is proven of ComfyUI's, whose way to draw is the canonical one.

It draws the noise to begin with on the processor, whatever it runs on (``comfy/sample.py``: ``prepare_noise``). The
noise that some samplers add at each step is the graphics card's own (``comfy/k_diffusion/sampling.py``:
``default_noise_sampler``), and nothing turns that off: nobody else can draw the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagerouter import Reproducible, Tier

_STEP_NOISE = (
    "ddpm dpm_2_ancestral dpm_2_ancestral_cfg_pp dpmpp_2s_ancestral dpmpp_2s_ancestral_cfg_pp er_sde euler_ancestral "
    "euler_ancestral_cfg_pp exp_heun_2_x0_sde lcm res_multistep_ancestral sa_solver seeds_2 seeds_3"
).split()
"""Samplers that take it from ``default_noise_sampler``; those called after SDE have a noise of their own."""
_FLAGS = (
    ("fp32", "--cpu --force-fp32 --fp32-unet".split()),
    ("bf16", "--bf16-unet".split()),
    ("fp16", "--fp16-unet --force-fp16".split()),
    ("", "--fp64-unet --fp8_e4m3fn-unet --fp8_e5m2-unet --fp8_e8m0fnu-unet".split()),
)
_OF_DEVICE = {"cpu": "fp32", "cuda": "fp16", "mps": "fp16"}
"""``comfy/model_management.py``: ``should_use_fp16``."""


@dataclass(frozen=True)
class Host:
    """What a server computes on, and in."""

    device: str = ""
    """PyTorch's name of its kind, such as ``cpu`` and ``cuda``; empty where it isn't known."""
    dtype: str = ""
    """Of the network: ``fp32``, ``fp16`` or ``bf16``; empty where it isn't known."""


def host_of(stats: Any) -> Host:
    """What ``/system_stats`` says about a server."""
    match stats:
        case {"system": {"argv": [*arguments]}, "devices": [{"type": str(device)}, *_]}:
            told = (dtype for dtype, flags in _FLAGS if any(flag in arguments for flag in flags))
            return Host(device, next(told, _OF_DEVICE.get(device, "")))
        case {"devices": [{"type": str(device)}, *_]}:
            return Host(device)
        case _:
            return Host()


def proven(profile: str, host: Host, *, vae: str | None) -> Reproducible | None:
    """Of a checkpoint with a template.

    :param profile: of its family; empty where nobody has compared its pictures.
    :param vae: a file that stands in for its own.
    """
    if not profile:
        return None
    tiers = {} if host.device == "cpu" else {f"sampler.{name}": Tier.NONE for name in _STEP_NOISE}
    return Reproducible(profile=profile, dtype=host.dtype, vae=vae or "", tiers=tiers)
