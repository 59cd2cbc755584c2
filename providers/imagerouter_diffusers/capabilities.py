"""What each model can do: its operations and its parameters. The one declaration that clients get to see."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from imagerouter import IMAGE, OBJECT, STRING, Descriptor, Model, Operation, Reproducible, between, one_of
from imagerouter_diffusers import devices, previews, samplers
from imagerouter_diffusers.config import DiffusersConfig
from imagerouter_diffusers.discovery import BUILTIN, Library, Source, told_hash
from imagerouter_diffusers.traits import Traits

_CLIP = ("StableDiffusion", "LatentConsistency")
_OTHER_ENCODERS = ("StableDiffusion3",)
_COMMON = {"steps": 25, "cfg_scale": 7.0}
"""Defaults for families whose own are slower than today's samplers need."""
BUILTIN_DEFAULTS = {"steps": 20, "cfg_scale": 2.0}
BUILTIN_DESCRIPTION = (
    "A very small model that comes with imagerouter: coloured shapes, patterns and simple landscapes. "
    "It is here so that everything can be tried at once, not for its pictures."
)
BUILTIN_PREVIEW: previews.Map = (
    ((0.24, 0.24, 0.24), (0.21, 0.0, -0.21), (-0.07, 0.14, -0.07)),
    (0.591667, 0.536667, 0.521667),
)
DEFAULT_STRENGTH = 0.75
_SHORT = {"torch.float32": "fp32", "torch.float16": "fp16", "torch.bfloat16": "bf16"}


@dataclass(frozen=True)
class Signature:
    """What the pipeline classes of one model family take."""

    operations: frozenset[Operation]
    arguments: dict[str, Any]
    """Arguments of ``__call__`` with their defaults."""
    has_strength: bool
    has_loras: bool


@lru_cache(maxsize=256)
def signature(pipeline: str, channels: int, canonical: bool) -> Signature:
    """Read off the class and the Auto maps. A class that nobody knows can at least draw from text.

    :param canonical: as in `Traits`.
    """
    import diffusers

    cls = getattr(diffusers, pipeline, None) if pipeline else None
    editing = task_class(Operation.EDIT, pipeline)
    arguments = _defaults(cls) if cls is not None else {}
    return Signature(
        operations=_operations(pipeline, channels, canonical),
        arguments=arguments,
        has_strength=editing is not None and "strength" in _defaults(editing),
        has_loras=hasattr(cls, "load_lora_weights") and find_spec("peft") is not None,
    )


def _defaults(cls: Any) -> dict[str, Any]:
    return {name: value.default for name, value in inspect.signature(cls.__call__).parameters.items()}


def task_class(operation: Operation, pipeline: str) -> Any:
    """The class of the same family for another operation, or ``None``."""
    from diffusers.pipelines import auto_pipeline as auto

    maps = {
        Operation.GENERATE: auto.AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
        Operation.EDIT: auto.AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
        Operation.INPAINT: auto.AUTO_INPAINT_PIPELINES_MAPPING,
    }
    families = (name for table in maps.values() for name, cls in table.items() if cls.__name__ == pipeline)
    family = next(families, None)
    return maps[operation].get(family)


def is_offered(source: Source, traits: Traits) -> bool:
    """What is merely found must be known to draw pictures: a cache holds video, audio and parts, too."""
    if "Control" in traits.pipeline:
        # These need a picture that no parameter here stands for.
        return False
    if source.configured:
        return True
    return bool(traits.pipeline) and any(task_class(operation, traits.pipeline) is not None for operation in Operation)


def _operations(pipeline: str, channels: int, canonical: bool) -> frozenset[Operation]:
    known = frozenset(operation for operation in Operation if task_class(operation, pipeline) is not None)
    if not pipeline.startswith(_CLIP) or pipeline.startswith(_OTHER_ENCODERS):
        return known or frozenset({Operation.GENERATE})
    # The UNet of an inpainting checkpoint takes the mask too, and no other pipeline can feed it.
    if channels == 9:
        return frozenset({Operation.INPAINT})
    # Pipelines paint around masks with four channels only; where we draw, their number doesn't matter.
    return known if channels == 4 or canonical else known - {Operation.INPAINT}


def describe(source: Source, traits: Traits, library: Library, config: DiffusersConfig, device: str) -> Model:
    able = signature(traits.pipeline, traits.input_channels, traits.is_canonical)
    is_builtin = source.id == BUILTIN
    found = source.path.stat() if source.path is not None else None
    # A name that a person chose may well stand for different files on different machines.
    is_its_own = source.is_file and source.path is not None and source.id.rpartition("/")[2] == source.path.stem
    return Model(
        id=source.id,
        name=source.id.rpartition("/")[2] if source.id == source.repo else source.id,
        operations=able.operations,
        parameters=parameters(source, traits, able, library, config),
        width=traits.width,
        height=traits.height,
        size_multiple=traits.multiple,
        description=BUILTIN_DESCRIPTION if is_builtin else "",
        created=int(found.st_mtime) if found is not None else 0,
        sha256=told_hash(source.path) if source.path is not None and is_its_own else "",
        file_size=found.st_size if found is not None and is_its_own else 0,
        parity=Reproducible(profile=traits.family, dtype=_dtype(source, config, device)) if traits.family else None,
        is_demo=is_builtin,
    )


def _dtype(source: Source, config: DiffusersConfig, device: str) -> str:
    """What the network will compute in, by its usual short name."""
    return _SHORT[str(devices.dtype(source.dtype or config.dtype, device))]


def defaults(source: Source, traits: Traits, able: Signature) -> dict[str, Any]:
    """Values used where the client gives none."""
    if source.id == BUILTIN:
        return BUILTIN_DEFAULTS
    if traits.pipeline.startswith("StableDiffusion") and not traits.pipeline.startswith(_OTHER_ENCODERS):
        return _COMMON
    found = {"steps": able.arguments.get("num_inference_steps")}
    if "true_cfg_scale" in able.arguments:
        found["cfg_scale"] = able.arguments["true_cfg_scale"]
        found["guidance"] = able.arguments.get("guidance_scale")
    else:
        found["cfg_scale"] = able.arguments.get("guidance_scale")
    usable = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {"steps": 25, **usable}


def parameters(
    source: Source, traits: Traits, able: Signature, library: Library, config: DiffusersConfig
) -> dict[str, Descriptor]:
    """Canonical parameter → its limits, for those that have an effect on this model."""
    usual, choice = defaults(source, traits, able), samplers.default(traits)
    offered, schedules = samplers.available(traits), samplers.schedules(traits)
    takes = able.arguments.__contains__
    edits = bool(able.operations & {Operation.EDIT, Operation.INPAINT})
    is_clip = traits.pipeline.startswith(_CLIP) and not traits.pipeline.startswith(_OTHER_ENCODERS)
    has_guidance = takes("true_cfg_scale") and takes("guidance_scale")
    can_preview = config.previews and preview_map(source, traits) is not None
    unknown = not able.arguments
    table: list[tuple[str, bool, Descriptor]] = [
        ("negative_prompt", takes("negative_prompt"), STRING),
        ("steps", takes("num_inference_steps") or unknown, between(1, 200, usual["steps"])),
        (
            "cfg_scale",
            takes("guidance_scale") or takes("true_cfg_scale"),
            between(0, 30, usual.get("cfg_scale")),
        ),
        ("guidance", has_guidance, between(0, 30, usual.get("guidance"))),
        ("seed", True, between(0, 2**32 - 1)),
        ("sampler", bool(offered), one_of(offered, choice.sampler)),
        ("scheduler", bool(schedules), one_of(schedules, choice.scheduler)),
        ("strength", edits and able.has_strength, between(0, 1, DEFAULT_STRENGTH)),
        ("clip_skip", is_clip, between(1, 12, 1)),
        ("vae", bool(library.vaes) and is_clip, one_of(sorted(library.vaes))),
        ("loras", able.has_loras and bool(library.loras), OBJECT),
        ("images", edits, IMAGE),
        ("mask", Operation.INPAINT in able.operations, IMAGE),
        ("width", takes("width") or unknown, between(64, 4096, traits.width)),
        ("height", takes("height") or unknown, between(64, 4096, traits.height)),
        ("partial_images", can_preview, between(0, 3, 0)),
    ]
    return {name: descriptor for name, applies, descriptor in table if applies}


def preview_map(source: Source, traits: Traits) -> previews.Map | None:
    if source.id == BUILTIN:
        return BUILTIN_PREVIEW
    return previews.map_for(traits.pipeline)
