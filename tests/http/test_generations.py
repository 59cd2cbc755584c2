"""POST /v1/images/generations, as clients see it."""

import asyncio
import base64
from io import BytesIO
from typing import Any

import httpx
import openai
import pybase64
import pytest
from PIL import Image as Pillow

HEAD = 65536 * 4 // 3 + 4
"""Characters of base64 that hold the texts of any picture file."""
TWO_FAKES = """
providers:
  one: {type: 'imagerouter.testing:FakeProvider', fail: FAIL}
  two: {type: 'imagerouter.testing:FakeProvider'}
"""


def picture(b64: str) -> Pillow.Image:
    return Pillow.open(BytesIO(base64.b64decode(b64)))


async def test_the_sdk_gets_a_picture_of_the_size_it_asked_for(running: Any) -> None:
    reply = await running.sdk.images.generate(model="fake", prompt="a fox", size="96x64")  # type: ignore[arg-type]
    assert picture(reply.data[0].b64_json).size == (96, 64)
    assert reply.size == "96x64"
    assert reply.output_format == "png"


async def test_without_a_model_the_first_one_is_used(running: Any) -> None:
    answer = (await running.draw()).json()
    assert answer["imagerouter"]["model"] == "fake"


async def test_the_answer_survives_the_sdks_strict_validation(running: Any) -> None:
    client = openai.AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key="x", _strict_response_validation=True)
    async with client:
        reply = await client.images.generate(prompt="a fox", n=2)
        assert len(reply.data or []) == 2
        assert [model.id for model in (await client.models.list()).data] == ["fake"]


async def test_image_i_of_n_is_the_single_image_of_seed_plus_i(running: Any) -> None:
    batch = (await running.draw(n=3, seed=2**32 - 2)).json()["data"]
    assert [item["seed"] for item in batch] == [2**32 - 2, 2**32 - 1, 0]
    for item in batch:
        single = (await running.draw(seed=item["seed"])).json()["data"][0]
        assert single["b64_json"] == item["b64_json"]


async def test_the_same_request_gives_the_same_bytes(running: Any) -> None:
    first, second = [(await running.draw(seed=7)).json()["data"] for _ in range(2)]
    assert first == second


async def test_a_seed_is_drawn_and_told_when_the_client_gives_none(running: Any) -> None:
    first, second = [(await running.draw(seed=seed)).json()["data"][0] for seed in (None, -1)]
    assert first["seed"] != second["seed"]
    again = (await running.draw(seed=first["seed"])).json()["data"][0]
    assert again["b64_json"] == first["b64_json"]


async def test_every_openai_parameter_is_accepted(running: Any) -> None:
    reply = await running.sdk.images.generate(
        model="fake", prompt="a fox", n=1, size="64x64", quality="high", background="opaque",
        output_format="webp", output_compression=80, moderation="low", response_format="b64_json",
        style="vivid", user="someone",
    )  # fmt: skip
    assert picture(reply.data[0].b64_json).format == "WEBP"
    assert reply.model_extra["imagerouter"]["ignored"] == ["background", "quality", "style"]


async def test_canonical_parameters_reach_the_provider_and_aliases_mean_the_same(running: Any) -> None:
    await running.draw(steps=9, cfg_scale=3.5, negative_prompt="red", sampler="dpmpp_2m", scheduler="karras")
    await running.draw(
        num_inference_steps=9, guidance_scale=3.5, negative="red", sampler_name="DPM++ 2M Karras",
        denoising_strength=None,
    )  # fmt: skip
    first, second = running.fake().requests
    for request in (first, second):
        assert (request.steps, request.cfg_scale, request.negative_prompt) == (9, 3.5, "red")
        assert (request.sampler, request.scheduler, request.strength) == ("dpmpp_2m", "karras", None)


async def test_guidance_scale_beside_true_cfg_scale_is_distilled_guidance(running: Any) -> None:
    await running.draw(true_cfg_scale=4, guidance_scale=3.5)
    (request,) = running.fake().requests
    assert (request.cfg_scale, request.guidance) == (4, 3.5)


async def test_what_has_no_effect_is_listed_and_what_was_used_is_told(running: Any) -> None:
    told = (await running.draw(clip_skip=2, vae="x", wavelength=3, steps=6, n=1)).json()["imagerouter"]
    assert told["ignored"] == ["clip_skip", "vae", "wavelength"]
    assert told["applied"]["steps"] == 6


async def test_strict_refuses_what_would_be_ignored(running: Any) -> None:
    unknown = await running.draw(wavelength=3, strict=True)
    assert unknown.status_code == 400
    assert unknown.json()["error"]["param"] == "wavelength"
    unsupported = await running.draw(vae="x", strict=True)
    assert unsupported.status_code == 400
    assert (unsupported.json()["error"]["code"], unsupported.json()["error"]["param"]) == (
        "unknown_parameter",
        "vae",
    )


async def test_an_aspect_ratio_keeps_the_models_native_area(running: Any) -> None:
    width, height = map(int, (await running.draw(aspect_ratio="16:9")).json()["size"].split("x"))
    assert (width, height) == (88, 48)


async def test_an_aspect_ratio_counts_as_more_than_the_configured_size(start: Any) -> None:
    running = await start("defaults: {width: 512, height: 512}")
    assert [(await running.draw(**body)).json()["size"] for body in ({}, {"aspect_ratio": "2:1"})] == [
        "512x512",
        "728x360",
    ]


async def test_an_input_picture_makes_it_an_edit_and_a_mask_makes_it_an_inpainting(running: Any) -> None:
    drawn = (await running.draw()).json()["data"][0]["b64_json"]
    await running.draw(image=f"data:image/png;base64,{drawn}", strength=0.4)
    await running.draw(images=[{"image_url": {"url": f"data:image/png;base64,{drawn}"}}], mask=drawn)
    assert [request.operation for request in running.fake().requests] == ["generate", "edit", "inpaint"]
    assert running.fake().requests[1].images[0].b64.decode() == drawn


async def test_a_url_comes_only_when_asked_for(running: Any) -> None:
    datum = (await running.draw(response_format="url")).json()["data"][0]
    assert "b64_json" not in datum
    assert datum["url"].startswith(f"{running.server.url}/v1/files/")
    fetched = await running.http.get(datum["url"])
    assert fetched.headers["content-type"] == "image/png"
    assert Pillow.open(BytesIO(fetched.content)).size == (64, 64)


async def test_base64_of_a_provider_is_passed_through_undecoded(start: Any, monkeypatch: Any) -> None:
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', delivers: base64}}")
    decoded: list[int] = []
    original = pybase64.b64decode
    monkeypatch.setattr(
        pybase64,
        "b64decode",
        lambda text, *rest, **more: decoded.append(len(text)) or original(text, *rest, **more),
    )
    answer = (await running.draw(size="512x512")).json()
    assert picture(answer["data"][0]["b64_json"]).size == (512, 512)
    assert max(decoded) <= HEAD, "a picture is no more than looked at"


async def test_raw_bytes_are_encoded_once(running: Any, monkeypatch: Any) -> None:
    encoded: list[int] = []
    original = pybase64.b64encode
    monkeypatch.setattr(pybase64, "b64encode", lambda data: encoded.append(len(data)) or original(data))
    await running.draw(n=3)
    assert len(encoded) == 3


async def test_a_failing_provider_is_passed_over_and_the_seed_is_kept(start: Any) -> None:
    running = await start(TWO_FAKES.replace("FAIL", "GenerationError"))
    reply = await running.draw(seed=5, provider={"order": ["one", "two"]})
    told = reply.json()["imagerouter"]
    assert told["provider"] == reply.headers["x-imagerouter-provider"] == "two"
    assert [(a["provider"], a["ok"]) for a in told["attempts"]] == [("one", False), ("two", True)]
    assert [running.fake(name).requests[0].seed for name in ("one", "two")] == [5, 5]


async def test_a_clients_mistake_is_not_tried_elsewhere(start: Any) -> None:
    running = await start(TWO_FAKES.replace("FAIL", "InvalidParameterError"))
    reply = await running.draw(provider={"order": ["one"]})
    assert reply.status_code == 400
    assert not running.fake("two").calls


async def test_when_all_fail_the_error_lists_each_attempt_and_sdks_do_not_repeat_it(start: Any) -> None:
    running = await start(
        TWO_FAKES.replace("FAIL", "GenerationError").replace("two: {", "two: {fail: OutOfMemoryError, ")
    )
    client = openai.AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key="x")
    async with client:
        with pytest.raises(openai.InternalServerError) as caught:
            await client.images.generate(prompt="a fox")
    assert caught.value.status_code == 503
    assert caught.value.response.headers["x-should-retry"] == "false"
    attempts = caught.value.body["attempts"]  # type: ignore[index]
    assert {a["provider"]: a["code"] for a in attempts} == {
        "one": "generation_failed",
        "two": "provider_out_of_memory",
    }
    assert len(running.fake("one").calls) == len(running.fake("two").calls) == 1


async def test_only_and_ignore_and_pins_choose_the_provider(start: Any) -> None:
    running = await start(TWO_FAKES.replace("fail: FAIL", ""))
    for body in ({"provider": {"only": ["two"]}}, {"provider": {"ignore": ["one"]}}, {"model": "two/fake"}):
        assert (await running.draw(**body)).json()["imagerouter"]["provider"] == "two"


async def test_yaml_models_have_defaults_aliases_and_forced_parameters(start: Any) -> None:
    running = await start(
        "models: {fox: {aliases: [dall-e-3], defaults: {steps: 11, cfg_scale: 2},"
        " targets: [{provider: fake, model: fake, params: {sampler: euler_ancestral}}]}}"
    )
    answer = await running.draw(model="dall-e-3", cfg_scale=5, sampler="euler")
    assert answer.json()["imagerouter"]["model"] == "fox"
    (request,) = running.fake().requests
    assert (request.steps, request.cfg_scale, request.sampler) == (11, 5, "euler_ancestral")


async def test_the_request_may_bring_its_own_fallback_models(start: Any) -> None:
    running = await start(
        "providers:\n  a: {type: 'imagerouter.testing:FakeProvider', models: [x], fail: GenerationError}\n"
        "  b: {type: 'imagerouter.testing:FakeProvider', models: [y]}"
    )
    assert (await running.draw(model="x", models=["y"])).json()["imagerouter"]["model"] == "y"


@pytest.mark.parametrize("size", [10, 1_000_000], ids=["small", "large"])
async def test_a_client_that_hangs_up_cancels_the_work_whatever_the_size_of_its_body(start: Any, size: int) -> None:
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}")
    request = asyncio.create_task(running.draw(metadata_of_mine="x" * size))
    await running.fake().held()
    request.cancel()
    await running.fake().until(lambda: bool(running.fake().cancelled))
    running.fake().gated = False
    assert (await running.draw()).status_code == 200


async def test_two_hundred_requests_at_once_all_get_their_picture(running: Any) -> None:
    async with httpx.AsyncClient(
        base_url=running.server.url, timeout=60, limits=httpx.Limits(max_connections=None)
    ) as client:
        replies = await asyncio.gather(
            *(client.post("/v1/images/generations", json={"prompt": "p", "seed": i}) for i in range(200))
        )
    assert [reply.status_code for reply in replies] == [200] * 200
    assert [reply.json()["data"][0]["seed"] for reply in replies] == list(range(200))
    assert running.fake().most_running == 1


async def test_a_full_queue_answers_429_with_retry_after(start: Any) -> None:
    running = await start(
        "providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}\nlimits: {queue: 1}"
    )
    waiting = [asyncio.create_task(running.draw()) for _ in range(2)]
    await running.fake().held()
    while running.engine.scheduler.waiting < 1:
        await asyncio.sleep(0)
    refused = await running.draw()
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "queue_full"
    assert int(refused.headers["retry-after"]) >= 1
    running.fake().gated = False
    running.fake().release()
    assert [reply.status_code for reply in await asyncio.gather(*waiting)] == [200, 200]


async def test_every_reply_carries_a_request_id_and_a_clients_own_is_kept(running: Any) -> None:
    for path in ("/health/live", "/nowhere"):
        assert (await running.http.get(path)).headers["x-request-id"].startswith("req_")
    reply = await running.http.get("/v1/models", headers={"x-request-id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    reply = await running.sdk.images.generate(prompt="a fox")
    assert reply._request_id.startswith("req_")


async def test_paths_without_v1_work_too(running: Any) -> None:
    assert (await running.http.get("/models")).json() == (await running.http.get("/v1/models")).json()
    assert (await running.http.post("/images/generations", json={"prompt": "x"})).status_code == 200


async def test_the_openapi_document_describes_every_parameter(running: Any) -> None:
    document = (await running.http.get("/docs/openapi.json")).json()
    operation = document["paths"]["/v1/images/generations"]["post"]
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/GenerationBody"}
    properties = document["components"]["schemas"]["GenerationBody"]["properties"]
    assert {"prompt", "negative_prompt", "seed", "loras"} <= set(properties)
    assert {"200", "400", "404", "429", "503"} <= set(operation["responses"])
    assert (await running.http.get("/docs")).headers["content-type"].startswith("text/html")
