"""Workflow files on a server: what they need of it, and what keeps them from being used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.providers.comfyui.bind_graphs import node, sampler, text_to_image
from tests.providers.comfyui.fake import FakeComfy

from imagerouter_comfyui.api import Api
from imagerouter_comfyui.bind import ADDABLE
from imagerouter_comfyui.config import ComfyConfig, ComfyModel
from imagerouter_comfyui.graph import WorkflowError
from imagerouter_comfyui.nodes import NodeClass
from imagerouter_comfyui.workflows import inspect, load


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(graph: Any) -> Path:
        path = tmp_path / "mine.json"
        path.write_text(json.dumps(graph), encoding="utf-8")
        return path

    return save


async def test_node_classes_are_asked_for_once_those_that_may_be_added_included(comfy: FakeComfy, saved: Any) -> None:
    api, known = Api("desk", ComfyConfig(base_url=comfy.url)), dict[str, NodeClass]()
    model = ComfyModel(workflow=str(saved(text_to_image())))
    for _ in range(2):
        await load(api, "mine", model, known)
    await api.aclose()
    asked = [request.path for request in comfy.requests if request.path.startswith("/object_info/")]
    needed = {node["class_type"] for node in text_to_image().values()} | {*ADDABLE}
    assert sorted(asked) == sorted(f"/object_info/{name}" for name in needed)


async def test_a_link_that_leads_nowhere_keeps_a_file_from_being_inspected(comfy: FakeComfy, saved: Any) -> None:
    api = Api("desk", ComfyConfig(base_url=comfy.url))
    with pytest.raises(WorkflowError, match=r"`3\.latent_image` \(KSampler\) is linked to node `55`") as caught:
        await inspect(api, saved(text_to_image() | {"3": sampler("55")}))
    await api.aclose()
    assert len(caught.value.problems) == 1


async def test_every_class_that_a_server_lacks_is_a_problem_and_clients_hear_of_one(
    comfy: FakeComfy, saved: Any
) -> None:
    api = Api("desk", ComfyConfig(base_url=comfy.url))
    graph = text_to_image()
    graph["8"] = node("Dekode0", samples=["3", 0])
    for number in range(30):
        graph["8"]["inputs"][f"extra{number}"] = [f"x{number}", 0]
        graph[f"x{number}"] = node(f"Unheard{number}")
    path = saved(graph)
    rows = [row.detail for row in await inspect(api, path) if row.parameter == "(problem)"]
    with pytest.raises(WorkflowError) as caught:
        await load(api, "mine", ComfyModel(workflow=str(path)), {})
    await api.aclose()
    assert sum("has no node class" in row for row in rows) == 31
    assert caught.value.problems == rows
    assert len(str(caught.value)) <= 300
    assert "\n" not in str(caught.value)
