"""Another configuration while the server runs: what stays, what goes, and when."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from imagerouter.config import Config
from imagerouter.config.loader import load_text
from imagerouter.engine import Engine
from imagerouter.errors import (
    ConfigError,
    GenerationError,
    ImageRouterError,
    ModelNotFoundError,
    NoProviderError,
    ProviderUnavailableError,
)
from imagerouter.fleet.fleet import Changes
from imagerouter.jobs import Job, Outcome
from imagerouter.openai import Call
from imagerouter.provider import Model
from imagerouter.routing.catalogue import Catalogue, build
from imagerouter.testing import FakeProvider

MADE: list[FakeProvider] = []
"""Every provider that a test has brought about, in order."""


@pytest.fixture(autouse=True)
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeProvider]]:
    original = FakeProvider.__init__

    def remembered(self: FakeProvider, *args: Any) -> None:
        original(self, *args)
        MADE.append(self)

    monkeypatch.setattr(FakeProvider, "__init__", remembered)
    monkeypatch.setattr("imagerouter.fleet.watch.LOOK_SECONDS", 0)
    MADE.clear()
    yield MADE
    MADE.clear()


def config(more: str = "", **providers: str) -> Config:
    """``config(a="gated: true", b="")``"""
    rows = "".join(
        f"  {name}: {{type: 'imagerouter.testing:FakeProvider', models: [m-{name}, both]{keys and ', '}{keys}}}\n"
        for name, keys in providers.items()
    )
    return load_text(f"providers:\n{rows}{more}" if rows else f"providers: {{}}\n{more}")


@asynccontextmanager
async def running(first: Config) -> AsyncIterator[Engine]:
    async with Engine(first) as engine:
        await engine.fleet.settled()
        yield engine


def draw(engine: Engine, model: str = "both") -> asyncio.Task[Outcome]:
    return asyncio.create_task(engine.run(Call(Job("a fox", {"steps": 2}, model=model))))


async def drawn_by(engine: Engine, model: str = "both") -> str:
    return (await draw(engine, model)).target.provider


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


def fake(engine: Engine, name: str) -> FakeProvider:
    provider = engine.fleet.members[name].provider
    assert isinstance(provider, FakeProvider)
    return provider


async def test_a_provider_with_the_same_keys_goes_on_as_it_is() -> None:
    async with running(config(a="")) as engine:
        await draw(engine)
        before = engine.fleet.members["a"]
        changes = await engine.fleet.reload(config(a="", b=""))
        assert changes == Changes(kept=("a",), started=("b",))
        assert engine.fleet.members["a"] is before
        assert fake(engine, "a").resident == ["both"]
        await engine.fleet.settled()
        assert (await drawn_by(engine, "m-a"), await drawn_by(engine, "m-b")) == ("a", "b")
        assert (fake(engine, "a").started, engine.fleet.generation) == (1, 1)


async def test_a_changed_provider_starts_anew_when_its_running_jobs_are_done() -> None:
    async with running(config(a="gated: true")) as engine:
        job = draw(engine)
        old = fake(engine, "a")
        await old.held()
        assert await engine.fleet.reload(config(a="width: 32, height: 32")) == Changes(changed=("a",))
        new, member = fake(engine, "a"), engine.fleet.members["a"]
        assert member.detail == "waiting for jobs of its previous configuration"
        assert (new.started, old.closed, member.ready) == (0, 0, False)
        old.release()
        assert (await job).applied["width"] == 64
        await engine.fleet.settled()
        assert (new.started, old.closed) == (1, 1)
        assert (await draw(engine)).applied["width"] == 32


async def test_a_request_that_comes_while_a_provider_changes_waits_for_it() -> None:
    async with running(config(a="gated: true")) as engine:
        job = draw(engine)
        old = fake(engine, "a")
        await old.held()
        await engine.fleet.reload(config(a=""))
        late = draw(engine)
        await asyncio.sleep(0)
        old.release()
        await job
        assert (await late).target.provider == "a"
        assert len(fake(engine, "a").calls) == 1


async def test_jobs_that_wait_for_a_provider_go_on_waiting_when_it_changes() -> None:
    async with running(config(a="gated: true")) as engine:
        job = draw(engine)
        old = fake(engine, "a")
        await old.held()
        waiting = [draw(engine) for _ in range(3)]
        await until(lambda: engine.scheduler.waiting == 3)
        await engine.fleet.reload(config(a="concurrency: 3, gated: true"))
        assert engine.scheduler.waiting == 3
        old.release()
        await job
        await fake(engine, "a").held(3)
        fake(engine, "a").release()
        assert {(await one).attempts[-1].ok for one in waiting} == {True}
        assert old.outcomes == ["done"]


async def test_jobs_that_wait_for_a_provider_that_changes_into_one_that_cant_start_are_told() -> None:
    async with running(config(a="gated: true", more="limits: {retries: 0}\n")) as engine:
        job = draw(engine)
        old = fake(engine, "a")
        await old.held()
        waiting = draw(engine)
        await until(lambda: engine.scheduler.waiting)
        broken = "fail: ProviderUnavailableError, fail_on: start"
        await engine.fleet.reload(config(a=broken, more="limits: {retries: 0}\n"))
        old.release()
        await job
        with pytest.raises(ImageRouterError, match="was told to fail"):
            await waiting


async def test_a_provider_that_is_gone_finishes_its_jobs_and_is_closed() -> None:
    async with running(config(a="gated: true", b="")) as engine:
        job = draw(engine, "m-a")
        old = fake(engine, "a")
        await old.held()
        assert await engine.fleet.reload(config(b="")) == Changes(kept=("b",), stopped=("a",))
        assert old.closed == 0
        assert engine.catalogue.names() == ["m-b", "both"]
        with pytest.raises(ModelNotFoundError):
            await draw(engine, "m-a")
        old.release()
        assert (await job).target.provider == "a"
        await until(lambda: old.closed)
        await until(lambda: "a" not in engine.scheduler.slots)
        assert await drawn_by(engine) == "b"


async def test_a_job_that_waits_for_a_provider_that_is_gone_is_drawn_elsewhere() -> None:
    async with running(config(a="gated: true", b="gated: true")) as engine:
        jobs = [draw(engine, "m-a"), draw(engine, "m-b")]
        await fake(engine, "a").held()
        await fake(engine, "b").held()
        waiting = draw(engine)
        await until(lambda: engine.scheduler.waiting)
        old = fake(engine, "a")
        await engine.fleet.reload(config(b="gated: true"))
        fake(engine, "b").gated = False
        fake(engine, "b").release()
        assert (await waiting).target.provider == "b"
        old.release()
        await asyncio.gather(*jobs)


async def test_a_provider_that_cant_be_made_changes_nothing_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    original = FakeProvider.__init__

    def picky(self: FakeProvider, name: str, config: Any) -> None:
        original(self, name, config)
        if name == "c":
            raise ValueError("there is no such device")

    monkeypatch.setattr(FakeProvider, "__init__", picky)
    async with running(config(a="")) as engine:
        before = engine.fleet.members["a"]
        with pytest.raises(ConfigError, match=r"^providers\.c: there is no such device$"):
            await engine.fleet.reload(config(b="", c=""))
        assert engine.fleet.members == {"a": before}
        assert (engine.fleet.generation, await drawn_by(engine)) == (0, "a")
        assert [provider.closed for provider in MADE if provider.name == "b"] == [1]


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError, SystemExit])
async def test_a_provider_that_cant_be_closed_is_gone_all_the_same(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken() -> None:
        raise error

    async with running(config(a="", b="")) as engine:
        monkeypatch.setattr(fake(engine, "a"), "aclose", broken)
        monkeypatch.setattr(fake(engine, "b"), "aclose", broken)
        await engine.fleet.reload(config(b=""))
        await until(lambda: "a" not in engine.scheduler.slots)


async def test_a_provider_that_fails_to_list_its_models_when_somebody_asks_is_started_anew_at_once() -> None:
    async with running(config(a="")) as engine:
        fake(engine, "a").fail_with(ProviderUnavailableError("it has left"), on="models", times=1)
        await engine.fleet.look_again()
        async with asyncio.timeout(5):
            await until(lambda: fake(engine, "a").started == 2 and engine.fleet.members["a"].ready)


async def test_a_look_at_the_models_of_a_provider_that_goes_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running(config(a="", b="")) as engine:
        old, asked, told = fake(engine, "a"), asyncio.Event(), asyncio.Event()

        async def slowly() -> list[Model]:
            asked.set()
            await told.wait()
            return []

        monkeypatch.setattr(old, "models", slowly)
        looking = asyncio.create_task(engine.fleet.look_again())
        await asked.wait()
        await engine.fleet.reload(config(b=""))
        await until(lambda: "a" not in engine.scheduler.slots)
        told.set()
        await looking
        assert list(engine.scheduler.slots) == ["b"]


async def test_a_provider_may_change_again_while_jobs_of_its_first_configuration_run() -> None:
    async with running(config(a="gated: true")) as engine:
        job = draw(engine)
        first = fake(engine, "a")
        await first.held()
        await engine.fleet.reload(config(a="steps: 5"))
        second = fake(engine, "a")
        await engine.fleet.reload(config(a="steps: 6"))
        third = fake(engine, "a")
        first.release()
        await job
        await engine.fleet.settled()
        assert [(one.started, one.closed) for one in (first, second, third)] == [(1, 1), (0, 1), (1, 0)]
        assert await drawn_by(engine) == "a"


async def test_a_provider_that_was_removed_may_return_while_its_jobs_run() -> None:
    async with running(config(a="gated: true", b="")) as engine:
        job = draw(engine, "m-a")
        old = fake(engine, "a")
        await old.held()
        await engine.fleet.reload(config(b=""))
        assert await engine.fleet.reload(config(a="", b="")) == Changes(kept=("b",), started=("a",))
        assert (fake(engine, "a").started, await drawn_by(engine)) == (0, "b")
        old.release()
        await job
        await engine.fleet.settled()
        assert await drawn_by(engine, "m-a") == "a"


async def test_what_is_still_retiring_is_closed_with_the_rest() -> None:
    async with running(config(a="gated: true", b="")) as engine:
        job = draw(engine, "m-a")
        old = fake(engine, "a")
        await old.held()
        await engine.fleet.reload(config(a="", b=""))
        new = fake(engine, "a")
        await engine.fleet.aclose()
        assert (old.closed, new.closed, new.started) == (1, 1, 0)
        job.cancel()


async def test_new_rules_and_prices_of_a_provider_hold_without_starting_it_anew() -> None:
    async with running(config(a="")) as engine:
        ruled = "price: 0.01, rules: [{when: {n: {min: 2}}, deny: 'one at a time'}]"
        assert await engine.fleet.reload(config(a=ruled)) == Changes(kept=("a",))
        (rule,) = engine.fleet.snapshots["a"].rules
        assert rule.deny == "one at a time"
        assert engine.catalogue.models[0].targets[0].price.image == 0.01


async def test_what_fails_in_a_previous_configuration_doesnt_count_against_the_new_one() -> None:
    strict = "breaker: {failures: 1}\n"
    async with running(config(a="gated: true", more=strict)) as engine:
        job = draw(engine)
        old = fake(engine, "a")
        await old.held()
        await engine.fleet.reload(config(a="gated: false", more=strict))
        member = engine.fleet.members["a"]
        engine.fleet.failed(engine.catalogue.models[0].targets[0], GenerationError("a torn file"))
        assert member.targets == {}
        old.release()
        await job


async def test_kept_providers_follow_the_new_settings_of_the_breaker() -> None:
    async with running(config(a="fail: GenerationError", more="breaker: {failures: 5}\n")) as engine:
        with pytest.raises(GenerationError):
            await draw(engine)
        changes = await engine.fleet.reload(config(a="fail: GenerationError", more="breaker: {failures: 2}\n"))
        assert changes.kept == ("a",)
        with pytest.raises(GenerationError):
            await draw(engine)
        with pytest.raises(NoProviderError, match="failed 2 times in a row"):
            await draw(engine)


async def test_a_warning_about_the_catalogue_is_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(*args: Any, **given: Any) -> Catalogue:
        return replace(build(*args, **given), warnings=("two files of one name differ",))

    with capture_logs() as logs:
        monkeypatch.setattr("imagerouter.fleet.fleet.build", warned)
        async with running(config(a="")) as engine:
            await engine.fleet.reload(config(a="", b=""))
            await engine.fleet.settled()
    told = [entry["reason"] for entry in logs if entry["event"] == "catalogue.warning"]
    assert told == ["two files of one name differ"]


Step = tuple[str, str]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reload"), st.sampled_from(["", "a", "b", "ab", "A", "Ab", "aB", "AB"])),
        st.tuples(st.just("draw"), st.sampled_from(["m-a", "m-b", "both"])),
        st.tuples(st.just("release"), st.just("")),
        st.tuples(st.just("turn"), st.just("")),
    ),
    max_size=25,
)


def fleet_of(names: str) -> Config:
    """Which providers there are; a capital is another configuration of the same one."""
    return config(**{name.lower(): "gated: true, steps: " + ("2" if name.islower() else "3") for name in names})


@given(STEPS)
@settings(max_examples=60, deadline=None)
def test_after_any_reloads_at_most_one_of_a_name_is_alive_and_no_running_job_is_lost(steps: list[Step]) -> None:
    MADE.clear()
    asyncio.run(live_through(steps))
    assert all(provider.closed for provider in MADE)
    assert not any(provider.cancelled for provider in MADE)


async def live_through(steps: list[Step]) -> None:
    jobs: list[asyncio.Task[Outcome]] = []
    async with running(fleet_of("ab")) as engine:
        for what, which in steps:
            if what == "reload":
                await engine.fleet.reload(fleet_of(which))
            elif what == "draw":
                jobs.append(draw(engine, which))
            elif what == "release":
                for provider in MADE:
                    provider.release()
            for _ in range(5):
                await asyncio.sleep(0)
            assert_one_alive()
        await engine.fleet.reload(fleet_of("ab"))
        while not all(job.done() for job in jobs):
            for provider in MADE:
                provider.release()
            await asyncio.sleep(0)
            assert_one_alive()
        assert {getattr(job.exception(), "code", None) for job in jobs} <= {None, "model_not_found"} | UNLUCKY


UNLUCKY = {"no_provider_available", "provider_unavailable"}
"""Of those whose providers were all removed before they were bound."""


def assert_one_alive() -> None:
    alive = [provider.name for provider in MADE if provider.started and not provider.closed]
    assert len(alive) == len(set(alive))
