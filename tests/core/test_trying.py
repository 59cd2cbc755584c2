"""What is tried again, when, and what a client is told when nothing helped."""

import asyncio
from collections.abc import Iterable

import pytest

from imagerouter.dispatching import trying
from imagerouter.dispatching.trying import FIRST_PAUSE, LONGEST_PAUSE, Trying, verdict
from imagerouter.errors import (
    GenerationError,
    ImageRouterError,
    ModelNotFoundError,
    NoProviderError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.jobs import Job, Preferences, Target
from imagerouter.provider import Model

ONE, TWO = (Target(name, Model(id="m")) for name in ("one", "two"))
AWAY = ProviderUnavailableError("nobody listens")


class Clock:
    """Loop time in seconds that passes only while something sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(trying, "now", lambda: made.now)
    monkeypatch.setattr(asyncio, "sleep", made.sleep)
    return made


def begun(preferences: Preferences | None = None) -> Trying:
    return Trying(Job(prompt="x", preferences=preferences or Preferences()), lambda *_: None, started=0.0)


async def names(tried: Trying, targets: Iterable[Target]) -> list[str]:
    return [target.provider for target in await tried.next_of(targets)]


async def test_a_target_that_could_not_be_reached_rests_while_another_is_tried(clock: Clock) -> None:
    tried = begun()
    assert await names(tried, [ONE, TWO]) == ["one", "two"]
    tried.failed(ONE, AWAY, retries=2)
    assert await names(tried, [ONE, TWO]) == ["two"]
    assert clock.slept == []


async def test_it_is_tried_again_after_a_pause_that_doubles_and_at_most_as_often_as_allowed(clock: Clock) -> None:
    tried = begun()
    for _ in range(8):
        assert await names(tried, [ONE]) == ["one"]
        tried.failed(ONE, AWAY, retries=8)
    assert await names(tried, [ONE]) == ["one"]
    tried.failed(ONE, AWAY, retries=8)
    assert await names(tried, [ONE]) == []
    expected = [min(FIRST_PAUSE * 2**tries, LONGEST_PAUSE) for tries in range(8)]
    assert len(clock.slept) == 8
    assert all(0.8 * pause <= slept <= 1.2 * pause for pause, slept in zip(expected, clock.slept, strict=True))


async def test_of_several_that_rest_the_one_that_is_ready_first_is_waited_for(clock: Clock) -> None:
    tried = begun()
    for _ in range(3):
        tried.failed(ONE, AWAY, retries=5)
    tried.failed(TWO, AWAY, retries=5)
    assert await names(tried, [ONE, TWO]) == ["two"]
    (slept,) = clock.slept
    assert slept <= 1.2 * FIRST_PAUSE


async def test_with_no_retries_one_failure_is_the_end_of_a_target(clock: Clock) -> None:
    tried = begun()
    tried.failed(ONE, AWAY, retries=0)
    assert await names(tried, [ONE]) == []
    assert clock.slept == []


@pytest.mark.parametrize(
    "kind",
    [
        GenerationError, ModelNotFoundError, OutOfMemoryError, ProviderBusyError, ProviderRejectedError,
        ProviderResponseError, ProviderTimeoutError,
    ],
)  # fmt: skip
async def test_what_may_have_been_drawn_or_would_fail_again_is_not_sent_there_again(
    kind: type[ImageRouterError], clock: Clock
) -> None:
    tried = begun()
    tried.failed(ONE, kind("no"), retries=9)
    assert await names(tried, [ONE, TWO]) == ["two"]


async def test_a_client_that_allows_no_fallbacks_stays_on_the_target_that_failed(clock: Clock) -> None:
    tried = begun(Preferences(allow_fallbacks=False))
    tried.failed(ONE, AWAY, retries=1)
    assert tried.goes_on(ONE)
    assert await names(tried, [ONE, TWO]) == ["one"]
    tried.failed(ONE, AWAY, retries=1)
    assert not tried.goes_on(ONE)
    assert await names(tried, [ONE, TWO]) == []


async def test_a_client_that_allows_fallbacks_goes_on_whatever_failed(clock: Clock) -> None:
    tried = begun()
    tried.failed(ONE, GenerationError("no"), retries=1)
    assert tried.goes_on(ONE)


async def test_after_a_reload_every_target_may_be_tried_again(clock: Clock) -> None:
    tried = begun()
    tried.failed(ONE, GenerationError("no"), retries=0)
    tried.failed(TWO, AWAY, retries=1)
    tried.begin_anew()
    assert await names(tried, [ONE, TWO]) == ["one", "two"]
    tried.failed(TWO, AWAY, retries=1)
    assert await names(tried, [TWO]) == ["two"], "it is its first failure again"


async def test_a_client_that_allows_no_fallbacks_may_get_another_target_after_a_reload(clock: Clock) -> None:
    tried = begun(Preferences(allow_fallbacks=False))
    tried.failed(ONE, AWAY, retries=1)
    tried.goes_on(ONE)
    tried.begin_anew()
    assert await names(tried, [TWO]) == ["two"]


def test_each_attempt_is_told_with_its_times_and_reason() -> None:
    tried = begun()
    tried.images = (2, 3)
    tried.note(ONE, 1.5, 0.25, GenerationError("it burns"))
    tried.note(TWO, 2.0, 0.0)
    bad, good = tried.attempts
    assert (bad.provider, bad.target, bad.ok, bad.ms, bad.queue_ms) == ("one", "m", False, 1500.0, 250.0)
    assert (bad.reason, bad.code, bad.images) == ("it burns", "generation_failed", (2, 3))
    assert (good.provider, good.ok, good.ms, good.reason, good.code) == ("two", True, 2000.0, None, None)
    assert [failure.message for failure in tried.failures] == ["it burns"]


def test_an_attempt_that_was_cancelled_is_told_and_is_no_failure() -> None:
    tried = begun()
    tried.stopped(ONE, 1.5, 0.25)
    (stopped,) = tried.attempts
    assert (stopped.provider, stopped.ok, stopped.ms, stopped.queue_ms) == ("one", False, 1500.0, 250.0)
    assert stopped.code == "cancelled"
    assert stopped.reason
    assert tried.failures == []


def test_a_second_attempt_beside_the_first_has_times_of_its_own_and_shares_what_was_tried() -> None:
    tried = begun()
    tried.queued, tried.lost = 1.0, 2.0
    second = tried.beside(4.0)
    assert (second.started, second.queued, second.lost) == (tried.started, 1.0, 6.0)
    second.note(ONE, 1.5, 0.25, GenerationError("it burns"))
    assert [attempt.provider for attempt in tried.attempts] == ["one"]
    assert [failure.message for failure in tried.failures] == ["it burns"]
    assert tried.lost == 2.0, "it ran while the first did"


def test_one_failure_speaks_for_itself() -> None:
    failure = GenerationError("it burns")
    assert verdict([failure], 5.0) is failure
    assert failure.retry_after is None, "a picture may have been drawn"


def test_several_failures_are_listed_once_each() -> None:
    error = verdict([GenerationError("a burns"), OutOfMemoryError("b is small"), GenerationError("a burns")], 5.0)
    assert isinstance(error, NoProviderError)
    assert error.message == "every provider failed (a burns; b is small)"
    assert error.retry_after is None


def test_a_mistake_that_every_provider_minds_is_the_clients() -> None:
    assert isinstance(
        verdict([ProviderRejectedError("no"), ProviderRejectedError("never")], 5.0), ProviderRejectedError
    )


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        ([ProviderBusyError("full")], 5.0),
        ([ProviderBusyError("full", retry_after=30), ProviderUnavailableError("away")], 30),
        ([ProviderBusyError("full"), ProviderTimeoutError("slow")], None),
    ],
)
def test_coming_again_is_suggested_only_where_nothing_was_drawn(
    failures: list[ImageRouterError], seconds: float | None
) -> None:
    assert verdict(failures, 5.0).retry_after == seconds
