"""When a breaker opens, for how long, and who may try it then."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imagerouter.config import BreakerSettings
from imagerouter.fleet.breaker import Breaker


def breaker(failures: int = 3, cooldown: float = 10, longest: float = 60) -> Breaker:
    return Breaker(BreakerSettings(failures=failures, cooldown=cooldown, longest=longest))


def fail(made: Breaker, times: int = 1, now: float = 0) -> list[bool]:
    return [made.failed(now, "no picture") for _ in range(times)]


def test_it_opens_at_the_last_of_so_many_failures_in_a_row() -> None:
    made = breaker()
    assert fail(made, 2) == [False, False]
    assert made.state(0) == "closed"
    assert fail(made) == [True]
    assert made.state(9.9) == "open"
    assert made.state(10) == "half_open"


def test_a_success_in_between_starts_the_count_anew() -> None:
    made = breaker()
    fail(made, 2)
    assert not made.succeeded()
    assert fail(made, 2) == [False, False]


def test_one_failure_that_is_proof_opens_it() -> None:
    assert breaker().failed(0, "no such model", is_proof=True)


def test_each_failed_trial_doubles_the_cooldown_up_to_the_longest() -> None:
    made, now, seen = breaker(failures=1, cooldown=10, longest=60), 0.0, []
    for _ in range(5):
        fail(made, now=now)
        seen.append(made.seconds(now))
        now += made.seconds(now)
    assert seen == [10, 20, 40, 60, 60]


def test_after_a_success_the_cooldown_is_short_again() -> None:
    made = breaker(failures=1)
    fail(made, now=0)
    fail(made, now=10)
    assert made.succeeded()
    fail(made, now=50)
    assert made.seconds(50) == 10


def test_what_fails_while_it_is_open_was_begun_before_and_prolongs_nothing() -> None:
    made = breaker()
    fail(made, 3)
    assert fail(made, 4, now=5) == [False] * 4
    assert made.seconds(5) == 5


def test_a_trial_that_was_given_up_leaves_room_for_another() -> None:
    made = breaker(failures=1)
    fail(made)
    assert made.try_out(10)
    assert not made.admits(10)
    made.tried()
    assert made.admits(10)
    assert made.try_out(10)


@pytest.mark.parametrize(
    ("failures", "now", "words"),
    [
        (1, 0, "failed: no picture; tried again in 10 s"),
        (3, 0.5, "failed 3 times in a row, last: no picture; tried again in 10 s"),
        (3, 12, "failed 3 times in a row, last: no picture; being tried again"),
    ],
)
def test_it_says_why_in_plain_words(failures: int, now: float, words: str) -> None:
    made = breaker(failures=failures)
    fail(made, failures)
    assert made.why(now) == words


class Life(RuleBasedStateMachine):
    """Any order of jobs and waiting, with jobs that outlast what happens meanwhile."""

    @initialize(failures=st.integers(1, 5), cooldown=st.integers(1, 100), longest=st.integers(1, 1000))
    def begin(self, failures: int, cooldown: int, longest: int) -> None:
        self.breaker = breaker(failures, cooldown, longest)
        self.now = 0.0
        self.in_a_row = 0
        self.trials = 0
        self.others = 0

    @rule(seconds=st.integers(0, 2000))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def ask_and_begin_a_job(self) -> None:
        admitted, state = self.breaker.admits(self.now), self.breaker.state(self.now)
        assert admitted == (state == "closed" or (state == "half_open" and not self.trials))
        if admitted:
            is_trial = self.breaker.try_out(self.now)
            assert is_trial == (state == "half_open")
            self.trials += is_trial
            self.others += not is_trial

    @rule()
    def begin_a_job_without_asking(self) -> None:
        self.trials += self.breaker.try_out(self.now)

    @precondition(lambda self: self.trials)
    @rule(ending=st.sampled_from(["good", "bad", "given up"]))
    def end_a_trial(self, ending: str) -> None:
        self.breaker.tried()
        self.trials -= 1
        self.end(ending)

    @precondition(lambda self: self.others)
    @rule(ending=st.sampled_from(["good", "bad", "given up"]))
    def end_another_job(self, ending: str) -> None:
        self.others -= 1
        self.end(ending)

    def end(self, ending: str) -> None:
        before = self.breaker.state(self.now)
        if ending == "good":
            self.in_a_row = 0
            assert self.breaker.succeeded() == (before != "closed")
            assert self.breaker.state(self.now) == "closed"
        elif ending == "bad":
            self.in_a_row += 1
            opened = self.breaker.failed(self.now, "no picture")
            enough = self.in_a_row >= self.breaker.settings.failures
            assert opened == (before == "half_open" or (before == "closed" and enough))
            assert not opened or self.breaker.state(self.now) == "open"

    @invariant()
    def at_most_one_job_tries_it(self) -> None:
        assert getattr(self, "trials", 0) <= 1

    @invariant()
    def it_rests_no_longer_than_the_longest_and_only_after_failures_enough(self) -> None:
        if hasattr(self, "breaker"):
            assert self.breaker.seconds(self.now) <= self.breaker.settings.longest
            if self.in_a_row < self.breaker.settings.failures:
                assert self.breaker.state(self.now) == "closed"


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, deadline=None)
