"""What a server has: model files, and the node classes that the templates are made of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagerouter import Extras, ImageRouterError, names
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.config import ComfyConfig, ComfyModel
from imagerouter_comfyui.families import Template, kits
from imagerouter_comfyui.families.detect import HEADER_KEYS
from imagerouter_comfyui.nodes import NodeClass, NodeClasses, parse
from imagerouter_comfyui.parity import Host, host_of
from imagerouter_comfyui.recipe import Recipe

FOLDERS = (
    "checkpoints",
    "diffusion_models",
    "text_encoders",
    "vae",
    "loras",
    "controlnet",
    "upscale_models",
)
SENDER = "SaveImageWebsocket"
"""The node of ``transfer: websocket``. It is a custom node that ComfyUI comes with, and can be left out."""

CLASSES = (
    *kits.ALWAYS,
    *"CheckpointLoaderSimple UNETLoader CLIPLoader DualCLIPLoader TripleCLIPLoader QuadrupleCLIPLoader".split(),
    *"LoraLoader LoraLoaderModelOnly CLIPSetLastLayer ControlNetLoader ControlNetApplyAdvanced".split(),
    *"EmptyLatentImage EmptySD3LatentImage EmptyFlux2LatentImage ModelSamplingSD3 ModelSamplingAuraFlow".split(),
    *"FluxGuidance ConditioningZeroOut ReferenceLatent ImageScaleToTotalPixels".split(),
    *"SetLatentNoiseMask InpaintModelConditioning LatentUpscale UpscaleModelLoader ImageUpscaleWithModel".split(),
    *"TextEncodeQwenImageEdit TextEncodeQwenImageEditPlus CFGNorm FluxKontextMultiReferenceLatentMethod".split(),
    *"RandomNoise KSamplerSelect CFGGuider SamplerCustomAdvanced Flux2Scheduler".split(),
    SENDER,
)
"""Every node class that a template may use, and the one that sends pictures."""

_NO_SENDER = f"`transfer: websocket` needs the node `{SENDER}`, which the server doesn't have; use `transfer: view`"
_MODEL_FOLDERS = ("checkpoints", "diffusion_models")
_AT_ONCE = 6
"""Questions to a server at the same time; it answers them between two steps of its work."""

Headers = dict[tuple[str, str], Mapping[str, Any]]
"""Folder and name of a model → what its header says of `HEADER_KEYS`."""


@dataclass(frozen=True)
class Inventory:
    """One look at a server."""

    classes: NodeClasses = field(repr=False)
    """Those of `CLASSES` that it has."""
    files: Mapping[str, tuple[str, ...]]
    """Folder → names of the files in it, as the server spells them."""
    metadata: Headers = field(default_factory=dict, repr=False)
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)
    """Folder of models → name → bytes, where the server tells."""
    host: Host = field(default_factory=Host)

    def is_like(self, other: Inventory) -> bool:
        """Whether the same models come of it."""
        return (self.files, self.sizes) == (other.files, other.sizes)


async def look(api: Api, known: Inventory | None = None, headers: Headers | None = None) -> Inventory:
    """Ask the server; what ``known`` says about node classes and file headers isn't asked again.

    :param headers: filled with the headers of files as they come, so that a look that is cut short isn't in vain.

    Raises classes of `imagerouter.errors`.
    """
    headers = {} if headers is None else headers
    headers |= known.metadata if known is not None else {}
    door = asyncio.Semaphore(_AT_ONCE)
    found = await asyncio.gather(*(_folder(api, door, folder) for folder in FOLDERS))
    files = dict(zip(FOLDERS, found, strict=True))
    classes = known.classes if known is not None and known.classes else await learn(api, CLASSES, {})
    models = [(folder, name) for folder in _MODEL_FOLDERS for name in files[folder]]
    await asyncio.gather(*(_header(api, door, model, headers) for model in models if model not in headers))
    sizes = await asyncio.gather(*(_sizes(api, folder, known) for folder in _MODEL_FOLDERS))
    metadata = {model: headers[model] for model in models}
    host = known.host if known is not None else await _host(api)
    return Inventory(classes, files, metadata, dict(zip(_MODEL_FOLDERS, sizes, strict=True)), host)


async def _host(api: Api) -> Host:
    try:
        return host_of(await api.system_stats())
    except ImageRouterError:
        return Host()


async def _folder(api: Api, door: asyncio.Semaphore, folder: str) -> tuple[str, ...]:
    async with door:
        return tuple(sorted(await api.folder(folder), key=str.casefold))


async def _sizes(api: Api, folder: str, known: Inventory | None) -> Mapping[str, int]:
    """Asked anew each time, since a file may still be on its way there when it is first listed."""
    try:
        return await api.sizes(folder)
    except ImageRouterError:
        return known.sizes.get(folder, {}) if known is not None else {}


async def learn(api: Api, wanted: Iterable[str], known: dict[str, NodeClass]) -> dict[str, NodeClass]:
    """``known`` with the node classes that were missing there; what the server doesn't have stays missing."""
    door = asyncio.Semaphore(_AT_ONCE)

    async def ask(name: str) -> None:
        async with door:
            found = (await api.object_info(name)).get(name)
        if isinstance(found, dict):
            known[name] = parse(name, found)

    await asyncio.gather(*(ask(name) for name in sorted(set(wanted) - known.keys())))
    return known


async def _header(api: Api, door: asyncio.Semaphore, model: tuple[str, str], headers: Headers) -> None:
    folder, name = model
    found: Mapping[str, Any] = {}
    if name.lower().endswith((".safetensors", ".sft")):
        try:
            async with door:
                found = await api.metadata(folder, name)
        except ImageRouterError:
            pass  # the name will have to do
    headers[model] = {key: found[key] for key in HEADER_KEYS if key in found}


def extras(inventory: Inventory) -> Extras:
    """The files that can be named beside the models."""

    def listed(folder: str) -> tuple[str, ...]:
        return tuple(names.short(inventory.files.get(folder, ())))

    return Extras(loras=listed("loras"), upscalers=listed("upscale_models"), vaes=listed("vae"))


def recipes(inventory: Inventory, config: ComfyConfig) -> tuple[dict[str, Recipe], dict[str, str]]:
    """Native id → recipe of everything that can be drawn, and why each other model can't be.

    Entries of ``models`` come under their own names, all else under the name of its file. Entries with a
    ``workflow`` aren't dealt with here, unless nothing at all can be drawn.
    """
    if config.transfer == "websocket" and SENDER not in inventory.classes:
        offered = (name for name, _ in _everything(inventory)) if config.checkpoints else ()
        return {}, dict.fromkeys((*config.models, *offered), _NO_SENDER)
    found: dict[str, Recipe] = {}
    unusable: dict[str, str] = {}
    taken: set[str] = set()

    def add(name: str, entry: ComfyModel) -> None:
        try:
            folder, file = _file(name, entry, inventory)
            taken.add(file)
            size = inventory.sizes.get(folder, {}).get(file, 0)
            header = inventory.metadata.get((folder, file), {})
            stock = kits.Stock(inventory.files, header, inventory.classes, size, inventory.host)
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
