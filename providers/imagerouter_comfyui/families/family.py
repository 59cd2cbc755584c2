"""The model families that have a template, each as the facts that tell it from the others.

Loaders, latents, shifts and starting values are those of the workflows that ComfyUI itself comes with (package
``comfyui-workflow-templates``) and of the models' own cards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagerouter_comfyui import config

Name = config.Family


@dataclass(frozen=True)
class Usual:
    """What is used where the client says nothing. ``None``: the family has no such thing, and it isn't declared."""

    steps: int
    cfg_scale: float | None
    guidance: float | None = None
    sampler: str = "euler"
    scheduler: str = "simple"


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

    title: str
    side: int
    """Native width and height in pixels."""
    usual: Usual
    multiple: int = 16
    """What sides of a canvas are divisible by."""
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
    has_clip_skip: bool = False
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


_SD = Usual(steps=25, cfg_scale=7.0, sampler="dpmpp_2m", scheduler="karras")

FAMILIES: dict[Name, Family] = {
    "sd15": Family(
        "Stable Diffusion 1.5",
        512,
        _SD,
        8,
        "EmptyLatentImage",
        encoders=("clip_l",),
        encoder_type="stable_diffusion",
        vae="sd-vae",
        has_clip_skip=True,
        has_controlnet=True,
    ),
    "sd2": Family(
        "Stable Diffusion 2",
        768,
        _SD,
        8,
        "EmptyLatentImage",
        encoder_type="stable_diffusion",
        has_clip_skip=True,
        has_controlnet=True,
    ),
    "sdxl": Family(
        "SDXL",
        1024,
        _SD,
        8,
        "EmptyLatentImage",
        encoders=("clip_l", "clip_g"),
        encoder_type="sdxl",
        vae="sdxl-vae",
        has_clip_skip=True,
        has_controlnet=True,
    ),
    "sd3": Family(
        "Stable Diffusion 3",
        1024,
        Usual(steps=28, cfg_scale=4.5, scheduler="sgm_uniform"),
        patches=shifted("ModelSamplingSD3", 3.0),
        encoders=("clip_l", "clip_g", "t5xxl"),
        encoder_type="sd3",
        vae="sd3-vae",
        has_controlnet=True,
    ),
    "flux": Family(
        "Flux.1",
        1024,
        Usual(steps=20, cfg_scale=None, guidance=3.5),
        encoders=("clip_l", "t5xxl"),
        encoder_type="flux",
        vae="flux-vae",
        has_controlnet=True,
    ),
    "flux2": Family(
        "Flux.2",
        1024,
        Usual(steps=20, cfg_scale=None, guidance=4.0),
        latent="EmptyFlux2LatentImage",
        encoders=("mistral-flux2",),
        encoder_type="flux2",
        vae="flux2-vae",
        edits="reference",
        sigmas="size",
    ),
    "qwen-image": Family(
        "Qwen-Image",
        1328,
        Usual(steps=20, cfg_scale=4.0),
        patches=shifted("ModelSamplingAuraFlow", 3.1),
        encoders=("qwen2.5-vl-7b",),
        encoder_type="qwen_image",
        vae="qwen-image-vae",
        has_controlnet=True,
    ),
    "chroma": Family(
        "Chroma",
        1024,
        Usual(steps=26, cfg_scale=3.5, scheduler="beta"),
        patches=shifted("ModelSamplingAuraFlow", 1.0),
        encoders=("t5xxl",),
        encoder_type="chroma",
        vae="flux-vae",
    ),
    "z-image": Family(
        "Z-Image",
        1024,
        Usual(steps=25, cfg_scale=4.0, sampler="res_multistep"),
        patches=shifted("ModelSamplingAuraFlow", 3.0),
        encoders=("qwen3-4b",),
        encoder_type="lumina2",
        vae="flux-vae",
    ),
    "hidream": Family(
        "HiDream-I1",
        1024,
        Usual(steps=50, cfg_scale=5.0, sampler="uni_pc"),
        patches=shifted("ModelSamplingSD3", 3.0),
        encoders=("clip_l-hidream", "clip_g-hidream", "t5xxl", "llama3.1-8b"),
        encoder_type="hidream",
        vae="flux-vae",
    ),
}
