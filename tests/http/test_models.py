"""GET /v1/models and the health routes."""

from typing import Any

import openai
import pytest


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
