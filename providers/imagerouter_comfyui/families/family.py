"""The model families that have a template, each as the facts that tell it from the others.

Loaders, latents and shifts are those of the workflows that ComfyUI itself comes with (package
``comfyui-workflow-templates``) and of the models' own cards.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from imagerouter.families import TRAITS, Name, Traits


@dataclass(frozen=True)
class Seeing:
    """A node that encodes prompt and pictures together."""

    node: str
    inputs: tuple[str, ...]
    """Where the pictures go."""
    reference_method: str | None = None
    """How the model tells several pictures apart, where that isn't its default."""


Patches = tuple[tuple[str, str, float], ...]
"""Nodes that take a model and give it back changed: node class, name and value of its one input."""


def shifted(node: str, shift: float) -> Patches:
    """With the noise schedule moved towards more noise, as it has to be at high resolutions."""
    return ((node, "shift", shift),)


@dataclass(frozen=True)
class Family:
    """How one family is loaded, sampled and fed with pictures."""

    traits: Traits
    profile: str = field(default="", kw_only=True)
    """Under which its checkpoints are comparable with other backends' (`imagerouter.Reproducible`); empty: none."""
    latent: str = "EmptySD3LatentImage"
    """Node class of the empty canvas."""
    patches: Patches = ()
    """What is put onto the model."""
    encoders: tuple[str, ...] = ()
    """Roles (keys of `roles.PATTERNS`) of the text encoders, for models that come without them."""
    encoder_type: str = ""
    """``type`` of ``CLIPLoader`` and ``DualCLIPLoader``."""
    vae: str = ""
    """Role of the VAE, for models that come without one."""
    has_controlnet: bool = False
    edits: Literal["noise", "reference", "prompt"] = "noise"
    """``noise``: an input picture is the start, and ``strength`` says how much of it stays. ``reference``: the model
    looks at the pictures while it draws a new one. ``prompt``: they are also part of the prompt, see ``sees``."""
    sees: Seeing | None = None
    inpaints: Literal["masked", "trained", "only"] = "masked"
    """``masked``: noise is kept out of the rest. ``trained``: the input has room for the mask and the masked picture.
    ``only``: that, and nothing else comes out well."""
    sigmas: Literal["model", "size"] = "model"
    """``model``: any scheduler. ``size``: Flux.2's own, which depends on the size."""

    @property
    def most_pictures(self) -> int:
        """How many input pictures one edit can have."""
        return {"noise": 1, "reference": 10, "prompt": len(self.sees.inputs) if self.sees else 0}[self.edits]


FAMILIES: dict[Name, Family] = {
    "sd15": Family(
        TRAITS["sd15"],
        "EmptyLatentImage",
        profile="sd1",
        encoders=("clip_l",),
        encoder_type="stable_diffusion",
        vae="sd-vae",
        has_controlnet=True,
    ),
    "sd2": Family(
        TRAITS["sd2"],
        "EmptyLatentImage",
        profile="sd2",
        encoder_type="stable_diffusion",
        has_controlnet=True,
    ),
    "sdxl": Family(
        TRAITS["sdxl"],
        "EmptyLatentImage",
        profile="sdxl",
        encoders=("clip_l", "clip_g"),
        encoder_type="sdxl",
        vae="sdxl-vae",
        has_controlnet=True,
    ),
    "sd3": Family(
        TRAITS["sd3"],
        patches=shifted("ModelSamplingSD3", 3.0),
        encoders=("clip_l", "clip_g", "t5xxl"),
        encoder_type="sd3",
        vae="sd3-vae",
        has_controlnet=True,
    ),
    "flux": Family(
        TRAITS["flux"],
        encoders=("clip_l", "t5xxl"),
        encoder_type="flux",
        vae="flux-vae",
        has_controlnet=True,
    ),
    "flux2": Family(
        TRAITS["flux2"],
        latent="EmptyFlux2LatentImage",
        encoders=("mistral-flux2",),
        encoder_type="flux2",
        vae="flux2-vae",
        edits="reference",
        sigmas="size",
    ),
    "qwen-image": Family(
        TRAITS["qwen-image"],
        patches=shifted("ModelSamplingAuraFlow", 3.1),
        encoders=("qwen2.5-vl-7b",),
        encoder_type="qwen_image",
        vae="qwen-image-vae",
        has_controlnet=True,
    ),
    "chroma": Family(
        TRAITS["chroma"],
        patches=shifted("ModelSamplingAuraFlow", 1.0),
        encoders=("t5xxl",),
        encoder_type="chroma",
        vae="flux-vae",
    ),
    "z-image": Family(
        TRAITS["z-image"],
        patches=shifted("ModelSamplingAuraFlow", 3.0),
        encoders=("qwen3-4b",),
        encoder_type="lumina2",
        vae="flux-vae",
    ),
    "hidream": Family(
        TRAITS["hidream"],
        patches=shifted("ModelSamplingSD3", 3.0),
        encoders=("clip_l-hidream", "clip_g-hidream", "t5xxl", "llama3.1-8b"),
        encoder_type="hidream",
        vae="flux-vae",
    ),
}
