"""With `keys` in the configuration nobody draws without one, and every client is told so in a way it understands."""

import asyncio
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI

CONFIG = """
keys:
  alice: {secret: alice-secret, priority: 1}
  bob: {secret: bob-secret}
server: {port: 0, admin_key: root-secret}
"""
PATH = "/v1/images/generations"
ALICE = {"authorization": "Bearer alice-secret"}


@pytest.fixture
async def guarded(start: Any) -> Any:
    return await start(CONFIG)


def sdk(running: Any, key: str) -> AsyncOpenAI:
    return running.sdk.with_options(api_key=key)


async def test_the_sdk_draws_lists_and_streams_with_its_key(guarded: Any) -> None:
    client = sdk(guarded, "alice-secret")
    assert (await client.images.generate(prompt="a fox")).data
    assert [model.id for model in (await client.models.list()).data] == ["fake"]
    assert (await client.models.retrieve("fake")).id == "fake"
    events = [event.type async for event in await client.images.generate(prompt="a fox", stream=True)]
    assert events[-1] == "image_generation.completed"


@pytest.mark.parametrize("key", ["any", "alice-secre", "alice-secret2"])
async def test_a_wrong_key_is_the_sdks_authentication_error(guarded: Any, key: str) -> None:
    client = sdk(guarded, key)
    for call in (
        lambda: client.images.generate(prompt="a fox"),
        lambda: client.images.generate(prompt="a fox", stream=True),
        client.models.list,
        lambda: client.models.retrieve("fake"),
    ):
        with pytest.raises(openai.AuthenticationError) as caught:
            await call()
        assert (caught.value.status_code, caught.value.code) == (401, "invalid_api_key")
        assert "Incorrect API key provided" in caught.value.message
        assert key not in caught.value.message
    assert not guarded.fake().calls


@pytest.mark.parametrize(
    "line", ["POST /v1/images/generations", "POST /v1/route", "GET /v1/models", "GET /models/fake", "GET /metrics"]
)
async def test_without_a_key_nothing_is_answered_but_how_to_send_one(guarded: Any, line: str) -> None:
    reply = await guarded.http.request(*line.split(), json={"prompt": "a fox"})
    assert reply.status_code == 401
    assert (reply.headers["www-authenticate"], reply.headers["x-should-retry"]) == ("Bearer", "false")
    error = reply.json()["error"]
    assert (error["type"], error["param"], error["code"]) == ("authentication_error", None, "invalid_api_key")
    assert "`authorization: Bearer KEY`" in error["message"]


@pytest.mark.parametrize("path", ["/", "/health/live", "/health/ready", "/docs", "/docs/openapi.json"])
async def test_health_and_the_description_of_the_api_need_no_key(guarded: Any, path: str) -> None:
    assert (await guarded.http.get(path)).status_code == 200


async def test_a_key_may_also_come_as_x_api_key(guarded: Any) -> None:
    assert (await guarded.http.get("/v1/models", headers={"x-api-key": "bob-secret"})).status_code == 200


async def test_a_client_that_sends_a_large_body_sees_that_its_key_is_wrong(guarded: Any) -> None:
    with pytest.raises(openai.AuthenticationError):
        await sdk(guarded, "wrong").images.generate(prompt="x" * 50_000_000)


async def test_a_client_that_asks_before_it_sends_is_answered_at_once(guarded: Any) -> None:
    host, port = guarded.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1000000\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 401")
    writer.close()


async def test_who_sent_a_job_and_with_which_headers_is_known_to_rules(guarded: Any, monkeypatch: Any) -> None:
    jobs = []
    run = guarded.engine.dispatcher.run
    monkeypatch.setattr(guarded.engine.dispatcher, "run", lambda job, *rest: jobs.append(job) or run(job, *rest))
    body = {"prompt": "a fox", "priority": -2, "queue_timeout": 2.5}
    await guarded.http.post(PATH, json=body, headers={**ALICE, "X-Team": "red"})
    (job,) = jobs
    assert (job.origin.key, job.origin.priority, job.origin.headers["x-team"]) == ("alice", 1, "red")
    assert (job.priority, job.queue_timeout) == (-2, 2.5)
    assert "alice-secret" not in repr(job)


async def test_an_open_server_takes_any_key_and_none(running: Any) -> None:
    assert (await running.sdk.models.list()).data
    async with httpx.AsyncClient(base_url=running.server.url) as client:
        assert (await client.get("/v1/models")).status_code == 200


async def test_what_is_wrong_about_preferences_is_told_by_name(running: Any) -> None:
    for provider, param, valid in (
        ({"sort": "cheapest"}, "provider.sort", '"price", "latency", "throughput"'),
        ({"max_price": {"image": "cheap"}}, "provider.max_price.image", "a number of at least 0, in US dollars"),
    ):
        error = (await running.draw(provider=provider)).json()["error"]
        assert (error["param"], error["code"]) == (param, "invalid_value")
        assert valid in error["message"]
    with pytest.raises(openai.BadRequestError) as caught:
        await running.sdk.images.generate(prompt="x", extra_body={"priority": 4})
    assert (caught.value.param, "from -3 to 3" in caught.value.message) == ("priority", True)
