"""The choice itself: pure, so every moment can be laid out on the table."""

import asyncio
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.scheduling.choice import MOST_PASSED, Choice, Rule, Slot, choose
from imagerouter.scheduling.costs import Costs
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.scheduling.waiting import Group, Waiter, weight_of

RENDER, LOAD, NOW = 1.0, 8.0, 1000.0
RULE = Rule(quantum=16.0, patience=1e6)


def learned() -> Costs:
    costs = Costs()
    for _ in range(60):
        costs.rendered("any", "any", 1.0, RENDER)
        costs.loaded("any", "any", LOAD)
    return costs


COSTS = learned()


def group(model: str, jobs: int, *providers: str, waited: float = 1.0, first: int = 0, priority: int = 0) -> Group:
    """Jobs for one model that all have waited alike, numbered from ``first``."""
    targets = {name: Target(name, Model(id=model)) for name in providers or ("one", "two")}
    future = cast("asyncio.Future[Any]", None)
    made = None
    for number in range(first, first + jobs):
        waiter = Waiter(number, targets, future, arrived=NOW - waited, weight=weight_of(priority))
        made = made or Group(waiter.candidates)
        made.add(waiter)
    assert made is not None
    return made


def having(model: str, **settings: Any) -> Slot:
    return Slot(1, resident=frozenset({model}), **settings)


def busy(model: str, left: float = RENDER) -> Slot:
    return having(model, running=1, ends={-1: NOW + left})


def chosen(slots: dict[str, Slot], *groups: Group, rule: Rule = RULE) -> tuple[str, str] | None:
    choice = choose(slots, groups, COSTS, rule, NOW)
    return None if choice is None else (choice.provider, choice.group.models[choice.provider])


def test_nothing_is_chosen_when_nothing_is_free() -> None:
    assert chosen({"one": busy("A"), "two": busy("B")}, group("A", 1)) is None


def test_nothing_is_chosen_when_nobody_waits() -> None:
    assert chosen({"one": Slot(1)}) is None


def test_a_provider_that_was_taken_out_gets_nothing() -> None:
    assert chosen({"one": Slot(0, resident=frozenset({"A"})), "two": having("B")}, group("A", 1)) == ("two", "A")


def test_an_idle_provider_lets_a_job_wait_for_the_one_that_has_its_model() -> None:
    assert chosen({"one": busy("A"), "two": having("B")}, group("A", 3)) is None


def test_a_long_backlog_is_worth_a_second_load() -> None:
    assert chosen({"one": busy("A"), "two": having("B")}, group("A", 60)) == ("two", "A")


def test_what_else_waits_makes_a_second_load_worth_less() -> None:
    slots = {"one": busy("A"), "two": busy("B"), "three": busy("C"), "four": Slot(1)}
    names = tuple(slots)
    a = group("A", 22, *names)
    assert chosen(slots, a) == ("four", "A")
    assert chosen(slots, a, group("B", 20, *names), group("C", 20, *names)) is None


def test_a_provider_that_hangs_is_not_waited_for() -> None:
    slots = {"one": busy("A", left=-60.0), "two": having("B")}
    assert chosen(slots, group("A", 1)) == ("two", "A")


def test_an_idle_provider_evicts_nothing_where_another_one_is_empty_handed_for_longer() -> None:
    slots = {"one": having("B", used=7), "two": having("C", used=3)}
    assert chosen(slots, group("A", 1)) == ("two", "A")


def test_the_next_load_is_for_those_who_waited_most_for_what_they_cost() -> None:
    slots = {"one": having("A")}
    assert chosen(slots, group("B", 1, waited=50.0), group("C", 9, waited=20.0)) == ("one", "C")
    assert chosen(slots, group("B", 1, waited=200.0), group("C", 9, waited=20.0)) == ("one", "B")


def test_who_was_passed_over_too_often_goes_first() -> None:
    slots, few, many = {"one": having("A")}, group("B", 1, waited=1.0), group("C", 90, waited=900.0)
    assert chosen(slots, few, many) == ("one", "C")
    few.passed = MOST_PASSED
    assert chosen(slots, few, many) == ("one", "B")
    many.passed = MOST_PASSED + 1
    assert chosen(slots, few, many) == ("one", "C")


def test_who_was_passed_over_too_often_is_loaded_even_where_another_provider_has_the_model() -> None:
    slots, late = {"one": busy("A"), "two": having("B")}, group("A", 1)
    late.passed = MOST_PASSED
    assert chosen(slots, late) == ("two", "A")


@pytest.mark.parametrize(("streak", "model"), [(0.0, "A"), (127.0, "A"), (128.5, "B")])
def test_a_model_leaves_after_sixteen_loads_worth_of_rendering(streak: float, model: str) -> None:
    slots = {"one": having("A", streak=streak)}
    assert chosen(slots, group("A", 9), group("B", 1)) == ("one", model)


def test_a_model_stays_when_nobody_else_waits_however_long_it_ran() -> None:
    assert chosen({"one": having("A", streak=1e9)}, group("A", 1)) == ("one", "A")


def test_urgent_jobs_for_another_model_shorten_the_quantum() -> None:
    slots = {"one": having("A", streak=40.0)}
    assert chosen(slots, group("A", 9), group("B", 1)) == ("one", "A")
    assert chosen(slots, group("A", 9), group("B", 1, priority=1)) == ("one", "B")


def test_jobs_of_somebody_else_count_as_much_as_a_load() -> None:
    slots = {"one": having("A", foreign=1), "two": Slot(1)}
    assert chosen(slots, group("A", 1)) == ("two", "A")


def test_a_job_waits_for_a_busy_provider_only_if_that_would_take_it() -> None:
    slots = {"one": having("A", foreign=1), "two": busy("B", left=0.5)}
    assert chosen(slots, group("A", 1)) is None
    assert chosen(slots, group("A", 1), group("B", 40)) == ("one", "A")


slots_of_any_kind = st.fixed_dictionaries(
    {name: st.tuples(st.sampled_from("ABC"), st.integers(0, 3), st.integers(1, 2)) for name in ("one", "two", "three")}
)
jobs_of_any_kind = st.lists(
    st.tuples(
        st.sampled_from("ABCD"),
        st.lists(st.sampled_from(["one", "two", "three"]), min_size=1, max_size=3, unique=True),
        st.booleans(),
        st.sampled_from([None, "me", "you"]),
        st.integers(-5, 5),
        st.floats(0, 100),
    ),
    max_size=40,
)


@given(slots_of_any_kind, jobs_of_any_kind)
async def test_every_job_runs_once_whatever_waits_for_what(slots: dict[str, Any], jobs: list[Any]) -> None:
    made = Scheduler(limit=100, quantum=1, wait_timeout=5.0)
    for name, (model, foreign, capacity) in slots.items():
        made.open(name, capacity)
        made.observe(name, frozenset({model}), jobs=foreign)
    ran: list[int] = []

    async def one(number: int, job: Any) -> None:
        model, providers, ordered, owner, priority, work = job
        candidates = [Target(name, Model(id=model)) for name in providers]
        ranks = {name: place for place, name in enumerate(providers)} if ordered else {}
        with await made.lease(candidates, work=work, ranks=ranks, owner=owner, priority=priority) as lease:
            assert lease.target in candidates
            assert made.slots[lease.target.provider].running <= made.slots[lease.target.provider].capacity
            await asyncio.sleep(0)
        ran.append(number)

    await asyncio.gather(*(one(number, job) for number, job in enumerate(jobs)))
    assert sorted(ran) == list(range(len(jobs)))
    assert made.waiting == made.running == 0


@given(jobs_of_any_kind)
def test_choosing_changes_nothing(jobs: list[Any]) -> None:
    groups = [
        group(model, 1, *providers, first=number, priority=priority)
        for number, (model, providers, _, _, priority, _) in enumerate(jobs)
    ]
    slots = {"one": having("A"), "two": busy("B"), "three": Slot(2)}

    def key() -> Any:
        found: Choice | None = choose(slots, groups, COSTS, RULE, NOW)
        return found and (found.provider, found.group, found.key)

    assert key() == key()
