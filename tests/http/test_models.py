"""GET /v1/models and the health routes."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from imagerouter.fleet import fleet, member, watch
from imagerouter.provider import Model

sys.path.append(str(Path(__file__).parent))  # where `sized` is


async def test_the_sdk_lists_and_retrieves_models(running: Any) -> None:
    (listed,) = (await running.sdk.models.list()).data
    one = await running.sdk.models.retrieve("fake")
    assert listed.id == one.id == "fake"
    assert one.object == "model"
    assert isinstance(one.created, int)


async def test_supported_parameters_are_typed_as_openrouter_does(running: Any) -> None:
    parameters = (await running.http.get("/v1/models/fake")).json()["supported_parameters"]
    assert parameters["steps"] == {"type": "range", "min": 1, "max": 150, "default": 4}
    assert parameters["sampler"]["type"] == "enum"
    assert "dpmpp_2m" in parameters["sampler"]["values"]


async def test_a_name_with_slashes_can_be_retrieved_however_it_is_encoded(start: Any) -> None:
    running = await start(
        "providers: {fake: {type: 'imagerouter.testing:FakeProvider', models: ['org/sd xl.safetensors']}}"
    )
    assert (await running.sdk.models.retrieve("org/sd xl.safetensors")).id == "sd xl"
    assert (await running.http.get("/v1/models/org/sd%20xl.safetensors")).json()["id"] == "sd xl"
    assert (await running.http.get("/v1/models/fake/sd xl")).json()["id"] == "fake/sd xl"


async def test_one_file_on_two_providers_is_one_model_with_two_targets(start: Any) -> None:
    running = await start(
        "providers:\n  a: {type: 'imagerouter.testing:FakeProvider', models: ['sdxl.safetensors']}\n"
        "  b: {type: 'imagerouter.testing:FakeProvider', models: ['x/SDXL.safetensors [31e3]', other]}"
    )
    models = (await running.http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["sdxl", "other"]
    assert [target["provider"] for target in models[0]["targets"]] == ["a", "b"]


async def test_files_of_one_name_and_different_sizes_are_two_models(start: Any) -> None:
    running = await start(
        "providers:\n  a: {type: 'sized:Sized', models: [sdxl.safetensors], size: 6}\n"
        "  b: {type: 'sized:Sized', models: [SDXL.safetensors], size: 7}"
    )
    models = (await running.http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in models] == ["sdxl", "b/SDXL"]
    drawn = [(await running.draw(model=model["id"])).json()["imagerouter"]["provider"] for model in models]
    assert drawn == ["a", "b"]


async def test_a_model_that_a_provider_gains_or_loses_appears_and_disappears(start: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(member, "LIST_SECONDS", 0.0)
    monkeypatch.setattr(watch, "WATCH_SECONDS", 0.01)
    running = await start()
    for names in (["old", "new"], ["new"]):
        found = [Model(id=name) for name in names]
        monkeypatch.setattr(running.fake(), "models", lambda found=found: asyncio.sleep(0, found))
        while [model.id for model in (await running.sdk.models.list()).data] != names:
            pass


async def test_a_model_that_was_added_a_moment_ago_is_found_by_its_name(start: Any, monkeypatch: Any) -> None:
    running = await start()
    monkeypatch.setattr(fleet, "LOOK_AGAIN_SECONDS", 60.0)
    found = [Model(id="fake"), Model(id="new")]
    monkeypatch.setattr(running.fake(), "models", lambda: asyncio.sleep(0, found))
    await running.draw(model="new")
    assert [model.id for model in (await running.sdk.models.list()).data] == ["fake", "new"]
    monkeypatch.setattr(running.fake(), "models", lambda: asyncio.sleep(0, [*found, Model(id="newest")]))
    assert (await running.draw(model="newest")).status_code == 404, "it has been asked a moment ago"


async def test_a_pattern_among_the_aliases_stands_for_names_that_nobody_has(start: Any) -> None:
    running = await start("models: {fake: {aliases: ['dall-e-*', '*']}}")
    for name in ("dall-e-3", "DALL-E-2", "gpt-image-1"):
        assert (await running.sdk.models.retrieve(name)).id == "fake"
    assert (await running.draw(model="gpt-image-1")).json()["imagerouter"]["model"] == "fake"


async def test_order_weight_and_price_of_a_target_are_told_where_they_are_not_the_usual_ones(start: Any) -> None:
    running = await start("""
providers:
  a: {type: 'imagerouter.testing:FakeProvider', price: {request: 0.01, megapixel: 0.02}}
  b: {type: 'imagerouter.testing:FakeProvider'}
models:
  fake: {targets: [{provider: a}, {provider: b, order: 1, weight: 2}]}
""")
    usual = {"model": "fake", "ready": True, "resident": False}
    assert (await running.http.get("/v1/models/fake")).json()["targets"] == [
        usual | {"provider": "a", "price": {"request": 0.01, "megapixel": 0.02}},
        usual | {"provider": "b", "order": 1, "weight": 2.0},
    ]


async def test_an_unknown_model_is_a_404(running: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        await running.sdk.models.retrieve("nobody")


async def test_a_model_is_resident_after_it_was_used(running: Any) -> None:
    await running.draw()
    while not (await running.http.get("/v1/models/fake")).json()["targets"][0]["resident"]:
        pass


async def test_health_tells_alive_from_ready(running: Any) -> None:
    assert (await running.http.get("/health/live")).json() == {"status": "ok"}
    ready = (await running.http.get("/health/ready")).json()
    assert ready == {"status": "ready", "providers": {"fake": {"ready": True, "detail": "", "models": 1}}}
