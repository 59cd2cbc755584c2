"""What a server has: model files, and the node classes that the templates are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagerouter import ImageRouterError
from imagerouter_comfyui import nodes
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.config import ComfyConfig, ComfyModel
from imagerouter_comfyui.families import Template, kits, names
from imagerouter_comfyui.nodes import NodeClasses
from imagerouter_comfyui.recipe import Recipe

FOLDERS = (
    "checkpoints",
    "diffusion_models",
    "text_encoders",
    "vae",
    "loras",
    "controlnet",
    "upscale_models",
    "embeddings",
)
CLASSES = (
    *kits.ALWAYS,
    *"CheckpointLoaderSimple UNETLoader CLIPLoader DualCLIPLoader TripleCLIPLoader QuadrupleCLIPLoader".split(),
    *"LoraLoader LoraLoaderModelOnly CLIPSetLastLayer ControlNetLoader ControlNetApplyAdvanced".split(),
    *"EmptyLatentImage EmptySD3LatentImage EmptyFlux2LatentImage ModelSamplingSD3 ModelSamplingAuraFlow".split(),
    *"FluxGuidance ConditioningZeroOut ReferenceLatent ImageScaleToTotalPixels".split(),
    *"SetLatentNoiseMask InpaintModelConditioning LatentUpscale UpscaleModelLoader ImageUpscaleWithModel".split(),
    *"TextEncodeQwenImageEdit TextEncodeQwenImageEditPlus CFGNorm FluxKontextMultiReferenceLatentMethod".split(),
    *"RandomNoise KSamplerSelect CFGGuider SamplerCustomAdvanced Flux2Scheduler".split(),
)
"""Every node class that a template may use."""

_MODEL_FOLDERS = ("checkpoints", "diffusion_models")
_AT_ONCE = 6
"""Questions to a server at the same time; it answers them between two steps of its work."""


@dataclass(frozen=True)
class Inventory:
    """One look at a server."""

    classes: NodeClasses = field(repr=False)
    """Those of `CLASSES` that it has."""
    files: Mapping[str, tuple[str, ...]]
    """Folder → names of the files in it, as the server spells them."""
    metadata: Mapping[tuple[str, str], Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Folder and name of a model → ``__metadata__`` of the file; empty where it has none."""


async def look(api: Api, known: Inventory | None = None) -> Inventory:
    """Ask the server; what ``known`` says about node classes and file headers isn't asked again.

    Raises classes of `imagerouter.errors`.
    """
    door = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_folder(api, door, folder) for folder in FOLDERS))
    files = dict(zip(FOLDERS, found, strict=True))
    classes = known.classes if known is not None and known.classes else await _classes(api, door)
    return Inventory(classes, files, await _metadata(api, door, files, known.metadata if known is not None else {}))


async def _folder(api: Api, door: asyncio.Semaphore, folder: str) -> tuple[str, ...]:
    async with door:
        return tuple(sorted(await api.folder(folder), key=str.casefold))


async def _classes(api: Api, door: asyncio.Semaphore) -> NodeClasses:
    async def ask(name: str) -> dict[str, Any]:
        async with door:
            return await api.object_info(name)

    answers = await asyncio.gather(*(ask(name) for name in CLASSES))
    found = {name: answer.get(name) for name, answer in zip(CLASSES, answers, strict=True)}
    return {name: nodes.parse(name, raw) for name, raw in found.items() if isinstance(raw, dict)}


async def _metadata(
    api: Api,
    door: asyncio.Semaphore,
    files: Mapping[str, Iterable[str]],
    known: Mapping[tuple[str, str], Mapping[str, Any]],
) -> dict[tuple[str, str], Mapping[str, Any]]:
    async def ask(folder: str, name: str) -> Mapping[str, Any]:
        if (folder, name) in known:
            return known[folder, name]
        if not name.lower().endswith((".safetensors", ".sft")):
            return {}
        try:
            async with door:
                return await api.metadata(folder, name)
        except ImageRouterError:
            return {}  # the name will have to do

    keys = [(folder, name) for folder in _MODEL_FOLDERS for name in files[folder]]
    return dict(zip(keys, await asyncio.gather(*(ask(*key) for key in keys)), strict=True))


def recipes(inventory: Inventory, config: ComfyConfig) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Native id → recipe of everything that can be drawn, and why each other model can't be.

    Entries of ``models`` come under their own names, all else under the name of its file. Entries with a
    ``workflow`` aren't dealt with here.
    """
    found: dict[str, Recipe] = {}
    unusable: dict[str, str] = {}
    taken: set[str] = set()

    def add(name: str, entry: ComfyModel) -> None:
        try:
            folder, file = _file(name, entry, inventory)
            taken.add(file)
            stock = kits.Stock(inventory.files, inventory.metadata.get((folder, file), {}), inventory.classes)
            found[name] = Template(kits.make(name, file, entry, stock))
        except kits.UnusableError as error:
            unusable[name] = str(error)

    for name, entry in config.models.items():
        if entry.workflow is None:
            add(name, entry)
    for name, entry in _everything(inventory) if config.checkpoints else ():
        if name not in taken and name not in config.models:
            add(name, entry)
    return found, unusable


def _everything(inventory: Inventory) -> Iterator[tuple[str, ComfyModel]]:
    yield from ((file, ComfyModel(checkpoint=file)) for file in inventory.files.get("checkpoints", ()))
    yield from ((file, ComfyModel(diffusion_model=file)) for file in inventory.files.get("diffusion_models", ()))


def _file(name: str, entry: ComfyModel, inventory: Inventory) -> tuple[str, str]:
    """Folder and file of a model. An entry that names no file is about the one that it is called after."""
    wanted = entry.checkpoint or entry.diffusion_model or name
    folders: tuple[str, ...] = _MODEL_FOLDERS
    if entry.checkpoint or entry.diffusion_model:
        folders = ("checkpoints",) if entry.checkpoint else ("diffusion_models",)
    for folder in folders:
        if (file := names.find(wanted, inventory.files.get(folder, ()))) is not None:
            return folder, file
    here = [file for folder in folders for file in inventory.files.get(folder, ())]
    kind = " or ".join(folder.removesuffix("s").replace("_", " ") for folder in folders)
    raise kits.UnusableError(f"the server has no {kind} `{wanted}`{names.close(wanted, here)}")
