"""The YAML keys: what is refused before any server is asked, and at which key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.providers.comfyui.bind_graphs import sampler, text_to_image

from imagerouter_comfyui import ComfyConfig, ComfyModel


def refusals(model: type[ComfyModel | ComfyConfig], **keys: Any) -> list[tuple[tuple[int | str, ...], str]]:
    with pytest.raises(ValidationError) as caught:
        model(**keys)
    return [(detail["loc"], detail["msg"].removeprefix("Value error, ")) for detail in caught.value.errors()]


def saved(tmp_path: Path, graph: Any) -> str:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return str(path)


def test_problems_with_a_workflow_are_told_at_the_keys_that_they_are_about(tmp_path: Path) -> None:
    path = saved(tmp_path, text_to_image())
    wrong = refusals(ComfyModel, workflow=path, bindings={"steps": "3.step", "cfg": "3.cfg"}, outputs=["99"])
    assert wrong == [
        (("outputs",), "`outputs`: there is no node `99`; did you mean `9`?"),
        (
            ("bindings",),
            "`bindings.steps`: node 3 (KSampler) has no input `step`; did you mean `steps`?; "
            "`bindings`: `cfg` is called `cfg_scale` here",
        ),
    ]
    nested = refusals(ComfyConfig, models={"mine": {"workflow": path, "outputs": ["99"]}})
    assert [at for at, _ in nested] == [("models", "mine", "outputs")]


def test_a_link_that_leads_nowhere_is_told_once(tmp_path: Path) -> None:
    path = saved(tmp_path, text_to_image() | {"3": sampler("55")})
    said = "`3.latent_image` (KSampler) is linked to node `55`, which isn't there"
    assert refusals(ComfyModel, workflow=path, bindings={"steps": "3.steps"}, outputs=["9"]) == [(("workflow",), said)]


def test_a_workflow_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, read, texts = saved(tmp_path, text_to_image()), Path.read_text, []
    monkeypatch.setattr(Path, "read_text", lambda *args, **keys: texts.append(args) or read(*args, **keys))
    ComfyModel(workflow=path, bindings={"steps": "3.steps"}, outputs=["9"])
    assert len(texts) == 1


def test_a_workflow_that_cannot_be_read_is_told_with_its_path(tmp_path: Path) -> None:
    missing = str(tmp_path / "none.json")
    assert refusals(ComfyModel, workflow=missing, bindings={"steps": "3.steps"}) == [
        (("workflow",), f"{missing}: no such file or directory")
    ]
