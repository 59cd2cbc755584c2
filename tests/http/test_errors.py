"""Bad input gets an OpenAI-shaped 4xx that names the parameter; nothing leaks."""

import asyncio
from typing import Any

import openai
import pytest

from imagerouter.testing import FakeProvider

BROKEN = [
    b"",
    b"a red circle",
    b"[1, 2]",
    b'"prompt"',
    b'{"prompt": NaN}',
    b'{"prompt": "x", "cfg_scale": Infinity}',
    b'{"prompt": "x", "a": ' + b"[" * 200_000,
    b'{"prompt": "\xff"}',
    b'{"prompt": "x",}',
]


@pytest.mark.parametrize("raw", BROKEN, ids=lambda raw: repr(raw[:24]))
async def test_a_body_that_is_no_json_object_is_a_400(running: Any, raw: bytes) -> None:
    reply = await running.http.post("/v1/images/generations", content=raw)
    assert reply.status_code == 400
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.headers["x-should-retry"] == "false"


async def test_an_unknown_sampler_lists_the_valid_ones(running: Any) -> None:
    error = (await running.draw(sampler="eulr")).json()["error"]
    assert (error["param"], error["code"]) == ("sampler", "invalid_value")
    assert "euler, euler_ancestral, dpmpp_2m" in error["message"]


async def test_more_than_a_models_limit_is_the_clients_fault(running: Any) -> None:
    reply = await running.draw(steps=180)
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == "steps"
    assert "between 1 and 150" in reply.json()["error"]["message"]


async def test_an_unknown_model_is_a_404_that_suggests_one(running: Any) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await running.sdk.images.generate(model="fak", prompt="x")
    assert caught.value.code == "model_not_found"
    assert "did you mean `fake`?" in caught.value.message


async def test_sdk_errors_are_the_right_exceptions_and_carry_the_parameter(running: Any) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await running.sdk.images.generate(prompt="x", extra_body={"steps": "twenty"})
    assert (caught.value.param, caught.value.code) == ("steps", "invalid_value")


async def test_a_body_that_is_too_large_is_a_413(start: Any) -> None:
    running = await start("limits: {max_body: 10kB}")
    reply = await running.draw(prompt="x" * 20_000)
    assert reply.status_code == 413
    assert reply.json()["error"]["code"] == "request_too_large"


async def test_unknown_routes_and_methods_are_answered_in_the_same_shape(running: Any) -> None:
    for reply, status in (
        (await running.http.get("/v1/nothing"), 404),
        (await running.http.get("/v1/images/generations"), 405),
        (await running.http.delete("/health/live"), 405),
    ):
        assert reply.status_code == status
        assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


async def test_a_defect_in_an_adapter_leaks_nothing(running: Any) -> None:
    running.fake().fail_with(RuntimeError("/home/someone/secret.py exploded"))
    reply = await running.draw()
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "generation_failed"
    assert "secret" not in reply.text
    assert "Traceback" not in reply.text


async def test_a_provider_that_is_slow_is_given_up_on(start: Any) -> None:
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true, timeout: 0.05}}")
    reply = await running.draw()
    assert reply.status_code == 504
    assert reply.json()["error"]["code"] == "provider_timeout"
    assert running.fake().cancelled


async def test_the_whole_request_has_one_deadline(start: Any) -> None:
    running = await start(
        "providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}\nlimits: {total_timeout: 50ms}"
    )
    assert (await running.draw()).status_code == 504
    await running.fake().until(lambda: bool(running.fake().cancelled))


async def test_a_provider_that_cant_be_reached_gets_no_further_job_until_it_is_back(start: Any) -> None:
    running = await start(
        "providers:\n  one: {type: 'imagerouter.testing:FakeProvider'}\n"
        "  two: {type: 'imagerouter.testing:FakeProvider'}"
    )
    running.fake("one").down = "the power is out"
    wishes = {"provider": {"order": ["one"]}}
    reply = await running.draw(**wishes)
    assert reply.json()["imagerouter"]["provider"] == "two"
    tried = len(running.fake("one").calls)
    assert (await running.draw(**wishes)).json()["imagerouter"]["provider"] == "two"
    assert len(running.fake("one").calls) == tried
    running.fake("one").down = None
    while not running.engine.fleet.members["one"].ready:
        await asyncio.sleep(0.01)
    assert (await running.draw(**wishes)).json()["imagerouter"]["provider"] == "one"


async def test_a_request_that_comes_before_the_providers_have_started_waits_for_them(
    start: Any, monkeypatch: Any
) -> None:
    up = asyncio.Event()
    monkeypatch.setattr(FakeProvider, "start", lambda self: up.wait())
    running = await start(settle=False)
    early = asyncio.create_task(running.draw())
    assert (await running.http.get("/health/ready")).status_code == 503
    assert not early.done()
    up.set()
    assert (await early).status_code == 200


async def test_a_client_that_hangs_up_while_sending_disturbs_nobody(running: Any) -> None:
    host, port = running.server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await running.draw()).status_code == 200


async def test_with_no_provider_up_the_server_answers_and_says_why(start: Any) -> None:
    running = await start(
        "providers: {fake: {type: 'imagerouter.testing:FakeProvider', fail: ProviderUnavailableError, fail_on: start}}"
    )
    assert (await running.http.get("/health/live")).status_code == 200
    ready = await running.http.get("/health/ready")
    assert ready.status_code == 503
    assert "told to fail" in ready.json()["providers"]["fake"]["detail"]
    reply = await running.draw()
    assert reply.status_code == 503
    assert reply.json()["error"]["code"] == "no_provider_available"
    assert "told to fail" in reply.json()["error"]["message"]


async def test_a_provider_that_nobody_has_configured_is_the_clients_mistake(running: Any) -> None:
    reply = await running.draw(provider={"only": ["nobody"]})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "provider.only")


async def test_a_default_that_no_target_can_honour_is_not_the_clients_mistake(start: Any) -> None:
    running = await start("defaults: {steps: 160}")
    reply = await running.draw()
    assert (reply.status_code, reply.json()["error"]["param"]) == (503, None)
    assert "the server's configuration" in reply.json()["error"]["message"]
    assert (await running.draw(steps=3)).status_code == 200


async def test_a_wrong_method_is_answered_with_the_right_ones(running: Any) -> None:
    reply = await running.http.put("/v1/models")
    assert reply.status_code == 405
    assert "GET" in reply.headers["allow"]
