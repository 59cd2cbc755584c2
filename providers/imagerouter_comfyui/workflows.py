"""Workflow files → recipes, with what the server says about the node classes in them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from imagerouter import Binding
from imagerouter_comfyui import bind
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.bind import Workflow
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.convert import class_names, convert
from imagerouter_comfyui.graph import Graph, is_ui_format, read_file
from imagerouter_comfyui.inventory import learn
from imagerouter_comfyui.nodes import NodeClass


async def load(api: Api, name: str, spec: ComfyModel, known: dict[str, NodeClass]) -> Workflow:
    """Read, convert and bind one workflow. Raises `WorkflowError`.

    :param known: node classes that were asked for before; filled with those that weren't.
    """
    assert spec.workflow is not None
    graph = await _graph(api, Path(spec.workflow), known)
    return await asyncio.to_thread(bind.resolve, name, graph, known, spec)


async def inspect(api: Api, path: Path) -> list[Binding]:
    """What becomes of each parameter in a file, and what keeps it from being used. Raises `WorkflowError`."""
    known: dict[str, NodeClass] = {}
    graph = await _graph(api, path, known)
    workflow, problems = bind.inspect(path.stem, graph, known, ComfyModel.model_construct(workflow=str(path)))
    return [*bind.table(workflow), *(Binding(parameter="(problem)", detail=problem) for problem in problems)]


async def _graph(api: Api, path: Path, known: dict[str, NodeClass]) -> Graph:
    """A file's graph in API format, with what the server says about its nodes in ``known``."""
    data = await asyncio.to_thread(read_file, path)
    if not is_ui_format(data):
        await learn(api, {*(node["class_type"] for node in data.values()), *bind.ADDABLE}, known)
        return data
    await learn(api, {*class_names(data), *bind.ADDABLE}, known)
    return await asyncio.to_thread(convert, data, known)
