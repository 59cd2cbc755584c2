"""One model on several backends, of which one dies while it draws, one hangs and one babbles: nobody is let down."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.http.chaos import BABBLE, Backend, Reply, Wish, connections, crowd, drawn, times_drawn, until  # noqa: E402

from imagerouter_a1111.dialects import DIALECTS  # noqa: E402

CROWD = 200
DEADLINE = 30.0
"""Seconds; ``limits.total_timeout``."""
CODES = {"provider_unavailable", "provider_timeout", "provider_bad_response"}
"""What dying, hanging and babbling come to."""

FLEET = """
providers:
{providers}
limits: {{total_timeout: {deadline}, queue: 500}}
breaker: {{cooldown: 600, longest: 600}}
server: {{port: 0}}
"""
LINE = "  {name}: {{type: a1111, base_url: '{url}', keep_metadata: true{more}}}"


def fleet(backends: dict[str, Backend], *, deadline: float = DEADLINE, patience: float = 0.3) -> str:
    """One model on all of them. ``patience``: seconds for a job on the one that hangs."""
    more = {"mute": f", timeout: {patience}", "babbler": ", concurrency: 4"}
    lines = [LINE.format(name=name, url=one.url, more=more.get(name, "")) for name, one in backends.items()]
    return FLEET.format(providers="\n".join(lines), deadline=deadline)


GRIEF = {"mortal": "not_ready", "mute": "open", "babbler": "open"}
"""What becomes of the bad ones."""


class Stage:
    """A server before its backends, with a crowd in front of it."""

    def __init__(self, running: Any, backends: dict[str, Backend]) -> None:
        self.running = running
        self.backends = backends
        self.sdk = running.sdk

    def __getitem__(self, name: str) -> Backend:
        return self.backends[name]

    async def told(self) -> dict[str, Any]:
        """What the router tells of its providers and its queue."""
        answer: dict[str, Any] = (await self.running.http.get("/v1/providers")).json()
        return answer

    async def states(self) -> dict[str, str]:
        return {row["name"]: row["state"] for row in (await self.told())["data"]}

    async def in_flight(self) -> int:
        """Jobs that run or wait."""
        queue = (await self.told())["queue"]
        return int(queue["running"] + queue["waiting"])

    async def prepare(self, name: str) -> None:
        """The good and the mortal hold their first job until they are told."""
        if name == "mute":
            await self[name].fall_silent()
        elif name == "babbler":
            self[name].babble(*BABBLE.values())
        else:
            self[name].hold()

    async def come_to_grief(self) -> None:
        """All that are bad have shown it."""
        await self["mortal"].die()
        async with asyncio.timeout(DEADLINE):
            while not GRIEF.items() <= (await self.states()).items():
                await asyncio.sleep(0.02)  # asking takes the time that the crowd needs

    def check_pictures(self, replies: list[Reply]) -> None:
        """Everybody has got what was drawn for exactly this wish, and nothing was drawn twice."""
        files = drawn(self.backends.values())
        for reply in replies:
            assert reply.status == 200, reply.told
            assert list(reply.files) == [files[reply.wish.prompt, seed][0] for seed in reply.wish.seeds]
            assert {code for _, code in reply.attempts} <= {"ok", *CODES}
        everything = [file for reply in replies for file in reply.files]
        assert len(set(everything)) == len(everything)
        assert set(times_drawn(self.backends.values()).values()) == {1}

    async def replies(self, tasks: list[asyncio.Task[Reply]]) -> list[Reply]:
        """All of them, within the deadline."""
        async with asyncio.timeout(DEADLINE):
            return await asyncio.gather(*tasks)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is waited for by the clock is waited for briefly."""
    monkeypatch.setattr("imagerouter.fleet.watch.FIRST_RETRY", 0.05)
    monkeypatch.setattr("imagerouter.fleet.watch.LAST_RETRY", 0.05)
    for name in ("STOP_SECONDS", "CLOSE_SECONDS"):
        monkeypatch.setattr(f"imagerouter_a1111.sdapi.press.{name}", 0.05)
    for name, dialect in DIALECTS.items():
        monkeypatch.setitem(DIALECTS, name, replace(dialect, poll_seconds=0.02))


@pytest.fixture
async def backends() -> AsyncIterator[Any]:
    """``await backends("good", "mortal")`` starts them. When the server has ended, nothing of it is left."""
    tasks, sockets = asyncio.all_tasks(), connections()
    started: dict[str, Backend] = {}
    async with AsyncExitStack() as stack:

        async def _backends(*names: str) -> dict[str, Backend]:
            started.update({name: await stack.enter_async_context(Backend()) for name in names})
            return started

        yield _backends
        this = asyncio.current_task()
        await until(lambda: not any(backend.open for backend in started.values()))
    await until(lambda: asyncio.all_tasks() - tasks == {this})
    await until(lambda: connections() <= sockets)


@pytest.fixture
async def stage(backends: Any, start: Any) -> Any:
    """``await stage("good", "mortal")``: the names say what becomes of them."""

    async def _stage(*names: str, **limits: float) -> Stage:
        started = await backends(*names)
        play = Stage(await start(fleet(started, **limits)), started)
        for number, name in enumerate(names):
            # Each has the model loaded, as far as the router knows.
            assert (await Wish(CROWD + number).sent(play.sdk, provider={"only": [name]})).status == 200
            play[name].jobs.clear()
        for name in names:
            await play.prepare(name)
        return play

    return _stage


BAD = ("mortal", "mute", "babbler")


async def test_everybody_gets_the_pictures_asked_for_while_one_backend_draws_and_three_fail(stage: Any) -> None:
    play = await stage("good", *BAD)
    asked = crowd(play.sdk, CROWD)
    await play.come_to_grief()
    play["good"].release()
    replies = await play.replies(asked)

    play.check_pictures(replies)
    assert {reply.attempts[-1] for reply in replies} == {("good", "ok")}
    assert {name for reply in replies for name, _ in reply.attempts} == {"good", *BAD}
    assert await play.states() == {"good": "ready"} | GRIEF
    assert await play.in_flight() == 0
    assert (await Wish(CROWD).sent(play.sdk)).attempts == [("good", "ok")]


async def test_everybody_is_told_what_failed_when_nobody_can_draw(stage: Any) -> None:
    play = await stage(*BAD)
    asked = crowd(play.sdk, CROWD)
    await play.come_to_grief()
    replies = await play.replies(asked)

    for reply in replies:
        assert reply.status in (502, 503, 504)
        assert {"message", "type", "param", "code"} <= reply.told.keys()
        assert any(f"`{name}`" in reply.told["message"] for name in BAD)
        assert {code for _, code in reply.attempts} <= CODES
        assert all(one["reason"] for one in reply.told.get("attempts", ()))
    assert {name for reply in replies for name, _ in reply.attempts} == set(BAD)
    assert not times_drawn(play.backends.values())
    assert await play.states() == GRIEF
    assert await play.in_flight() == 0
    late = await Wish(CROWD).sent(play.sdk)
    assert (late.status, late.told["code"]) == (503, "no_provider_available")
    assert all(f"{name}/tinyA" in late.told["message"] for name in BAD)


async def test_a_backend_that_comes_back_draws_again_and_nothing_twice(stage: Any) -> None:
    play = await stage("good", *BAD)
    asked = crowd(play.sdk, CROWD // 2)
    await play.come_to_grief()
    play["mortal"].hold()
    await play["mortal"].start()
    async with asyncio.timeout(DEADLINE):
        await play["mortal"].held()
    play["mortal"].release()
    play["good"].release()
    replies = await play.replies(asked)

    play.check_pictures(replies)
    by = {reply.attempts[-1][0] for reply in replies}
    assert by == {"good", "mortal"}
    assert await play.states() == {"good": "ready"} | GRIEF | {"mortal": "ready"}
    assert await play.in_flight() == 0


@pytest.mark.parametrize("kind", BABBLE)
async def test_whatever_is_said_instead_of_a_picture_the_next_backend_draws_it(stage: Any, kind: str) -> None:
    play = await stage("good", "babbler")
    play["good"].release()
    play["babbler"].babble(BABBLE[kind])
    reply = await Wish(1).sent(play.sdk, provider={"order": ["babbler", "good"]})
    assert reply.attempts == [("babbler", "provider_bad_response"), ("good", "ok")]
    play.check_pictures([reply])
    alone = await Wish(2).sent(play.sdk, provider={"only": ["babbler"]})
    assert (alone.status, alone.attempts) == (502, [("babbler", "provider_bad_response")])
    assert alone.told["message"].startswith("provider `babbler`")


async def test_a_backend_that_never_answers_keeps_nobody_waiting_not_even_at_the_start(
    backends: Any, start: Any
) -> None:
    both = await backends("good", "mute")
    await both["mute"].fall_silent()
    play = Stage(await start(fleet(both), settle=False), both)
    replies = await play.replies(crowd(play.sdk, 5))
    play.check_pictures(replies)
    assert {name for reply in replies for name, _ in reply.attempts} == {"good"}


async def test_the_deadline_of_a_request_holds_whatever_hangs(stage: Any) -> None:
    play = await stage("mute", deadline=0.4, patience=600.0)
    replies = await play.replies(crowd(play.sdk, 5))
    assert {(reply.status, reply.told["code"]) for reply in replies} == {(504, "provider_timeout")}
    assert {reply.told["message"] for reply in replies} == {"the request took longer than 0.4 seconds"}
    assert {name for reply in replies for name, code in reply.attempts if code != "ok"} == {"mute"}
    assert await play.in_flight() == 0


async def test_clients_that_leave_take_their_jobs_along(stage: Any) -> None:
    play = await stage("good", "mortal")
    asked = dict(enumerate(crowd(play.sdk, 20, first=1), 1))
    begun = [await play[name].held() for name in ("good", "mortal")]
    leaving = {int(job.params["prompt"].removeprefix("fox ")) for job in begun} | set(range(1, 9))
    for number in leaving:
        asked[number].cancel()
    await until(lambda: {job.status for job in begun} == {"interrupted"})
    async with asyncio.timeout(DEADLINE):
        while await play.in_flight() != len(asked) - len(leaving):
            await asyncio.sleep(0.02)
    for name in ("good", "mortal"):
        play[name].release()

    replies = await play.replies([one for number, one in asked.items() if number not in leaving])
    play.check_pictures(replies)
    assert await play.in_flight() == 0
    assert len(times_drawn(play.backends.values())) == sum(reply.wish.n for reply in replies)
