"""What a client sees of providers and models that fail again and again, and of their return."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from imagerouter.errors import (
    GenerationError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderUnavailableError,
)
from imagerouter.fleet.watch import WATCH_SECONDS
from imagerouter.testing import FakeProvider

FAKE = "{type: 'imagerouter.testing:FakeProvider', models: [x, y], memory: 2, concurrency: 3"
TWO = f"providers:\n  bad: {FAKE}}}\n  good: {FAKE}}}\nlimits: {{retries: 0}}\n"
ALONE = f"providers:\n  bad: {FAKE}}}\nlimits: {{retries: 0}}\n"
BAD_FIRST = {"provider": {"order": ["bad"]}}
COOLDOWN = 10.0


class Clock:
    """The loop's time, which a test can put forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._real = loop.time
        self._ahead = 0.0
        monkeypatch.setattr(loop, "time", lambda: self._real() + self._ahead)

    async def forward(self, seconds: float) -> None:
        self._ahead += seconds
        for _ in range(20):
            await asyncio.sleep(0)


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr("imagerouter.fleet.watch.LOOK_SECONDS", 0)
    return Clock(monkeypatch)


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def ready(running: Any, name: str = "bad", is_ready: bool = True) -> None:
    await until(lambda: running.engine.fleet.members[name].ready == is_ready)


async def drawn_by(running: Any, **body: Any) -> str:
    reply = await running.draw(**BAD_FIRST, **body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["imagerouter"]["provider"])


def break_model(fake: FakeProvider, monkeypatch: pytest.MonkeyPatch, broken: dict[str, Exception]) -> None:
    """Jobs for these models fail for as long as they are in ``broken``."""
    original = fake.generate

    async def generate(request: Any, progress: Any) -> Any:
        if request.model in broken:
            fake.fail_with(broken[request.model], times=1)
        return await original(request, progress)

    monkeypatch.setattr(fake, "generate", generate)


# A provider


async def test_a_provider_that_answers_garbage_three_times_rests_while_another_one_serves(
    start: Any, clock: Clock
) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderResponseError("that is no picture"))
    assert [await drawn_by(running) for _ in range(5)] == ["good"] * 5
    assert len(bad.calls) == 3
    await clock.forward(COOLDOWN - 1)
    assert await drawn_by(running, model="y") == "good"
    assert len(bad.calls) == 3
    told = (await running.draw(provider={"only": ["bad"]})).json()["error"]
    assert "failed 3 times in a row, last: that is no picture; tried again in " in told["message"]


async def test_it_is_asked_for_its_models_and_its_state_before_a_single_job_tries_it(start: Any, clock: Clock) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderResponseError("that is no picture"), times=3)
    for _ in range(3):
        await drawn_by(running)
    started = bad.started
    await clock.forward(COOLDOWN)
    await ready(running)
    assert (bad.started, len(bad.calls)) == (started + 1, 3)
    bad.gated = True
    trial = asyncio.create_task(drawn_by(running))
    await bad.held()
    assert await drawn_by(running) == "good"
    bad.gated = False
    bad.release()
    assert await trial == "bad"
    assert [await drawn_by(running) for _ in range(2)] == ["bad"] * 2
    assert running.engine.scheduler.slots["bad"].capacity == 3


async def test_a_probe_that_fails_costs_no_job_and_the_next_one_follows_soon(start: Any, clock: Clock) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderResponseError("that is no picture"), times=3)
    for _ in range(3):
        await drawn_by(running)
    bad.down = "out of order"
    await clock.forward(COOLDOWN)
    await until(lambda: "out of order" in running.engine.fleet.members["bad"].detail)
    assert await drawn_by(running) == "good"
    bad.down = None
    await clock.forward(1)
    await ready(running)
    assert await drawn_by(running) == "bad"


async def test_each_failed_trial_doubles_its_rest(start: Any, clock: Clock) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderResponseError("that is no picture"))
    for _ in range(3):
        await drawn_by(running)
    for rest in (COOLDOWN, 2 * COOLDOWN, 4 * COOLDOWN):
        calls = len(bad.calls)
        await clock.forward(rest - 1)
        assert await drawn_by(running) == "good"
        assert len(bad.calls) == calls
        await clock.forward(1)
        await ready(running)
        assert await drawn_by(running) == "good"
        assert len(bad.calls) == calls + 1


async def test_a_provider_that_cuts_the_connection_of_every_job_is_not_taken_back_for_ever(
    start: Any, clock: Clock
) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderUnavailableError("the connection was cut"))
    for _ in range(3):
        await ready(running)
        assert await drawn_by(running) == "good"
    await clock.forward(COOLDOWN - 1)
    assert [await drawn_by(running) for _ in range(3)] == ["good"] * 3
    assert len(bad.calls) == 3


async def test_jobs_that_fail_together_when_a_provider_goes_away_count_once(start: Any, clock: Clock) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.gated = True
    jobs = [asyncio.create_task(drawn_by(running)) for _ in range(3)]
    await bad.held(3)
    for target in running.engine.catalogue.resolve("bad/x").targets * 3:
        running.engine.fleet.failed(target, ProviderUnavailableError("killed"))
    await ready(running)
    assert running.engine.fleet.members["bad"].breaker.failures == 1
    bad.release()
    await asyncio.gather(*jobs)


async def test_a_provider_that_hangs_is_taken_out_by_the_first_job_that_times_out(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagerouter.fleet.watch.ANSWER_SECONDS", 0.01)
    running = await start(TWO.replace("concurrency: 3", "concurrency: 3, timeout: 0.05", 1))
    bad = running.fake("bad")
    bad.gated = True
    monkeypatch.setattr(bad, "status", asyncio.Event().wait)
    assert await drawn_by(running) == "good"
    await ready(running, is_ready=False)
    assert running.engine.fleet.members["bad"].detail == "does not answer"


async def test_running_jobs_of_a_provider_that_is_taken_out_go_on_and_their_success_brings_it_back(
    start: Any, clock: Clock
) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.gated = True
    job = asyncio.create_task(drawn_by(running))
    await bad.held()
    bad.fail_with(ProviderResponseError("that is no picture"), times=3)
    assert [await drawn_by(running) for _ in range(4)] == ["good"] * 4
    bad.gated = False
    bad.release()
    assert await job == "bad"
    await ready(running)
    assert await drawn_by(running) == "bad"


async def test_a_look_that_was_under_way_does_not_bring_it_back_early(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(TWO)
    bad, answer, asked = running.fake("bad"), asyncio.Event(), asyncio.Event()
    status = bad.status

    async def slow() -> Any:
        asked.set()
        await answer.wait()
        return await status()

    monkeypatch.setattr(bad, "status", slow)
    await clock.forward(WATCH_SECONDS)
    await asked.wait()
    bad.fail_with(ProviderResponseError("that is no picture"))
    for _ in range(3):
        await drawn_by(running)
    answer.set()
    assert [await drawn_by(running) for _ in range(3)] == ["good"] * 3
    assert len(bad.calls) == 3


@pytest.mark.parametrize(
    "error",
    [OutOfMemoryError("too large"), ProviderRejectedError("no such sampler"), ProviderBusyError("come back later")],
    ids=lambda error: error.code,
)
async def test_failures_that_are_the_requests_own_count_against_nobody(
    start: Any, clock: Clock, error: Exception
) -> None:
    running = await start(TWO)
    running.fake("bad").fail_with(error, times=5)
    assert [await drawn_by(running) for _ in range(6)] == ["good"] * 5 + ["bad"]


# A model


async def test_a_missing_checkpoint_does_not_condemn_the_server(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    broken: dict[str, Exception] = {"x": ModelNotFoundError("no such file")}
    break_model(bad, monkeypatch, broken)
    assert [await drawn_by(running, model="x") for _ in range(3)] == ["good"] * 3
    assert await drawn_by(running, model="y") == "bad"
    assert [request.model for request in bad.requests] == ["x", "y"]
    broken.clear()
    await clock.forward(COOLDOWN)
    assert await drawn_by(running, model="x") == "bad"


async def test_a_model_that_is_gone_is_looked_for_at_once_and_no_longer_offered(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagerouter.fleet.member.LIST_SECONDS", 3600)
    running = await start(ALONE + "breaker: {cooldown: 1h, longest: 1h}\n")
    bad, fleet = running.fake("bad"), running.engine.fleet
    break_model(bad, monkeypatch, {"x": ModelNotFoundError("no such file")})
    listed = [model for model in await bad.models() if model.id == "y"]

    async def fewer() -> Any:
        return listed

    monkeypatch.setattr(bad, "models", fewer)
    assert (await running.draw(model="x")).status_code == 404
    await until(lambda: fleet.catalogue.names() == ["y"])
    assert fleet.members["bad"].targets == {}


async def test_a_model_that_fails_three_times_rests_alone_and_the_answer_says_why(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(ALONE)
    break_model(running.fake("bad"), monkeypatch, {"x": GenerationError("the file is torn")})
    for _ in range(3):
        assert (await running.draw(model="x")).status_code == 502
    reply = await running.draw(model="x")
    assert reply.status_code == 503
    assert "failed 3 times in a row, last: the file is torn; tried again in " in reply.json()["error"]["message"]
    assert int(reply.headers["retry-after"]) > 0
    assert await drawn_by(running, model="y") == "bad"
    assert len(running.fake("bad").calls) == 4


async def test_a_configuration_that_cant_work_is_tried_once(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(TWO)
    break_model(running.fake("bad"), monkeypatch, {"x": MisconfiguredError("the workflow has no output")})
    assert [await drawn_by(running, model="x") for _ in range(3)] == ["good"] * 3
    assert len(running.fake("bad").calls) == 1


async def test_one_job_at_a_time_tries_a_model_and_the_trial_outlives_a_client_that_hangs_up(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    broken: dict[str, Exception] = {"x": MisconfiguredError("the workflow has no output")}
    break_model(bad, monkeypatch, broken)
    await drawn_by(running, model="x")
    broken.clear()
    bad.gated = True
    await clock.forward(COOLDOWN)
    trial = asyncio.create_task(drawn_by(running, model="x"))
    await bad.held()
    assert await drawn_by(running, model="x") == "good"
    trial.cancel()
    await bad.until(lambda: bool(bad.cancelled))
    again = asyncio.create_task(drawn_by(running, model="x"))
    await bad.held()
    bad.gated = False
    bad.release()
    assert await again == "bad"
    assert running.engine.fleet.members["bad"].targets == {}


async def test_models_are_listed_anew_before_one_is_tried_again(
    start: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start(ALONE)
    bad, member = running.fake("bad"), running.engine.fleet.members["bad"]
    break_model(bad, monkeypatch, {"x": MisconfiguredError("the workflow has no output")})
    before = member.listed
    assert (await running.draw(model="x")).status_code == 500
    await clock.forward(COOLDOWN)
    await until(lambda: member.listed >= before + COOLDOWN)
    assert [request.model for request in bad.requests] == ["x"]


async def test_every_change_is_logged_once(start: Any, clock: Clock) -> None:
    running = await start(TWO)
    bad = running.fake("bad")
    bad.fail_with(ProviderResponseError("that is no picture"), times=4)
    with capture_logs() as logs:
        for _ in range(3):
            await drawn_by(running)
        for rest in (COOLDOWN, 2 * COOLDOWN):
            await clock.forward(rest)
            await ready(running)
            await drawn_by(running)
    changes = [entry for entry in logs if entry["event"].startswith("breaker.")]
    assert [entry["event"].removeprefix("breaker.") for entry in changes] == [
        "open",
        "half_open",
        "open",
        "half_open",
        "closed",
    ]
    assert {entry["provider"] for entry in changes} == {"bad"}
    assert [entry["seconds"] for entry in changes if entry["event"] == "breaker.open"] == [10, 20]
