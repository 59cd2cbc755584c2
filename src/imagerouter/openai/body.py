"""The JSON body of ``/v1/images/generations``: OpenAI's parameters, then imagerouter's own.

The limits here are those that hold for every model and configuration; the descriptions are shown in the
OpenAPI document and in error messages ("`steps` must be an integer of at least 1").
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from imagerouter import types
from imagerouter.jobs import MaxPrice, Preferences, Sort

_Price = Annotated[float, Meta(ge=0, description="a number of at least 0, in US dollars")]
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


class Sorting(msgspec.Struct, frozen=True):
    """The long form of ``sort``."""

    by: Sort | None = None
    partition: Any = None


class PriceLimits(MaxPrice, frozen=True, kw_only=True):
    """The most that pictures may cost; what else OpenRouter has here is about text and sound."""

    image: _Price | None = None
    request: _Price | None = None
    prompt: Any = None
    completion: Any = None
    audio: Any = None


_Sort = Annotated[Sort | Sorting, Meta(description='one of "price", "latency", "throughput"')]


class ProviderPreferences(Preferences, frozen=True, kw_only=True):
    """OpenRouter's ``provider`` object, with the keys that it has for text models."""

    sort: _Sort | None = None  # type: ignore[assignment]
    max_price: Annotated[PriceLimits, Meta(description="an object `{image, request}` of US dollars")] | None = None
    preferred_max_latency: Any = None
    preferred_min_throughput: Any = None
    data_collection: Any = None
    quantizations: Any = None


class GenerationBody(msgspec.Struct, kw_only=True):
    """Absent and ``null`` mean the same everywhere."""

    prompt: Annotated[str, Meta(min_length=1, description="a text of at least one character")]
    model: _ModelName | None = None
    n: Annotated[int, Meta(ge=1, le=100, description="an integer from 1 to 100")] = 1
    size: (
        Annotated[str, Meta(description="`WIDTHxHEIGHT` in pixels, like `1024x1024`, a `resolution`, or `auto`")] | None
    ) = None
    quality: Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    output_format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None = None
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
        Annotated[tuple[str, ...], Meta(max_length=16, description="up to 16 pictures as base64, data URL or address")]
        | None
    ) = None
    mask: (
        Annotated[
            str, Meta(description="a picture as base64, data URL or address, or `image`: the first picture's own")
        ]
        | None
    ) = None
    mask_channel: Literal["alpha", "white"] | None = None
    metadata: Literal["strip", "embed"] | None = None
    width: Annotated[int, Meta(ge=16, description="an integer of at least 16, in pixels")] | None = None
    height: Annotated[int, Meta(ge=16, description="an integer of at least 16, in pixels")] | None = None
    aspect_ratio: Annotated[str, Meta(description="a ratio like `16:9`, or `auto`")] | None = None
    resolution: Annotated[str, Meta(description='one of "512", "768", "1K", "1.5K", "2K", "4K", or `auto`')] | None = (
        None
    )
    models: (
        Annotated[tuple[_ModelName, ...], Meta(max_length=16, description="a list of up to 16 model names")] | None
    ) = None
    provider: Annotated[ProviderPreferences, Meta(description="an object with routing preferences")] | None = None
    priority: Annotated[int, Meta(ge=-3, le=3, description="an integer from -3 to 3")] | None = None
    queue_timeout: Annotated[float, Meta(gt=0, description="a number of seconds, more than 0")] | None = None
    parity: Annotated[types.Parity, Meta(description='one of "off", "best_effort", "strict"')] | None = None
    strict: Annotated[bool, Meta(description="`true` or `false`")] = False
    stream_progress: Annotated[bool, Meta(description="`true` or `false`")] = False


FIELDS = frozenset(GenerationBody.__struct_fields__)

NESTED = {
    "provider": frozenset(ProviderPreferences.__struct_fields__),
    "provider.sort": frozenset(Sorting.__struct_fields__),
    "provider.max_price": frozenset(PriceLimits.__struct_fields__),
    "hires": frozenset(Hires.__struct_fields__),
    "loras": frozenset(Lora.__struct_fields__),
}
"""Fields that are objects, or lists of them, with the keys that these may have."""

KEYS = FIELDS | {f"{name}.{key}" for name, keys in NESTED.items() for key in keys}
"""Every key there is, for suggestions."""

IDLE = (
    "provider.sort.partition provider.max_price.prompt provider.max_price.completion provider.max_price.audio "
    "provider.preferred_max_latency provider.preferred_min_throughput provider.data_collection provider.quantizations"
).split()
"""Keys that OpenRouter knows and that have no effect here."""

INERT = frozenset(
    "user safety_identifier moderation complexity frame_count frame_duration_ms svg session_id trace".split()
)
"""Parameters of OpenAI's and OpenRouter's that say nothing about the picture here; accepted, and never a reason to
refuse."""


def _describe(struct: Any, prefix: str = "") -> dict[str, str]:
    words: dict[str, str] = {}
    for info in struct.fields:
        name = prefix + info.name
        for kind in _alternatives(info.type):
            if isinstance(kind, msgspec.inspect.LiteralType):
                words.setdefault(name, "one of " + ", ".join(f'"{value}"' for value in kind.values))
            elif isinstance(kind, msgspec.inspect.Metadata) and kind.extra_json_schema:
                words[name] = str(kind.extra_json_schema["description"])
            elif isinstance(kind, msgspec.inspect.StructType):
                words |= _describe(kind, f"{name}.")
    return words


def _alternatives(kind: Any) -> Iterator[Any]:
    """A type, and those that it is made of."""
    yield kind
    if isinstance(kind, msgspec.inspect.Metadata):
        yield from _alternatives(kind.type)
    elif isinstance(kind, msgspec.inspect.UnionType):
        for each in kind.types:
            yield from _alternatives(each)


VALID: dict[str, str] = _describe(msgspec.inspect.type_info(GenerationBody))
"""What each field takes, in the words of an error message; ``provider.sort`` is the field of a field."""
