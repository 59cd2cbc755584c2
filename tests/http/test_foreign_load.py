"""Backends that others use too: requests go where nobody else's jobs are, and run anyhow where that is nowhere."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.http.chaos import Shared  # noqa: E402
from tests.providers.a1111.fake import FakeA1111  # noqa: E402
from tests.providers.comfyui.fake import FakeComfy  # noqa: E402

from imagerouter_comfyui import drawing as comfy_drawing  # noqa: E402

TWO = """
providers:
  a: {type: 'tests.http.chaos:Shared', step_seconds: 0.005}
  b: {type: 'tests.http.chaos:Shared', step_seconds: 0.005}
"""
PATIENCE = 10.0
"""Seconds, after which what is waited for will never come."""
MANY = 50
"""Jobs of others: so long that nobody's speed matters beside it."""


@pytest.fixture(autouse=True)
def watchful(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider is looked at all the time."""
    monkeypatch.setattr("imagerouter.fleet.watch.WATCH_SECONDS", 0.02)
    monkeypatch.setattr("imagerouter.fleet.watch.LOOK_SECONDS", 0.0)
    monkeypatch.setattr(comfy_drawing, "FORGET_SECONDS", 0.0)


async def seen(running: Any, **jobs: int) -> None:
    """Wait until the router knows how many jobs of others its providers have."""
    await told(running, lambda told: {row["name"]: row["foreign"]["jobs"] for row in told["data"]} == jobs)


async def queued(server: Any, **jobs: int) -> None:
    """Wait until so many requests run, and so many wait."""
    await told(server, lambda told: jobs.items() <= told["queue"].items())


async def told(running: Any, condition: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition((await running.http.get("/v1/providers")).json()):
            continue


async def by(running: Any, count: int = 1, **body: Any) -> Counter[str]:
    """Who draws ``count`` requests that come one after the other."""
    replies = [await running.draw(**body) for _ in range(count)]
    return Counter(reply.json()["imagerouter"]["provider"] for reply in replies)


# Providers in memory


@pytest.fixture
async def two(start: Any) -> tuple[Any, Shared, Shared]:
    """Both have drawn before."""
    running = await start(TWO)
    for name in ("a", "b"):
        assert await by(running, 3, provider={"only": [name]}) == {name: 3}
    return running, running.fake("a"), running.fake("b")


async def test_requests_go_elsewhere_while_others_jobs_are_there_and_come_back_when_they_are_gone(two: Any) -> None:
    running, a, b = two
    a.others = MANY
    await seen(running, a=MANY, b=0)
    assert await by(running, 4) == {"b": 4}
    a.others = 0
    await seen(running, a=0, b=0)
    a.gated = b.gated = True
    asked = [asyncio.create_task(running.draw()) for _ in range(2)]
    async with asyncio.timeout(PATIENCE):
        await a.held()
        await b.held()
    a.release()
    b.release()
    assert {(await reply).status_code for reply in asked} == {200}


async def test_a_request_goes_where_the_fewest_jobs_are_before_it_when_others_are_everywhere(two: Any) -> None:
    running, a, b = two
    a.others, b.others = MANY, 1
    await seen(running, a=MANY, b=1)
    assert await by(running, 3) == {"b": 3}
    a.others, b.others = 1, MANY
    await seen(running, a=1, b=MANY)
    assert await by(running, 3) == {"a": 3}


async def test_a_single_provider_gets_its_jobs_however_many_others_has(start: Any) -> None:
    running = await start("providers:\n  a: {type: 'tests.http.chaos:Shared'}\n")
    running.fake("a").others = MANY
    await seen(running, a=MANY)
    assert await by(running, 3) == {"a": 3}


async def test_whom_the_request_wants_first_gets_it_all_the_same(two: Any) -> None:
    running, a, _ = two
    a.others = MANY
    await seen(running, a=MANY, b=0)
    assert await by(running, 2, provider={"order": ["a", "b"]}) == {"a": 2}


async def test_the_images_of_a_request_are_spread_only_over_those_whom_nobody_else_uses(two: Any) -> None:
    running, a, _ = two
    a.others = 1
    await seen(running, a=1, b=0)
    told = (await running.draw(n=4)).json()["imagerouter"]
    assert [(one["provider"], one.get("images", [])) for one in told["attempts"]] == [("b", [])]
    a.others = 0
    await seen(running, a=0, b=0)
    told = (await running.draw(n=4)).json()["imagerouter"]
    assert {one["provider"] for one in told["attempts"]} == {"a", "b"}


async def test_our_own_jobs_are_nobody_elses(two: Any) -> None:
    running, a, b = two
    a.gated = b.gated = True
    asked = [asyncio.create_task(running.draw()) for _ in range(4)]
    async with asyncio.timeout(PATIENCE):
        await a.held()
        await b.held()
    a.others = 2
    await seen(running, a=2, b=0)
    a.others = 0
    await seen(running, a=0, b=0)
    a.gated = b.gated = False
    a.release()
    b.release()
    assert {reply.status_code for reply in await asyncio.gather(*asked)} == {200}
    await seen(running, a=0, b=0)


async def test_requests_wait_for_the_free_provider_rather_than_behind_others_jobs(two: Any) -> None:
    running, a, b = two
    a.others = MANY
    await seen(running, a=MANY, b=0)
    b.gated = True
    first = asyncio.create_task(running.draw())
    await b.held()
    second = asyncio.create_task(running.draw())
    await queued(running, running=1, waiting=1)
    b.gated = False
    b.release()
    replies = [await first, await second]
    assert [reply.json()["imagerouter"]["provider"] for reply in replies] == ["b", "b"]


# Real adapters


class WebUI:
    """A stand-in of AUTOMATIC1111, which its owner uses too."""

    type, model = "a1111", "tinyA"

    def __init__(self, fake: FakeA1111) -> None:
        self.fake, self.url = fake, fake.url

    async def held(self) -> None:
        """Wait until a job runs, and can't go on."""
        await self.fake.held()

    async def clear(self) -> None:
        self.fake.release()
        await self.fake.idle()

    def drawn(self) -> list[str]:
        return [job.params["prompt"] for job in self.fake.jobs if not job.foreign and job.status == "done"]

    def undisturbed(self, owners: list[Any]) -> bool:
        return {job.status for job in owners} == {"done"}


class Comfy:
    """A stand-in of ComfyUI, whose queue somebody else fills."""

    type, model = "comfyui", "tiny_a"

    def __init__(self, fake: FakeComfy) -> None:
        self.fake, self.url = fake, fake.url

    async def held(self) -> None:
        await self.fake.running()

    async def clear(self) -> None:
        self.fake.release()
        await self.fake.until(lambda: not self.fake.pending and self.fake.running_job is None)

    def drawn(self) -> list[str]:
        texts = []
        for body in self.fake.submitted:
            nodes = body["prompt"].values()
            texts += [node["inputs"]["text"] for node in nodes if node["class_type"] == "CLIPTextEncode"]
        return [text for text in texts if text]

    def undisturbed(self, owners: list[Any]) -> bool:
        return not self.fake.interrupted and not set(owners) & set(self.fake.cancelled)


FAKES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a1111": (FakeA1111, WebUI),
    "comfyui": (FakeComfy, Comfy),
}


@pytest.fixture(params=FAKES)
async def pair(request: pytest.FixtureRequest, start: Any) -> AsyncIterator[tuple[Any, dict[str, Any]]]:
    """A server before two backends of one kind that have both drawn before."""
    make, desk = FAKES[request.param]
    async with AsyncExitStack() as stack:
        desks = {name: desk(await stack.enter_async_context(make())) for name in ("a", "b")}
        lines = [f"  {name}: {{type: {one.type}, base_url: '{one.url}'}}\n" for name, one in desks.items()]
        running = await start("providers:\n" + "".join(lines))
        model, small = desks["a"].model, {"size": "64x64", "steps": 2}

        def draw(prompt: str, **body: Any) -> Awaitable[Any]:
            answer: Awaitable[Any] = type(running).draw(running, model=model, prompt=prompt, **small, **body)
            return answer

        running.draw = draw
        for name in desks:
            assert await by(running, prompt="before", provider={"only": [name]}) == {name: 1}
        yield running, desks
        for one in desks.values():
            one.fake.release()


async def occupied(running: Any, desks: dict[str, Any], *names: str) -> dict[str, list[Any]]:
    """Somebody else has one job running and one waiting on those, and the router knows of them."""
    owners = {}
    for name in names:
        desks[name].fake.hold()
        owners[name] = [await desks[name].fake.foreign_job() for _ in range(2)]
        await desks[name].held()
    await seen(running, **{name: 2 * (name in names) for name in desks})
    return owners


async def test_a_backend_that_somebody_else_fills_is_left_alone_until_it_is_free(pair: Any) -> None:
    running, desks = pair
    owners = await occupied(running, desks, "a")
    assert await by(running, 4, prompt="a fox") == {"b": 4}
    assert desks["a"].drawn() == ["before"]
    await desks["a"].clear()
    await seen(running, a=0, b=0)
    for one in desks.values():
        one.fake.hold()
    asked = [asyncio.create_task(running.draw("a hare")) for _ in range(2)]
    async with asyncio.timeout(PATIENCE):
        for one in desks.values():
            await one.held()
    for one in desks.values():
        one.fake.release()
    assert {(await reply).status_code for reply in asked} == {200}
    assert desks["a"].undisturbed(owners["a"])


async def test_a_request_waits_behind_others_jobs_when_they_are_everywhere_and_is_drawn(pair: Any) -> None:
    running, desks = pair
    owners = await occupied(running, desks, *desks)
    asked = [asyncio.create_task(running.draw(f"fox {number}")) for number in range(2)]
    await queued(running, running=2, waiting=0)
    for one in desks.values():
        await one.clear()
    assert [(await reply).status_code for reply in asked] == [200, 200]
    assert sorted(desks["a"].drawn() + desks["b"].drawn()) == ["before", "before", "fox 0", "fox 1"]
    assert all(desks[name].undisturbed(owners[name]) for name in desks)
