"""GET /v1/providers: what every provider is doing."""

import asyncio
from typing import Any

import pytest

from imagerouter.errors import GenerationError, ProviderResponseError, ProviderUnavailableError
from imagerouter.testing import Call, FakeProvider
from imagerouter.types import ImageRequest

FAKE = "type: 'imagerouter.testing:FakeProvider'"
TWO = f"providers: {{one: {{{FAKE}, models: [A, B]}}, two: {{{FAKE}, models: [A]}}}}\n"


async def seen(running: Any, name: str = "one") -> dict[str, Any]:
    answer = (await running.http.get("/v1/providers")).json()
    assert answer["object"] == "list"
    told: dict[str, Any] = next(provider for provider in answer["data"] if provider["name"] == name)
    return told


async def test_a_fresh_provider_is_ready_and_nothing_is_known_of_it(start: Any) -> None:
    running = await start(TWO)
    assert await seen(running) == {
        "name": "one",
        "type": "imagerouter.testing:FakeProvider",
        "state": "ready",
        "detail": "",
        "models": 2,
        "resident": [],
        "concurrency": 1,
        "running": 0,
        "waiting": 0,
        "foreign": {"jobs": 0},
        "speeds": [],
        "breaker": {"state": "closed", "failures": 0, "seconds": 0},
        "targets": [],
        "last_error": None,
    }
    answer = (await running.http.get("/providers")).json()
    assert [provider["name"] for provider in answer["data"]] == ["one", "two"]
    assert answer["queue"] == {"running": 0, "waiting": 0, "limit": 200, "backlog_seconds": 0}


async def test_what_has_run_there_is_loaded_and_its_speed_is_known(start: Any) -> None:
    running = await start(TWO.replace("]", "], load_seconds: 0.05"))
    for _ in range(2):
        await running.draw(model="A", provider={"only": ["one"]})
    one = await seen(running)
    assert one["resident"] == ["A"]
    (speed,) = one["speeds"]
    assert (speed["model"], speed["load_seconds"], speed["jobs"]) == ("A", 0.05, 2)
    assert speed["seconds"] >= 0
    assert (await seen(running, "two"))["speeds"] == []


async def test_our_jobs_are_counted_where_they_run_and_wherever_they_could(start: Any) -> None:
    running = await start(TWO + "limits: {queue: 7}")
    running.fake("one").gated = True
    drawing = [asyncio.create_task(running.draw(model="A"))]
    await running.fake("one").held()
    # One more load doesn't pay for them.
    drawing += [asyncio.create_task(running.draw(model=model)) for model in ("A", "A", "B")]
    async with asyncio.timeout(10):
        while running.engine.scheduler.waiting < 3:
            await asyncio.sleep(0)
    answer = (await running.http.get("/v1/providers")).json()
    assert [(each["running"], each["waiting"]) for each in answer["data"]] == [(1, 3), (0, 2)]
    queue = answer["queue"]
    assert (queue["running"], queue["waiting"], queue["limit"]) == (1, 3, 7)
    assert queue["backlog_seconds"] > 0
    running.fake("one").gated = False
    running.fake("one").release()
    await asyncio.gather(*drawing)


async def test_other_peoples_jobs_are_told_apart_from_ours(start: Any) -> None:
    running = await start(TWO)
    running.fake("one").calls.append(Call(ImageRequest(prompt="a hare", model="A", seed=1)))
    running.engine.fleet.members["one"].wake.set()
    async with asyncio.timeout(10):
        while (await seen(running))["foreign"] != {"jobs": 1}:
            pass
    assert (await seen(running))["running"] == 0


async def test_a_provider_that_is_still_starting_says_so(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    may_start = asyncio.Event()

    async def slow(_: FakeProvider) -> None:
        await may_start.wait()

    monkeypatch.setattr(FakeProvider, "start", slow)
    running = await start(TWO, settle=False)
    assert ((await seen(running))["state"], (await seen(running))["detail"]) == ("starting", "starting")
    may_start.set()
    await running.engine.fleet.settled()
    assert (await seen(running))["state"] == "ready"


async def test_a_provider_that_is_away_says_why(start: Any) -> None:
    running = await start(f"providers: {{one: {{{FAKE}, fail: ProviderUnavailableError, fail_on: start}}}}")
    one = await seen(running)
    assert one["state"] == "not_ready"
    assert "told to fail" in one["detail"]


async def test_the_last_error_is_told_with_its_age(start: Any) -> None:
    running = await start(TWO)
    running.fake("one").fail_with(ProviderResponseError("it answered garbage"), times=1)
    await running.draw(model="B")
    one = await seen(running)
    assert one["last_error"]["message"] == "it answered garbage"
    assert 0 <= one["last_error"]["seconds_ago"] < 60
    assert (one["state"], one["breaker"]["failures"]) == ("ready", 1)


async def test_a_model_that_failed_once_still_gets_jobs_and_nobody_says_otherwise(start: Any) -> None:
    running = await start(TWO)
    running.fake("one").fail_with(GenerationError("not enough of it"), times=1)
    await running.draw(model="B")
    (target,) = (await seen(running))["targets"]
    assert (target["state"], target["failures"], target["reason"]) == ("closed", 1, "failed: not enough of it")


async def test_a_model_that_keeps_failing_is_named_and_the_others_go_on(start: Any) -> None:
    running = await start(TWO + "breaker: {failures: 2, cooldown: 60}")
    running.fake("one").fail_with(lambda: GenerationError("not enough of it"), times=2)
    for _ in range(2):
        await running.draw(model="B")
    one = await seen(running)
    (target,) = one["targets"]
    assert (one["state"], target["model"], target["state"], target["failures"]) == ("ready", "B", "open", 2)
    assert 0 < target["seconds"] <= 60
    assert "not enough of it" in target["reason"]
    told = (await running.http.post("/v1/route", json={"model": "B"})).json()
    assert [(refusal["target"], refusal["kind"]) for refusal in told["refusals"]] == [("one/B", "breaker")]
    assert (await running.draw(model="A", provider={"only": ["one"]})).status_code == 200


async def test_a_provider_whose_breaker_is_open_says_how_long(start: Any) -> None:
    running = await start(TWO + "breaker: {failures: 2, cooldown: 60}")
    running.fake("one").fail_with(lambda: ProviderResponseError("garbage"), times=2)
    for _ in range(2):
        await running.draw(model="B")
    one = await seen(running)
    assert (one["state"], one["breaker"]["state"]) == ("open", "open")
    assert 0 < one["breaker"]["seconds"] <= 60
    assert "garbage" in one["detail"]


async def test_no_answer_holds_a_secret(start: Any) -> None:
    running = await start(
        TWO + "keys: {alice: {secret: s3cret-of-alice}}\nserver: {port: 0, admin_key: s3cret-of-admin}"
    )
    assert (await running.http.get("/v1/providers")).status_code == 401
    hers = {"authorization": "Bearer s3cret-of-alice"}
    answer = await running.http.get("/v1/providers", headers=hers)
    assert (answer.status_code, "s3cret" in answer.text) == (200, False)


async def test_words_that_no_json_can_hold_do_not_break_the_answer(start: Any) -> None:
    running = await start(TWO)
    running.fake("one").fail_with(ProviderUnavailableError("half a \ud83e"), on="generate")
    running.fake("one").down = "half a \ud83e"
    await running.draw(model="B", provider={"allow_fallbacks": False})
    assert "half a ?" in (await seen(running))["last_error"]["message"]
