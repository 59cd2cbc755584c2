"""With ``limits.hedge`` a request that takes too long is drawn elsewhere too, and the first to finish counts."""

import asyncio
from typing import Any

import pytest

from imagerouter.dispatching import dispatcher
from imagerouter.errors import InvalidParameterError

GATED = "{type: 'imagerouter.testing:FakeProvider', gated: true}"
HEDGED = "limits: {hedge: 1}\n"


def fleet(*names: str, **settings: str) -> str:
    return "providers:\n" + "".join(f"  {name}: {settings.get(name, GATED)}\n" for name in names)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt takes longer than expected from the beginning."""
    monkeypatch.setattr(dispatcher, "_expected", lambda _: 0.0)


@pytest.fixture
def begin(start: Any, at_once: None) -> Any:
    """A server, and a request that `a` draws first."""

    async def _begin(text: str, **body: Any) -> tuple[Any, asyncio.Task[Any]]:
        running = await start(text)
        request = asyncio.create_task(running.draw(**{"provider": {"order": ["a"]}, **body}))
        await running.fake("a").held()
        return running, request

    return _begin


async def settle() -> None:
    """Give everything that could begin the time to do so."""
    for _ in range(50):
        await asyncio.sleep(0)


def attempts(reply: Any) -> list[tuple[str, bool]]:
    """Those that came to an end, each with whether it went well."""
    answer = reply.json()
    told = answer["error"] if "error" in answer else answer["imagerouter"]
    return [(each["provider"], each["ok"]) for each in told["attempts"] if each.get("code") != "cancelled"]


async def idle(running: Any) -> None:
    """Until no job of ours waits or runs."""
    while running.engine.scheduler.running or running.engine.scheduler.waiting:
        await asyncio.sleep(0.001)


async def test_nothing_is_drawn_twice_unless_the_configuration_says_so(begin: Any) -> None:
    running, request = await begin(fleet("a", "b"))
    await settle()
    assert running.fake("b").calls == []
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]


async def test_an_attempt_that_is_done_in_time_stays_alone(start: Any) -> None:
    fake = "{type: 'imagerouter.testing:FakeProvider'}"
    running = await start(fleet("a", "b", a=fake, b=fake) + HEDGED)
    assert len(attempts(await running.draw())) == 1
    assert len(running.fake("a").calls) + len(running.fake("b").calls) == 1


async def test_a_second_attempt_starts_elsewhere_and_wins_if_it_is_done_first(begin: Any) -> None:
    running, request = await begin(fleet("a", "b") + HEDGED, seed=9)
    (second,) = await running.fake("b").held()
    assert second.seed == 9
    running.fake("b").release()
    reply = await request
    assert attempts(reply) == [("b", True)]
    assert reply.json()["imagerouter"]["provider"] == "b"
    assert [cancelled.seed for cancelled in running.fake("a").cancelled] == [9]
    await idle(running)


async def test_the_first_attempt_wins_if_it_is_done_first(begin: Any) -> None:
    running, request = await begin(fleet("a", "b") + HEDGED)
    await running.fake("b").held()
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]
    assert len(running.fake("b").cancelled) == 1
    await idle(running)


async def test_the_reply_tells_of_the_attempt_that_was_not_needed(begin: Any) -> None:
    running, request = await begin(fleet("a", "b") + HEDGED)
    await running.fake("b").held()
    running.fake("b").release()
    told = (await request).json()["imagerouter"]["attempts"]
    assert sorted((each["provider"], each.get("code")) for each in told) == [("a", "cancelled"), ("b", None)]


async def test_the_loser_does_not_count_as_a_failure_of_its_provider(begin: Any) -> None:
    running, request = await begin(fleet("a", "b") + HEDGED + "breaker: {failures: 1}\n")
    await running.fake("b").held()
    running.fake("b").release()
    await request
    assert running.engine.fleet.members["a"].ready
    assert running.engine.fleet.members["a"].last_error is None


async def test_a_first_attempt_that_fails_leaves_the_second_one_to_finish(begin: Any) -> None:
    slow = "{type: 'imagerouter.testing:FakeProvider', gated: true, timeout: 0.3}"
    running, request = await begin(fleet("a", "b", a=slow) + HEDGED)
    await running.fake("b").held()
    await running.fake("a").until(lambda: not running.fake("a").running)
    await settle()
    running.fake("b").release()
    assert attempts(await request) == [("a", False), ("b", True)]


async def test_a_second_attempt_that_fails_leaves_the_first_one_to_finish(begin: Any) -> None:
    failing = "{type: 'imagerouter.testing:FakeProvider', fail: GenerationError}"
    running, request = await begin(fleet("a", "b", b=failing) + HEDGED)
    await running.fake("b").until(lambda: running.fake("b").outcomes == ["failed"])
    await settle()
    running.fake("a").release()
    assert attempts(await request) == [("b", False), ("a", True)]


async def test_even_a_second_attempt_that_would_end_a_request_leaves_the_first_one_to_finish(begin: Any) -> None:
    failing = "{type: 'imagerouter.testing:FakeProvider', fail: ContentPolicyError}"
    running, request = await begin(fleet("a", "b", b=failing) + HEDGED)
    await running.fake("b").until(lambda: running.fake("b").outcomes == ["failed"])
    await settle()
    running.fake("a").release()
    assert attempts(await request) == [("b", False), ("a", True)]


async def test_when_both_fail_both_are_told(begin: Any) -> None:
    slow = "{type: 'imagerouter.testing:FakeProvider', gated: true, timeout: 0.3}"
    failing = "{type: 'imagerouter.testing:FakeProvider', fail: GenerationError}"
    _, request = await begin(fleet("a", "b", a=slow, b=failing) + HEDGED)
    reply = await request
    assert reply.status_code == 503
    assert sorted(attempts(reply)) == [("a", False), ("b", False)]


async def test_there_is_at_most_one_second_attempt_per_request(begin: Any) -> None:
    running, request = await begin(fleet("a", "b", "c") + HEDGED)
    await asyncio.wait(
        [asyncio.create_task(running.fake(name).held()) for name in ("b", "c")], return_when=asyncio.FIRST_COMPLETED
    )
    await settle()
    assert sum(len(running.fake(name).calls) for name in ("a", "b", "c")) == 2
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]


async def test_a_provider_is_never_its_own_second_attempt(begin: Any) -> None:
    two_at_once = "{type: 'imagerouter.testing:FakeProvider', gated: true, concurrency: 2}"
    running, request = await begin(fleet("a", a=two_at_once) + HEDGED)
    await settle()
    assert len(running.fake("a").calls) == 1
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]


async def test_a_client_that_allows_no_fallbacks_gets_no_second_attempt(begin: Any) -> None:
    wishes = {"order": ["a", "b"], "allow_fallbacks": False}
    running, request = await begin(fleet("a", "b") + HEDGED, provider=wishes)
    await settle()
    assert running.fake("b").calls == []
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]


async def test_a_second_attempt_that_finds_no_room_leaves_the_first_one_alone(start: Any, at_once: None) -> None:
    running = await start(fleet("a", "b") + HEDGED)
    busy = asyncio.create_task(running.draw(model="b/fake"))
    await running.fake("b").held()
    request = asyncio.create_task(running.draw(queue_timeout=0.2, provider={"order": ["a"]}))
    await running.fake("a").held()
    await running.waiting()
    while running.engine.scheduler.waiting:
        await asyncio.sleep(0.001)
    running.fake("a").release()
    assert attempts(await request) == [("a", True)]
    running.fake("b").release()
    await busy


async def test_a_request_that_is_spread_is_not_drawn_twice_as_well(begin: Any) -> None:
    running, request = await begin(fleet("a", "b", "c") + HEDGED)
    await running.fake("b").held()
    running.fake("b").release()
    await request
    await idle(running)
    for name in ("a", "b"):
        running.fake(name).resident = ["fake"]
        running.engine.scheduler.observe(name, frozenset({"fake"}))
        running.fake(name).calls.clear()
    spread = asyncio.create_task(running.draw(n=2))
    for name in ("a", "b"):
        await running.fake(name).held()
    await settle()
    assert running.fake("c").calls == []
    for name in ("a", "b"):
        running.fake(name).release()
    assert sorted(attempts(await spread)) == [("a", True), ("b", True)]


async def test_a_client_that_hangs_up_cancels_both(begin: Any) -> None:
    running, request = await begin(fleet("a", "b") + HEDGED)
    await running.fake("b").held()
    request.cancel()
    await idle(running)
    assert [running.fake(name).outcomes for name in ("a", "b")] == [["cancelled"]] * 2


async def test_what_would_fail_anywhere_is_not_drawn_a_second_time(start: Any, at_once: None) -> None:
    running = await start(fleet("a", "b") + HEDGED)
    running.fake("a").fail_with(InvalidParameterError("no", param="prompt"))
    reply = await running.draw(provider={"order": ["a"]})
    assert (reply.status_code, attempts(reply)) == (400, [("a", False)])
    await idle(running)
