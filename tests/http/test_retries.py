"""What is sent to a provider again, what goes to another one, and what the reply tells about it."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from imagerouter.dispatching import trying
from imagerouter.errors import (
    GenerationError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)

FAKE = "{type: 'imagerouter.testing:FakeProvider'}"
GATED = "{type: 'imagerouter.testing:FakeProvider', gated: true}"
ONE = f"providers:\n  one: {FAKE}\nbreaker: {{failures: 100}}\n"
TWO = f"providers:\n  one: {FAKE}\n  two: {FAKE}\nbreaker: {{failures: 100}}\n"
AWAY = ProviderUnavailableError("nobody listens")


@pytest.fixture
def begin(start: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A server whose pauses before further tries last until its providers have been looked at again."""

    async def _begin(text: str) -> Any:
        running = await start(text)
        running.pauses = []
        members = running.engine.fleet.members.values()

        async def sleep(seconds: float) -> None:
            running.pauses.append(seconds)
            while not all(member.ready for member in members):
                await asyncio.sleep(0.001)

        shim = SimpleNamespace(sleep=sleep, get_running_loop=asyncio.get_running_loop)
        monkeypatch.setattr(trying, "asyncio", shim)
        return running

    return _begin


def tried(reply: Any) -> list[tuple[str, str | None]]:
    """Each attempt with the code of its error."""
    answer = reply.json()
    told = answer["error"] if "error" in answer else answer["imagerouter"]
    return [(attempt["provider"], attempt.get("code")) for attempt in told["attempts"]]


# The same provider again


async def test_a_provider_that_could_not_be_reached_is_tried_again_if_there_is_no_other(begin: Any) -> None:
    running = await begin(ONE)
    running.fake("one").fail_with(AWAY, times=2)
    reply = await running.draw(seed=5)
    assert reply.status_code == 200
    assert tried(reply) == [("one", "provider_unavailable"), ("one", "provider_unavailable"), ("one", None)]
    assert [request.seed for request in running.fake("one").requests] == [5, 5, 5]
    first, second = running.pauses
    assert first < second


async def test_others_are_tried_first(begin: Any) -> None:
    running = await begin(TWO)
    running.fake("one").fail_with(AWAY, times=1)
    reply = await running.draw(provider={"order": ["one"]})
    assert tried(reply) == [("one", "provider_unavailable"), ("two", None)]
    assert running.pauses == []


async def test_when_none_could_be_reached_the_first_one_is_tried_again(begin: Any) -> None:
    running = await begin(TWO)
    for name in ("one", "two"):
        running.fake(name).fail_with(AWAY, times=1)
    reply = await running.draw(provider={"order": ["one", "two"]})
    assert [code for _, code in tried(reply)] == ["provider_unavailable", "provider_unavailable", None]
    assert {provider for provider, _ in tried(reply)[:2]} == {"one", "two"}
    assert len(running.pauses) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_it_is_tried_again_as_often_as_the_configuration_says(begin: Any, retries: int) -> None:
    running = await begin(f"{ONE}limits: {{retries: {retries}}}\n")
    running.fake("one").fail_with(AWAY)
    reply = await running.draw()
    assert reply.status_code == 503
    assert tried(reply) == [("one", "provider_unavailable")] * (retries + 1)
    assert int(reply.headers["retry-after"]) >= 1, "nothing was drawn, so it is safe to come again"


async def test_whatever_may_have_been_drawn_or_would_fail_again_is_sent_to_a_provider_once(begin: Any) -> None:
    running = await begin(ONE)
    for kind in (
        GenerationError, OutOfMemoryError, ProviderBusyError, ProviderRejectedError, ProviderResponseError,
        ProviderTimeoutError,
    ):  # fmt: skip
        running.fake("one").fail_with(kind("no"), times=1)
        reply = await running.draw()
        assert (reply.status_code, tried(reply)) == (kind.status, [("one", kind.code)])
    assert running.pauses == []


async def test_a_defect_of_an_adapter_is_not_repeated(begin: Any) -> None:
    running = await begin(ONE)
    running.fake("one").fail_with(RuntimeError("boom"), times=1)
    assert tried(await running.draw()) == [("one", "generation_failed")]


async def test_without_fallbacks_it_stays_on_one_provider_and_still_tries_it_again(begin: Any) -> None:
    running = await begin(TWO)
    running.fake("one").fail_with(AWAY, times=1)
    running.fake("two").fail_with(AWAY, times=1)
    reply = await running.draw(provider={"allow_fallbacks": False})
    (first, first_code), (second, second_code) = tried(reply)
    assert first == second
    assert (first_code, second_code) == ("provider_unavailable", None)


async def test_without_fallbacks_a_failure_is_the_answer(begin: Any) -> None:
    running = await begin(TWO)
    for name in ("one", "two"):
        running.fake(name).fail_with(GenerationError("it burns"))
    reply = await running.draw(provider={"allow_fallbacks": False})
    assert (reply.status_code, reply.json()["error"]["message"]) == (502, "it burns")
    assert len(tried(reply)) == 1


# One deadline for all of it


async def test_the_whole_request_has_one_deadline_and_the_work_is_cancelled_then(start: Any) -> None:
    running = await start(f"providers: {{one: {GATED}}}\nlimits: {{total_timeout: 0.2}}\n")
    reply = await running.draw()
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "provider_timeout")
    assert "longer than 0.2 seconds" in reply.json()["error"]["message"]
    assert len(running.fake("one").cancelled) == 1


async def test_the_deadline_includes_waiting_and_further_tries(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(trying, "LONGEST_PAUSE", 3600.0)
    running = await start(f"{ONE}limits: {{total_timeout: 0.2}}\n")
    running.fake("one").fail_with(AWAY)
    reply = await running.draw()
    assert reply.status_code == 504
    assert tried(reply) == [("one", "provider_unavailable")]


async def test_a_request_that_waits_for_a_slot_ends_with_its_deadline_too(start: Any) -> None:
    running = await start(f"providers: {{one: {GATED}}}\nlimits: {{total_timeout: 0.3}}\n")
    first = asyncio.create_task(running.draw())
    await running.fake("one").held()
    reply = await running.draw()
    assert (reply.status_code, reply.json()["error"]["code"]) == (504, "provider_timeout")
    assert running.engine.scheduler.waiting == 0
    await first


# What the reply tells


async def test_each_attempt_is_told_with_its_reason_and_times(begin: Any) -> None:
    running = await begin(TWO)
    running.fake("one").fail_with(GenerationError("it burns"))
    told = (await running.draw(provider={"order": ["one"]})).json()["imagerouter"]
    bad, good = told["attempts"]
    assert (bad["provider"], bad["target"], bad["ok"]) == ("one", "fake", False)
    assert (bad["reason"], bad["code"]) == ("it burns", "generation_failed")
    assert (good["provider"], good["target"], good["ok"]) == ("two", "fake", True)
    assert good.keys() == {"provider", "target", "ok", "ms"} | ({"queue_ms"} & good.keys())
    assert all(attempt["ms"] >= 0 for attempt in told["attempts"])


async def test_an_attempt_tells_how_long_it_waited_before(start: Any) -> None:
    running = await start(f"providers: {{one: {GATED}}}\n")
    first = asyncio.create_task(running.draw())
    await running.fake("one").held()
    second = asyncio.create_task(running.draw())
    await running.waiting()
    for _ in range(50):
        await asyncio.sleep(0)
    running.fake("one").gated = False
    running.fake("one").release()
    early, late = [(await each).json()["imagerouter"] for each in (first, second)]
    assert late["attempts"][0]["queue_ms"] > 0
    assert late["queue_ms"] >= late["attempts"][0]["queue_ms"]
    assert late["attempts"][0]["queue_ms"] > early["attempts"][0].get("queue_ms", 0.0)


async def test_a_provider_that_goes_away_while_a_request_waits_for_it_is_no_attempt(begin: Any) -> None:
    running = await begin(f"providers:\n  one: {GATED}\n  two: {FAKE}\n")
    first = asyncio.create_task(running.draw(model="one/fake"))
    await running.fake("one").held()
    second = asyncio.create_task(running.draw(model="one/fake"))
    await running.waiting()
    running.fake("one").down = "somebody pulled the plug"
    running.engine.fleet.members["one"].wake.set()
    while running.engine.scheduler.waiting:
        await asyncio.sleep(0.001)
    running.fake("one").down = None
    running.fake("one").gated = False
    running.engine.fleet.members["one"].wake.set()
    running.fake("one").release()
    assert (await first).status_code == 200
    reply = await second
    assert reply.status_code == 200
    assert tried(reply) == [("one", None)]
