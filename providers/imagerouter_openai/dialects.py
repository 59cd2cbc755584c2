"""What servers understand beyond OpenAI's own parameters. OpenAI itself refuses every key that it doesn't know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from imagerouter import STRING, Descriptor, Operation, between, one_of
from imagerouter_openai.config import DialectName

SEEDS = between(0, 2**32 - 1)
MOST_IMAGES = 10
"""Images per request that OpenAI, and an imagerouter by default, draw at once."""
_GENERATE = frozenset({Operation.GENERATE})
_EDIT = frozenset({Operation.GENERATE, Operation.EDIT})


@dataclass(frozen=True)
class Parameter:
    """How a canonical parameter is written."""

    name: str
    """The server's own; a dot leads into an object."""
    limits: Descriptor = STRING
    spellings: Mapping[str, str] = field(default_factory=dict)
    """Values that the server calls otherwise."""


@dataclass(frozen=True)
class Dialect:
    """What one kind of server takes, beside ``model``, ``prompt``, ``n`` and ``size``."""

    name: DialectName
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    operations: frozenset[Operation] = _GENERATE
    batch: int = 1
    """Images of one request, where image ``i`` has the seed that is ``i`` higher, or where there are no seeds."""
    response_format: str | None = "b64_json"
    multiple: int = 8
    """What both sides of a picture are divisible by, unless the server takes care of that itself."""
    takes_anything: bool = False
    """Pictures of any size, in any format: it brings them into shape itself."""
    modes: tuple[str, ...] = ("RGB", "RGBA")
    """Of Pillow: what input pictures may be."""
    mask: Literal["alpha", "white"] = "alpha"
    """What a mask says with: transparent, or white, is drawn anew."""
    in_prompt: str | None = None
    """The tag inside of the prompt that holds the parameters, where the body can't."""
    streams_progress: bool = False


_DIFFUSERS = {
    "negative_prompt": Parameter("negative_prompt"),
    "steps": Parameter("num_inference_steps", between(1, 200)),
    "cfg_scale": Parameter("guidance_scale", between(0, 20)),
    "seed": Parameter("seed", SEEDS),
}

DIALECTS: dict[DialectName, Dialect] = {
    # https://platform.openai.com/docs/api-reference/images; what a model of theirs takes is in `models`.
    "openai": Dialect("openai", batch=MOST_IMAGES),
    # Its own `/v1/models` says what each model takes.
    "imagerouter": Dialect(
        "imagerouter", batch=MOST_IMAGES, response_format=None, takes_anything=True, streams_progress=True
    ),
    # vllm_omni/entrypoints/openai/protocol/images.py of 0.30.0, and `edit_images` in its api_server.py. One generator
    # draws all images of a request, so a seed is kept only by a single one.
    "vllm": Dialect("vllm", parameters=_DIFFUSERS, operations=_EDIT, multiple=16),
    # sglang/multimodal_gen/runtime/entrypoints/openai/protocol.py of 0.5.23, and `edits` in its image_api.py.
    "sglang": Dialect("sglang", parameters=_DIFFUSERS, operations=_EDIT, multiple=16),
    # core/http/endpoints/openai/image.go of 3.x.
    "localai": Dialect(
        "localai", parameters={"steps": Parameter("step", between(1, 150)), "seed": Parameter("seed", SEEDS)}
    ),
    # examples/server/routes_openai.cpp of stable-diffusion.cpp: its JSON may stand in the prompt.
    "sdcpp": Dialect(
        "sdcpp",
        parameters={
            "negative_prompt": Parameter("negative_prompt"),
            "steps": Parameter("sample_params.sample_steps", between(1, 150)),
            "cfg_scale": Parameter("sample_params.guidance.txt_cfg", between(0, 30)),
            "guidance": Parameter("sample_params.guidance.distilled_guidance", between(0, 30)),
            "seed": Parameter("seed", SEEDS),
            "strength": Parameter("strength", between(0, 1)),
        },
        operations=frozenset(Operation),
        multiple=64,
        modes=("RGB",),
        mask="white",
        in_prompt="sd_cpp_extra_args",
    ),
}

_OWNERS: dict[str, DialectName] = {
    "imagerouter": "imagerouter",
    "vllm": "vllm",
    "vllm-omni": "vllm",
    "sglang": "sglang",
    "local": "sdcpp",
}
"""``owned_by`` in the list of models → whose server it is; that of stable-diffusion.cpp has one model, see below."""
_SDCPP_MODEL = "sd-cpp-local"


def recognised(entries: Sequence[Mapping[str, Any]]) -> DialectName:
    """Whose server has such a list of models; ``openai`` if it can't be told."""
    owners = {entry.get("owned_by") for entry in entries}
    owner = owners.pop() if len(owners) == 1 else None
    found = _OWNERS.get(owner, "openai") if isinstance(owner, str) else "openai"
    if found == "imagerouter" and not all("targets" in entry for entry in entries):
        return "openai"
    if found == "sdcpp" and [entry.get("id") for entry in entries] != [_SDCPP_MODEL]:
        return "openai"
    return found


# OpenAI's own models


_QUALITIES = ("low", "medium", "high", "xhigh", "max")
_OF_DALL_E = {"standard": "medium", "hd": "high"}
"""What dall-e called a quality → what the models after it call it."""
_GPT_IMAGE = re.compile(r"(?:.*/)?(?:gpt-image-(?P<version>\d+)|chatgpt-image)")


@dataclass(frozen=True)
class GptImage:
    """A model of OpenAI's, wherever it is offered. Limits are those of its API reference of November 2026."""

    has_any_size: bool
    """Multiples of 16 instead of 1024x1024, 1536x1024 and 1024x1536."""

    @property
    def multiple(self) -> int:
        return 16 if self.has_any_size else 512

    @property
    def limits(self) -> dict[str, Descriptor]:
        """Of what isn't written under a name of its own."""
        side = between(16, 3840) if self.has_any_size else between(1024, 1536)
        return {"width": side, "height": side, "partial_images": between(0, 3, default=0)}

    @property
    def parameters(self) -> dict[str, Parameter]:
        return {
            "quality": Parameter("quality", one_of([*_QUALITIES, *_OF_DALL_E]), _OF_DALL_E),
            "background": Parameter("background", one_of(["transparent", "opaque"])),
        }


def gpt_image(model: str) -> GptImage | None:
    """What is known of a model by its name; ``None`` for all that aren't OpenAI's image models."""
    match = _GPT_IMAGE.match(model)
    return None if match is None else GptImage(has_any_size=int(match["version"] or 1) >= 2)
