"""From a file of the server, or an entry of the configuration, to a model that can be drawn; or why it can't be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagerouter import names
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.families import roles
from imagerouter_comfyui.families.detect import detect, native_size
from imagerouter_comfyui.families.family import Family
from imagerouter_comfyui.families.kit import Kit
from imagerouter_comfyui.families.loading import ENCODER_LOADERS
from imagerouter_comfyui.families.variants import variant
from imagerouter_comfyui.nodes import NodeClasses
from imagerouter_comfyui.parity import Host

Files = Mapping[str, Sequence[str]]
"""Folder of the server → names in it."""

ALWAYS = (
    "CLIPTextEncode KSampler VAEDecode VAEEncode SaveImage LoadImage LoadImageMask ImageScale ImageCrop "
    "ImageCompositeMasked MaskToImage ImageToMask VAELoader"
).split()
"""Node classes that the graphs of every family need."""


@dataclass(frozen=True)
class Stock:
    """What a server has, as far as one model is concerned."""

    files: Files
    metadata: Mapping[str, Any]
    """Of the model's own file."""
    classes: NodeClasses
    file_size: int = 0
    """Bytes of the model's own file; 0 where it isn't known."""
    host: Host = field(default_factory=Host)


class UnusableError(Exception):
    """Why a model can't be drawn, in words that go after its name and a colon."""


def make(name: str, file: str, entry: ComfyModel, stock: Stock) -> Kit:
    """What the model ``name`` is drawn with.

    :param file: as the server lists it, in ``checkpoints`` or in ``diffusion_models``.

    Raises `UnusableError`.
    """
    files = stock.files
    is_checkpoint = file in files.get("checkpoints", ()) and entry.diffusion_model is None
    family = _family(file, entry, stock.metadata, is_checkpoint=is_checkpoint)
    width, height = native_size(stock.metadata) or (family.traits.side, family.traits.side)
    kit = Kit(
        id=name,
        family=family,
        width=entry.width or width,
        height=entry.height or height,
        classes=stock.classes,
        checkpoint=file if is_checkpoint else None,
        diffusion_model=None if is_checkpoint else file,
        text_encoders=_encoders(entry, family, files, needed=not is_checkpoint),
        vae=_vae(entry, family, files, needed=not is_checkpoint),
        weight_dtype=entry.weight_dtype or "default",
        loras=tuple(files.get("loras", ())),
        vaes=tuple(files.get("vae", ())),
        controlnets=tuple(files.get("controlnet", ())),
        upscalers=tuple(files.get("upscale_models", ())),
        host=stock.host,
        # A name that a person chose may well stand for different files on different servers.
        file_size=stock.file_size if names.stem(name) == names.stem(file) else 0,
    )
    _check_classes(kit)
    return kit


def _family(file: str, entry: ComfyModel, metadata: Mapping[str, Any], *, is_checkpoint: bool) -> Family:
    if file.lower().endswith(".gguf"):
        raise UnusableError("GGUF needs nodes that aren't ComfyUI's own; give it a workflow")
    told = f"{names.stem(file)} {metadata.get('modelspec.architecture', '')}"
    if entry.family is not None:
        return variant(entry.family, told)
    found = detect(file, metadata, is_checkpoint=is_checkpoint)
    if found.family is None:
        raise UnusableError(found.reason)
    family = variant(found.family, told)
    if found.is_guess:
        return replace(family, traits=replace(family.traits, title="Stable Diffusion"))
    return family


def _encoders(entry: ComfyModel, family: Family, files: Files, *, needed: bool) -> tuple[str, ...]:
    here = files.get("text_encoders", ())
    if entry.text_encoders:
        if not 1 <= len(entry.text_encoders) <= len(ENCODER_LOADERS):
            raise UnusableError(f"no model has {len(entry.text_encoders)} text encoders")
        return tuple(_configured(wanted, here, "text encoder") for wanted in entry.text_encoders)
    if not needed:
        return ()
    if not family.encoders:
        raise UnusableError(f"{family.traits.title} without its own text encoder; set its `text_encoders` and `vae`")
    found = {role: roles.holder(role, here) for role in family.encoders}
    if missing := [roles.DESCRIPTIONS[role] for role, file in found.items() if file is None]:
        them, there = ("text encoder", "it is") if len(missing) == 1 else ("text encoders", "they are")
        raise UnusableError(f"needs the {them} {' and '.join(missing)}; if {there} there, set its `text_encoders`")
    return tuple(file for file in found.values() if file is not None)


def _vae(entry: ComfyModel, family: Family, files: Files, *, needed: bool) -> str | None:
    here = files.get("vae", ())
    if entry.vae is not None:
        return _configured(entry.vae, here, "VAE")
    if not needed:
        return None
    found = roles.holder(family.vae, here) if family.vae else None
    if found is None:
        what = roles.DESCRIPTIONS[family.vae] if family.vae else "a VAE"
        raise UnusableError(f"needs {what}; if it is there, set its `vae`")
    return found


def _configured(wanted: str, here: Sequence[str], kind: str) -> str:
    found = names.find(wanted, here)
    if found is None:
        raise UnusableError(f"the server has no {kind} `{wanted}`{names.close(wanted, here)}")
    return found


def _check_classes(kit: Kit) -> None:
    """An old server lacks the nodes of new families."""
    family, classes = kit.family, kit.classes
    loader = ENCODER_LOADERS.get(len(kit.text_encoders))
    needed = [*ALWAYS, family.latent, "CheckpointLoaderSimple" if kit.checkpoint else "UNETLoader"]
    needed += [loader] if loader else []
    needed += [node for node, _, _ in family.patches]
    needed += ["FluxGuidance"] if family.traits.usual.guidance is not None else []
    needed += ["ConditioningZeroOut"] if family.traits.usual.cfg_scale is None else []
    needed += ["ReferenceLatent", "ImageScaleToTotalPixels"] if family.edits == "reference" else []
    if family.sigmas == "size":
        needed += ["RandomNoise", "KSamplerSelect", "CFGGuider", "SamplerCustomAdvanced", "Flux2Scheduler"]
    needed += ["SetLatentNoiseMask"] if family.inpaints == "masked" else ["InpaintModelConditioning"]
    needed += [family.sees.node] if family.sees else []
    needed += ["FluxKontextMultiReferenceLatentMethod"] if family.sees and family.sees.reference_method else []
    if missing := next((name for name in needed if name not in classes), None):
        raise UnusableError(f"the server has no node `{missing}`; it is too old for {family.traits.title}")
    _check_option(kit, "UNETLoader", "weight_dtype", kit.weight_dtype if kit.diffusion_model else None)
    _check_option(kit, loader, "type", family.encoder_type if len(kit.text_encoders) in (1, 2) else None)


def _check_option(kit: Kit, class_type: str | None, name: str, value: str | None) -> None:
    if class_type is None or value is None:
        return
    options = kit.classes[class_type].inputs[name].options
    if options is not None and value not in options:
        raise UnusableError(f"the server's `{class_type}` has no {name} `{value}`{names.instead(value, options)}")
