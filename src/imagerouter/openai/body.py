"""The JSON body of ``/v1/images/generations``: OpenAI's parameters, then imagerouter's own.

The limits here are those that hold for every model and configuration; the descriptions are shown in the
OpenAPI document and in error messages ("`steps` must be an integer of at least 1").
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from imagerouter import types
from imagerouter.jobs import Preferences

_ModelName = Annotated[str, Meta(min_length=1, max_length=512, description="the name of a model from `/v1/models`")]


class Lora(types.Lora, frozen=True):
    """A LoRA to apply, by the name under which the provider lists it; weight 1.0 is full strength."""

    name: Annotated[str, Meta(min_length=1)]
    weight: Annotated[float, Meta(ge=-10, le=10)] = 1.0


class Hires(types.Hires, frozen=True):
    """A second pass at a larger size (A1111's "hires fix")."""

    scale: Annotated[float, Meta(ge=1, le=8)] = 2.0
    steps: Annotated[int, Meta(ge=1)] | None = None
    strength: Annotated[float, Meta(ge=0, le=1)] | None = None
    upscaler: str | None = None


class ProviderPreferences(Preferences, frozen=True, kw_only=True):
    """OpenRouter's ``provider`` object."""

    sort: Any = None
    max_price: Any = None
    preferred_max_latency: Any = None
    preferred_min_throughput: Any = None
    data_collection: Any = None
    quantizations: Any = None


class GenerationBody(msgspec.Struct, kw_only=True):
    """Absent and ``null`` mean the same everywhere."""

    prompt: Annotated[str, Meta(min_length=1, description="a text of at least one character")]
    model: _ModelName | None = None
    n: Annotated[int, Meta(ge=1, le=100, description="an integer of at least 1")] = 1
    size: Annotated[str, Meta(description="`WIDTHxHEIGHT` in pixels, like `1024x1024`, or `auto`")] | None = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    output_format: Literal["png", "jpeg", "jpg", "webp"] | None = None
    output_compression: Annotated[int, Meta(ge=0, le=100, description="an integer from 0 to 100")] | None = None
    response_format: Literal["b64_json", "url", "base64"] | None = None
    stream: Annotated[bool, Meta(description="`true` or `false`")] = False
    partial_images: Annotated[int, Meta(ge=0, le=3, description="an integer from 0 to 3")] = 0
    moderation: Literal["auto", "low"] | None = None
    style: Annotated[str, Meta(description="a text, like `vivid` or `natural`")] | None = None
    user: Annotated[str, Meta(description="a text")] | None = None
    safety_identifier: Annotated[str, Meta(description="a text")] | None = None

    negative_prompt: Annotated[str, Meta(description="a text")] | None = None
    steps: Annotated[int, Meta(ge=1, description="an integer of at least 1")] | None = None
    cfg_scale: Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")] | None = None
    guidance: Annotated[float, Meta(ge=0, le=100, description="a number from 0 to 100")] | None = None
    seed: Annotated[int, Meta(ge=-1, description="an integer from 0 to 4294967295, or -1 for a random one")] | None = (
        None
    )
    sampler: Annotated[str, Meta(description="the name of a sampler, like `dpmpp_2m` or `DPM++ 2M Karras`")] | None = (
        None
    )
    scheduler: Annotated[str, Meta(description="the name of a scheduler, like `karras`")] | None = None
    strength: Annotated[float, Meta(ge=0, le=1, description="a number from 0 to 1")] | None = None
    clip_skip: Annotated[int, Meta(ge=1, le=12, description="an integer from 1 to 12")] | None = None
    vae: Annotated[str, Meta(description="the name of a VAE")] | None = None
    loras: (
        Annotated[tuple[Lora, ...], Meta(max_length=16, description="a list of up to 16 `{name, weight}`")] | None
    ) = None
    hires: Annotated[Hires, Meta(description="an object `{scale, steps, strength, upscaler}`")] | None = None
    images: (
        Annotated[tuple[str, ...], Meta(max_length=16, description="up to 16 pictures as base64 or data URL")] | None
    ) = None
    mask: Annotated[str, Meta(description="a picture as base64 or data URL")] | None = None
    width: Annotated[int, Meta(ge=16, description="an integer of at least 16, in pixels")] | None = None
    height: Annotated[int, Meta(ge=16, description="an integer of at least 16, in pixels")] | None = None
    aspect_ratio: Annotated[str, Meta(description="a ratio like `16:9`, or `auto`")] | None = None
    models: (
        Annotated[tuple[_ModelName, ...], Meta(max_length=16, description="a list of up to 16 model names")] | None
    ) = None
    provider: Annotated[ProviderPreferences, Meta(description="an object with routing preferences")] | None = None
    strict: Annotated[bool, Meta(description="`true` or `false`")] = False
    stream_progress: Annotated[bool, Meta(description="`true` or `false`")] = False


FIELDS = frozenset(GenerationBody.__struct_fields__)

NESTED = {
    "provider": frozenset(ProviderPreferences.__struct_fields__),
    "hires": frozenset(Hires.__struct_fields__),
    "loras": frozenset(Lora.__struct_fields__),
}
"""Fields that are objects, or lists of them, with the keys that these may have."""

KEYS = FIELDS | {f"{name}.{key}" for name, keys in NESTED.items() for key in keys}
"""Every key there is, for suggestions."""

INERT = frozenset("user safety_identifier moderation complexity frame_count frame_duration_ms svg".split())
"""OpenAI parameters that say nothing about the picture here; accepted, and never a reason to refuse."""


def _describe() -> dict[str, str]:
    words = {}
    for info in msgspec.inspect.type_info(GenerationBody).fields:  # type: ignore[attr-defined]
        kinds = info.type.types if isinstance(info.type, msgspec.inspect.UnionType) else (info.type,)
        for kind in kinds:
            if isinstance(kind, msgspec.inspect.LiteralType):
                words[info.name] = "one of " + ", ".join(f'"{value}"' for value in kind.values)
            elif isinstance(kind, msgspec.inspect.Metadata):
                words[info.name] = str((kind.extra_json_schema or {}).get("description"))
    return words


VALID: dict[str, str] = _describe()
"""What each field takes, in the words of an error message."""
