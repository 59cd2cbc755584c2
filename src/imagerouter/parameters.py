"""The canonical parameters: their names, the aliases that other dialects use, and how limits are described.

A provider declares what it honours as ``{canonical name: Descriptor}``; the same descriptors are what clients
read in ``/v1/models`` as ``supported_parameters`` (OpenRouter's shape, with `string`, `object` and `image` added).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec


class Descriptor(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What values a parameter takes on one model."""

    type: Literal["range", "enum", "boolean", "string", "object", "image"]
    min: float | None = None
    max: float | None = None
    values: tuple[str, ...] | None = None
    default: Any = None

    def refusal(self, value: Any) -> str | None:
        """Why ``value`` doesn't fit, in words that end "must be …", or ``None`` if it does."""
        if self.type == "range" and isinstance(value, int | float) and not self._holds(value):
            return f"must be between {_number(self.min)} and {_number(self.max)}"
        if self.type == "enum" and self.values is not None and value not in self.values:
            return f"must be one of {', '.join(self.values) or '(none available)'}"
        return None

    def _holds(self, value: float) -> bool:
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:g}"


def between(minimum: float, maximum: float, default: float | None = None) -> Descriptor:
    return Descriptor(type="range", min=minimum, max=maximum, default=default)


def one_of(values: Iterable[str], default: str | None = None) -> Descriptor:
    return Descriptor(type="enum", values=tuple(values), default=default)


STRING = Descriptor(type="string")
OBJECT = Descriptor(type="object")
IMAGE = Descriptor(type="image")

DECLARABLE = frozenset(
    "negative_prompt steps cfg_scale guidance seed sampler scheduler strength clip_skip vae loras hires "
    "images mask width height background quality style partial_images".split()
)
"""Names that a provider may declare in `Model.parameters`; the core takes care of every other one itself."""

ALIASES: dict[str, tuple[str, ...]] = {
    "n": ("num_images", "num_images_per_prompt", "batch_size", "samples"),
    "negative_prompt": ("negative", "neg_prompt"),
    "steps": ("num_inference_steps", "num_steps", "sample_steps", "step"),
    "cfg_scale": ("guidance_scale", "cfg", "true_cfg_scale"),
    "guidance": ("distilled_guidance", "distilled_cfg_scale"),
    "seed": ("noise_seed",),
    "sampler": ("sampler_name", "sample_method", "sampling_method"),
    "scheduler": ("schedule_type",),
    "strength": ("denoising_strength", "denoise", "prompt_strength"),
    "clip_skip": ("clip_stop_at_last_layers",),
    "size": ("image_size",),
    "aspect_ratio": ("aspectRatio",),
    "loras": ("lora", "image_loras"),
    "images": tuple(
        "image image_url image_urls init_image init_images input_image input_images input_references "
        "reference_images ref_images".split()
    ),
    "mask": ("mask_image",),
    "output_format": ("response_extension",),
    "output_compression": ("output_quality",),
}
"""Canonical name → other names it is accepted under. Two of them with different values are an error."""

CANONICAL_OF: dict[str, str] = {alias: name for name, aliases in ALIASES.items() for alias in aliases}
