"""What is proven about pictures of different backends being the same: features of requests, each with its tier.

All rows were measured between real servers (docs/parity.md has the figures and their versions). A backend that differs
says so in `imagerouter.provider.Reproducible.tiers`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imagerouter.types import Tier

MULTIPLE = 64
"""Pixels. With other sides, layers of odd size are enlarged in other ways: A1111 does it after a convolution."""


@dataclass(frozen=True, slots=True)
class Profile:
    """Models whose pictures can be compared at all."""

    version: int
    """Goes up when an adapter draws another picture than before: pictures of two versions aren't promised to agree."""
    tiers: Mapping[str, Tier]
    """Of the features that matter; a sampler or scheduler that isn't here has been compared by nobody."""


_SAMPLERS = {
    f"sampler.{name}": Tier.EXACT
    for name in (
        "euler euler_ancestral heun dpm_2 dpm_2_ancestral lms dpmpp_2s_ancestral dpmpp_2m dpmpp_sde dpmpp_2m_sde ddim"
    ).split()
}
_SCHEDULERS = {
    f"scheduler.{name}": Tier.EXACT for name in "karras exponential normal sgm_uniform simple ddim_uniform".split()
}
_OTHERS = {
    "odd_steps": Tier.CLOSE,
    "inpaint": Tier.CLOSE,
    "hires": Tier.CLOSE,
    "loras": Tier.CLOSE,
    "vae": Tier.CLOSE,
    "size": Tier.NONE,
    "syntax": Tier.NONE,
    "options": Tier.NONE,
    "fp16": Tier.CLOSE,
    "bf16": Tier.CLOSE,
    "dtype": Tier.CLOSE,
}

_PROVEN = {**_SAMPLERS, **_SCHEDULERS, **_OTHERS}

PROFILES: Mapping[str, Profile] = {"sd1": Profile(1, _PROVEN), "sdxl": Profile(1, _PROVEN)}
"""Of Stable Diffusion 1.x, and of SDXL."""

WHY: Mapping[str, tuple[str, str]] = {
    "odd_steps": ("steps", "an odd number of steps with scheduler `normal` falls between two timesteps"),
    "size": ("size", f"sides that are no multiples of {MULTIPLE} are rounded in other ways elsewhere"),
    "edit": ("images", "input pictures are encoded with other noise elsewhere"),
    "inpaint": ("mask", "masks are blended in other ways elsewhere"),
    "hires": ("hires", "pictures are enlarged in other ways elsewhere"),
    "loras": ("loras", "whether it is the same LoRA elsewhere is not known"),
    "vae": ("vae", "whether it is the same VAE elsewhere is not known"),
    "clip_skip": ("clip_skip", "layers are counted in other ways elsewhere"),
    "long_prompt": ("prompt", "long prompts are cut in other ways elsewhere"),
    "weights": ("prompt", "weights in prompts are computed in other ways elsewhere"),
    "syntax": ("prompt", "it means something on one backend only"),
    "options": ("provider.options", "settings of one backend have no equal elsewhere"),
    "cfg_below_1": ("cfg_scale", "a cfg_scale below 1 is another thing elsewhere"),
    "fp16": ("parity", "half precision rounds in other ways on other devices"),
    "bf16": ("parity", "half precision rounds in other ways on other devices"),
    "dtype": ("parity", "what precision it computes in is not known"),
}
"""Feature → the parameter that brings it, and why it isn't exact where it isn't."""


def why(feature: str) -> tuple[str, str]:
    """The parameter at fault, and the reason in words."""
    if feature in WHY:
        return WHY[feature]
    kind, _, name = feature.partition(".")
    if kind == "ignored":
        return name, f"`{name}` has no effect here"
    if kind in ("edit", "inpaint"):
        return "images", f"with `{name}` input pictures are drawn over in another way elsewhere"
    return kind, f"{kind} `{name}` draws another picture elsewhere, or nobody has compared it"
