"""Workflow files → recipes, with what the server says about the node classes in them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from imagerouter import Binding
from imagerouter_comfyui import bind
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.bind import Workflow
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.convert import class_names, convert
from imagerouter_comfyui.graph import Graph, WorkflowError, is_ui_format, read
from imagerouter_comfyui.nodes import NodeClass, parse

HELPERS = (
    "ImageCrop",
    "LoraLoader",
    "LoraLoaderModelOnly",
    "CLIPSetLastLayer",
    "VAELoader",
)
"""Classes that a binding may add to a workflow."""
_AT_ONCE = 8


def read_file(path: Path) -> dict[str, Any]:
    """Raises `WorkflowError` with the reason."""
    try:
        return read(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkflowError((error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise WorkflowError("not UTF-8 text") from None


async def load(api: Api, name: str, spec: ComfyModel, known: dict[str, NodeClass]) -> Workflow:
    """Read, convert and bind one workflow. Raises `WorkflowError`.

    :param known: node classes that were asked for before; filled with those that weren't.
    """
    assert spec.workflow is not None
    return bind.resolve(name, await _graph(api, Path(spec.workflow), known), known, spec)


async def inspect(api: Api, path: Path) -> list[Binding]:
    """What becomes of each parameter in a file, and what keeps it from being used. Raises `WorkflowError`."""
    known: dict[str, NodeClass] = {}
    graph = await _graph(api, path, known)
    workflow, problems = bind.inspect(path.stem, graph, known, ComfyModel(workflow=str(path)))
    return [*bind.table(workflow), *(Binding(parameter="(problem)", detail=problem) for problem in problems)]


async def _graph(api: Api, path: Path, known: dict[str, NodeClass]) -> Graph:
    """A file's graph in API format, with what the server says about its nodes in ``known``."""
    data = await asyncio.to_thread(read_file, path)
    if not is_ui_format(data):
        await learn(api, {*(node["class_type"] for node in data.values()), *HELPERS}, known)
        return data
    await learn(api, {*class_names(data), *HELPERS}, known)
    return convert(data, known)


async def learn(api: Api, names: Iterable[str], known: dict[str, NodeClass]) -> None:
    """Ask for the node classes that aren't known yet; what the server doesn't have stays unknown."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(name: str) -> None:
        async with gate:
            found = (await api.object_info(name)).get(name)
        if isinstance(found, dict):
            known[name] = parse(name, found)

    await asyncio.gather(*(ask(name) for name in sorted(set(names) - known.keys())))
