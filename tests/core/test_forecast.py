"""What would happen to a job that came now."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.errors import ProviderUnavailableError
from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.scheduling.choice import Rule, Slot, choose
from imagerouter.scheduling.costs import Costs
from imagerouter.scheduling.forecast import forecast, spread
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.scheduling.waiting import Group, Waiter

LOAD, NOW = 8.0, 1000.0
NAMES = ("one", "two", "three")
RESIDENT = frozenset({"m"})


class Known(Costs):
    """Providers by the seconds that an image (work 1) takes there."""

    def __init__(self, **seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def render(self, provider: str, model: str, work: float, jobs: int = 1) -> float:
        return self.seconds.get(provider, 1.0) * work

    def loading(self, provider: str, model: str) -> float:
        return LOAD


def target(provider: str, weight: float = 1.0, model: str = "m") -> Target:
    return Target(provider, Model(id=model), weight=weight)


def targets(*providers: str) -> list[Target]:
    return [target(provider) for provider in providers]


def shares(slots: dict[str, Slot], costs: Costs, n: int, *candidates: Target) -> dict[str, int]:
    found = spread(slots, costs, candidates or targets(*slots), 1.0, n)
    assert len({share.provider for share, _ in found}) == len(found)
    return {share.provider: count for share, count in found}


def warm(**settings: Any) -> Slot:
    return Slot(1, resident=RESIDENT, **settings)


# Seconds


async def seconds_of(made: Scheduler, provider: str = "one") -> tuple[float, float, float]:
    told = made.forecast(target(provider), 1.0)
    assert told.total == told.queue + told.load + told.render
    return told.queue, told.load, told.render


def scheduler(**seconds: float) -> Scheduler:
    made = Scheduler(limit=100, quantum=16, wait_timeout=1000, costs=Known(**seconds))
    for name in seconds:
        made.open(name, 1)
    return made


async def test_an_idle_provider_takes_a_load_only_where_the_model_is_not_there() -> None:
    made = scheduler(one=2.0)
    queue, load, render = await seconds_of(made)
    assert (queue, load, render) == (0.0, LOAD, 2.0)
    made.observe("one", RESIDENT)
    assert (await seconds_of(made))[1] == 0.0


HOUR = 3600.0
"""So long that the time that a test itself takes doesn't show."""


async def test_a_busy_provider_is_waited_for_and_so_are_the_jobs_in_front() -> None:
    made = scheduler(one=HOUR)
    made.observe("one", RESIDENT)
    with await made.lease([target("one")]):
        assert (await seconds_of(made))[0] == pytest.approx(HOUR, rel=0.01)
        waiting = [asyncio.create_task(_run(made, target("one"))) for _ in range(3)]
        while made.waiting < 3:
            await asyncio.sleep(0)
        assert (await seconds_of(made))[0] == pytest.approx(4 * HOUR, rel=0.01)
        assert made.waiting_for("one") == 3
    await asyncio.gather(*waiting)
    assert made.waiting_for("one") == 0


async def test_jobs_that_could_go_elsewhere_too_count_for_their_share() -> None:
    made = scheduler(one=HOUR, two=HOUR)
    for name in ("one", "two"):
        made.observe(name, RESIDENT)
    with await made.lease([target("one")]), await made.lease([target("two")]):
        waiting = [asyncio.create_task(_run(made, target("one"), target("two"))) for _ in range(4)]
        while made.waiting < 4:
            await asyncio.sleep(0)
        assert (await seconds_of(made))[0] == pytest.approx(HOUR + 4 * HOUR / 2, rel=0.01)
    await asyncio.gather(*waiting)


async def _run(made: Scheduler, *candidates: Target) -> None:
    with await made.lease(candidates):
        await asyncio.sleep(0)


async def test_somebody_elses_jobs_are_waited_for() -> None:
    made = scheduler(one=2.0)
    made.observe("one", RESIDENT)
    idle = (await seconds_of(made))[0]
    made.observe("one", RESIDENT, jobs=3)
    assert (await seconds_of(made))[0] > idle == 0.0


def test_a_provider_that_was_never_seen_has_a_forecast_all_the_same() -> None:
    told = forecast({}, [], Costs(), target("nowhere"), work=1.0, now=NOW)
    assert told.queue == 0.0
    assert told.total > 0.0


# Order


async def test_the_preview_is_the_order_in_which_a_job_would_get_its_providers() -> None:
    made = scheduler(one=3.0, two=1.0, three=2.0)
    for name in NAMES:
        made.observe(name, RESIDENT)
    assert [each.provider for each in made.preview(targets(*NAMES), 1.0, {})] == ["two", "three", "one"]
    ranks = {"one": 0, "two": 1, "three": 1}
    assert [each.provider for each in made.preview(targets(*NAMES), 1.0, ranks)] == ["one", "two", "three"]


async def test_a_provider_that_is_busy_or_unknown_comes_last_or_not_at_all() -> None:
    made = scheduler(one=1.0, two=3.0)
    for name in ("one", "two"):
        made.observe(name, RESIDENT)
    with await made.lease([target("one")]):
        assert [each.provider for each in made.preview(targets("one", "two", "gone"), 1.0, {})] == ["two", "one"]
    assert made.preview(targets("gone"), 1.0, {}) == []


async def test_asking_changes_nothing() -> None:
    made = scheduler(one=1.0, two=3.0)
    for _ in range(2):
        made.preview(targets("one", "two"), 1.0, {})
        made.forecast(target("one"), 1.0)
        made.spread(targets("one", "two"), 1.0, 4)
    assert made.waiting == made.running == made.waiting_for("one") == 0
    assert all(not slot.resident and not slot.used for slot in made.slots.values())


slots_of_any_kind = st.fixed_dictionaries(
    {
        name: st.tuples(st.booleans(), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.floats(0.1, 9.0))
        for name in NAMES
    }
)
"""By provider: whether the model is loaded, capacity, jobs of ours, jobs of others, seconds of an image."""


def laid_out(drawn: dict[str, Any]) -> dict[str, Slot]:
    slots = {}
    for name, (is_warm, capacity, running, foreign, each) in drawn.items():
        ends = {-place: NOW + each for place in range(min(running, capacity))}
        slots[name] = Slot(capacity, len(ends), RESIDENT if is_warm else frozenset(), foreign, ends=ends)
    return slots


@given(slots_of_any_kind, st.permutations(range(3)), st.booleans())
async def test_what_the_preview_names_first_is_what_a_job_gets_that_finds_room(
    drawn: dict[str, Any], places: list[int], ordered: bool
) -> None:
    made = Scheduler(limit=100, quantum=16, wait_timeout=1000, costs=Known(**{n: s[-1] for n, s in drawn.items()}))
    made.slots = laid_out(drawn)
    ranks = dict(zip(NAMES, places, strict=True)) if ordered else {}
    loop = asyncio.get_running_loop()
    waiter = Waiter(1, {t.provider: t for t in targets(*NAMES)}, loop.create_future(), loop.time(), 1.0, ranks)
    group = Group(waiter.candidates)
    group.add(waiter)
    choice = choose(made.slots, [group], made.costs, Rule(16, 500), loop.time())
    order = [each.provider for each in made.preview(targets(*NAMES), 1.0, ranks)]
    assert sorted(order) == sorted(NAMES)
    if choice is not None:
        assert order[0] == choice.provider


# Spreading


def test_images_go_to_idle_providers_by_how_fast_they_are() -> None:
    slots = {"one": warm(), "two": warm()}
    assert shares(slots, Known(one=1.0, two=1.0), 4) == {"one": 2, "two": 2}
    assert shares(slots, Known(one=1.0, two=3.0), 4) == {"one": 3, "two": 1}


def test_a_provider_that_would_take_longer_for_one_image_than_another_for_all_gets_none() -> None:
    assert shares({"one": warm(), "two": warm()}, Known(one=1.0, two=9.0), 3) == {"one": 3}


def test_a_weight_counts_as_speed() -> None:
    slots, costs = {"one": warm(), "two": warm()}, Known(one=1.0, two=1.0)
    assert shares(slots, costs, 4, target("one"), target("two", weight=3.0)) == {"two": 3, "one": 1}


@pytest.mark.parametrize(
    "slot",
    [
        Slot(1),
        Slot(1, resident=frozenset({"another"})),
        warm(foreign=1),
        warm(running=1),
        Slot(0, resident=RESIDENT),
    ],
    ids=["cold", "with another model", "with somebody else's job", "busy", "out"],
)
def test_only_an_idle_provider_with_the_model_gets_a_share(slot: Slot) -> None:
    assert shares({"one": warm(), "two": slot}, Known(one=1.0, two=1.0), 4) == {"one": 4}


def test_a_provider_with_room_for_two_jobs_gets_two_shares() -> None:
    found = spread({"one": Slot(2, resident=RESIDENT)}, Known(one=1.0), targets("one"), 1.0, 4)
    assert [(share.provider, count) for share, count in found] == [("one", 2), ("one", 2)]


def test_two_models_of_one_provider_do_not_make_two_of_it() -> None:
    slots = {"one": Slot(1, resident=frozenset({"m", "m-fp8"}))}
    found = spread(slots, Known(one=1.0), [target("one"), target("one", model="m-fp8")], 1.0, 4)
    assert [count for _, count in found] == [4]


@given(slots_of_any_kind, st.integers(1, 12))
def test_no_image_would_have_been_done_sooner_elsewhere(drawn: dict[str, Any], n: int) -> None:
    slots, costs = laid_out(drawn), Known(**{name: made[-1] for name, made in drawn.items()})
    found = spread(slots, costs, targets(*NAMES), 1.0, n)
    free = {
        name: slot.capacity - slot.running
        for name, slot in slots.items()
        if slot.resident and not slot.foreign and slot.free
    }
    assert sum(count for _, count in found) == (n if free else 0)
    assert [count for _, count in found] == sorted((count for _, count in found), reverse=True)
    assert min((count for _, count in found), default=1) >= 1
    used = {name: [count for share, count in found if share.provider == name] for name in NAMES}
    assert all(len(counts) <= free.get(name, 0) for name, counts in used.items())
    each = {name: costs.render(name, "m", 1.0) for name in NAMES}
    last = max((count * each[share.provider] for share, count in found), default=0.0)
    for name, slots_free in free.items():
        for count in used[name] + [0] * (slots_free - len(used[name])):
            assert last <= (count + 1) * each[name] * (1 + 1e-9)


async def test_nothing_is_spread_while_others_wait() -> None:
    made = scheduler(one=1.0, two=1.0, three=1.0)
    for name in NAMES:
        made.observe(name, RESIDENT)
    assert len(made.spread(targets(*NAMES), 1.0, 6)) == 3
    with await made.lease([target("one")]):
        assert len(made.spread(targets(*NAMES), 1.0, 6)) == 2
        waiting = asyncio.create_task(_run(made, target("one")))
        while not made.waiting:
            await asyncio.sleep(0)
        assert made.spread(targets(*NAMES), 1.0, 6) == []
    await waiting


async def test_a_provider_that_went_away_gets_no_share() -> None:
    made = scheduler(one=1.0, two=1.0)
    for name in ("one", "two"):
        made.observe(name, RESIDENT)
    made.close("two", lambda: ProviderUnavailableError("gone"))
    assert [share.provider for share, _ in made.spread(targets("one", "two"), 1.0, 4)] == ["one"]
    made.forget("two")
    assert [share.provider for share, _ in made.spread(targets("one", "two"), 1.0, 4)] == ["one"]
