"""One queue, late binding, resident models first, fair between owners, nobody starves."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.errors import ProviderUnavailableError, QueueFullError
from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.scheduling.choice import MOST_PASSED
from imagerouter.scheduling.costs import Costs
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.scheduling.waiting import Lease

RENDER, LOAD = 1.0, 8.0
"""Seconds per job and per load, as the costs of these tests have learned them."""


def target(provider: str, model: str = "m") -> Target:
    return Target(provider, Model(id=model))


def costs(*providers: str, models: str = "mABCD", load: float = LOAD) -> Costs:
    made = Costs()
    for provider in providers:
        for model in models:
            for _ in range(60):
                made.rendered(provider, model, 1.0, RENDER)
                made.loaded(provider, model, load)
    return made


def scheduler(quantum: float = 16, limit: int = 100, wait_timeout: float = 1000, **slots: int) -> Scheduler:
    made = Scheduler(limit=limit, quantum=quantum, wait_timeout=wait_timeout, costs=costs(*slots))
    for name, capacity in slots.items():
        made.open(name, capacity)
    return made


async def run_all(
    made: Scheduler, jobs: list[list[Target]], options: list[dict[str, Any]] | None = None
) -> list[tuple[int, str, str]]:
    """Start all jobs in order; each holds its lease for one turn of the loop. (number, provider, model) as bound."""
    bound: list[tuple[int, str, str]] = []

    async def one(number: int, candidates: list[Target]) -> None:
        with await made.lease(candidates, **(options[number] if options else {})) as lease:
            bound.append((number, lease.target.provider, lease.target.model.id))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number, candidates in enumerate(jobs):
            group.create_task(one(number, candidates))
    return bound


async def order_of(made: Scheduler, jobs: list[list[Target]], options: list[dict[str, Any]] | None = None) -> list[int]:
    return [number for number, _, _ in await run_all(made, jobs, options)]


async def models_of(made: Scheduler, models: str) -> str:
    """The order in which jobs for these models, in this order of arrival, run on one provider called `gpu`."""
    return "".join(model for _, _, model in await run_all(made, [[target("gpu", model)] for model in models]))


async def queued(made: Scheduler, jobs: int = 1) -> None:
    """Until that many jobs wait."""
    while made.waiting < jobs:
        await asyncio.sleep(0)


async def run_until_refused(made: Scheduler, **options: Any) -> None:
    with await made.lease([target("gpu")], **options):
        raise AssertionError("the queue took one job too many")


# Order on one provider


async def test_jobs_run_in_the_order_of_arrival_on_one_model() -> None:
    assert await order_of(scheduler(gpu=1), [[target("gpu")] for _ in range(5)]) == [0, 1, 2, 3, 4]


async def test_a_free_slot_goes_on_with_its_resident_model() -> None:
    assert await models_of(scheduler(gpu=1), "ABABAB") == "AAABBB"


async def test_what_a_provider_tells_while_it_still_loads_a_model_is_not_what_it_has_loaded() -> None:
    made = scheduler(gpu=1)
    made.observe("gpu", frozenset({"A"}))
    with await made.lease([target("gpu", "B")]) as lease:
        assert lease.cold
        made.observe("gpu", frozenset({"A"}), jobs=1)
        assert made.slots["gpu"].resident == {"B"}
        made.observe("gpu", frozenset({"B", "C"}), jobs=1)
        assert made.slots["gpu"].resident == {"B", "C"}
    made.observe("gpu", frozenset({"A"}))
    assert made.slots["gpu"].resident == {"A"}


async def test_a_model_keeps_its_slot_for_a_quantum_of_loads_while_others_wait() -> None:
    made = scheduler(quantum=0.45, gpu=1)
    assert await models_of(made, "ABAAAAAAAA") == "AAAAABAAAA"


async def test_the_quantum_never_outlasts_half_of_the_longest_wait() -> None:
    made = scheduler(quantum=1000, wait_timeout=7.2, gpu=1)
    assert await models_of(made, "ABAAAAAAAA") == "AAAAABAAAA"


async def test_jobs_that_cost_less_go_longer_in_a_row() -> None:
    made = scheduler(quantum=0.45, gpu=1)
    jobs = [[target("gpu", model)] for model in "ABAAAAAAAA"]
    for _ in range(60):
        made.costs.rendered("gpu", "A", 0.0, 0.0)
    order = await order_of(made, jobs, [{"work": 0.5}] * len(jobs))
    assert order.index(1) > 5


async def test_the_model_with_the_most_waiting_for_its_costs_is_loaded_next() -> None:
    made = scheduler(gpu=1)
    with await made.lease([target("gpu", "A")]):
        waiting = [asyncio.create_task(models_of(made, "BCCCC"))]
        await queued(made, 5)
        # All of them have waited alike, and one load serves four of them.
        await asyncio.sleep(0.05)
    assert await waiting[0] == "CCCCB"


# Between providers


async def test_a_job_goes_where_its_model_is_resident() -> None:
    made = scheduler(one=1, two=1)
    made.observe("two", frozenset({"m"}))
    assert await run_all(made, [[target("one"), target("two")]]) == [(0, "two", "m")]


async def test_a_job_goes_where_it_is_done_sooner() -> None:
    made = scheduler(one=1, two=1)
    for _ in range(60):
        made.costs.rendered("one", "m", 1.0, 3 * RENDER)
    assert await run_all(made, [[target("one"), target("two")]]) == [(0, "two", "m")]


async def test_a_job_waits_for_the_provider_that_has_its_model_rather_than_load_it_elsewhere() -> None:
    made = scheduler(one=1, two=1)
    made.observe("one", frozenset({"m"}))
    both = [target("one"), target("two")]
    with await made.lease(both):
        waiting = asyncio.create_task(run_all(made, [both]))
        await queued(made)
    assert await waiting == [(0, "one", "m")]


async def test_a_model_is_loaded_a_second_time_when_the_backlog_outweighs_the_load() -> None:
    made = scheduler(one=1, two=1)
    made.observe("one", frozenset({"m"}))
    both = [target("one"), target("two")]
    with await made.lease(both):
        jobs = asyncio.create_task(run_all(made, [both] * 60))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert {provider for _, provider, _ in await jobs} == {"one", "two"}


async def test_the_clients_own_order_counts_before_residency() -> None:
    made = scheduler(one=1, two=1)
    made.observe("two", frozenset({"m"}))
    with await made.lease([target("one"), target("two")], ranks={"one": 0, "two": 1}) as lease:
        assert lease.target.provider == "one"


async def test_a_job_takes_whichever_candidate_frees_first() -> None:
    made = scheduler(one=1, two=1)
    with await made.lease([target("one")]):
        with await made.lease([target("two")]):
            waiting = asyncio.create_task(run_all(made, [[target("one"), target("two")]]))
            await queued(made)
        assert await waiting == [(0, "two", "m")]


async def test_a_provider_runs_no_more_jobs_at_once_than_it_may() -> None:
    made = scheduler(gpu=3)
    most = 0

    async def one() -> None:
        nonlocal most
        with await made.lease([target("gpu")]):
            most = max(most, made.running)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(20)))
    assert (most, made.running, made.waiting) == (3, 0, 0)


# Other people's jobs


@pytest.mark.parametrize("jobs", [1, 2])
async def test_a_job_goes_where_nobody_elses_work_is_in_its_way(jobs: int) -> None:
    made = scheduler(one=1, two=1)
    made.observe("one", frozenset({"m"}), jobs=jobs)
    made.observe("two", frozenset())
    assert await run_all(made, [[target("one"), target("two")]]) == [(0, "two", "m")]


async def test_a_job_waits_for_a_busy_provider_rather_than_behind_many_jobs_of_somebody_else() -> None:
    made = scheduler(one=1, two=1)
    both = [target("one"), target("two")]
    made.observe("two", frozenset({"m"}))
    with await made.lease([target("two")]):
        made.observe("one", frozenset(), jobs=9)
        waiting = asyncio.create_task(run_all(made, [both]))
        await queued(made)
    assert await waiting == [(0, "two", "m")]


async def test_a_job_goes_behind_somebody_elses_when_there_is_no_other_way() -> None:
    made = scheduler(gpu=1)
    made.observe("gpu", frozenset(), jobs=9)
    assert await run_all(made, [[target("gpu")]]) == [(0, "gpu", "m")]


async def test_waiting_jobs_go_on_as_soon_as_somebody_elses_are_seen_to_be_gone() -> None:
    made = scheduler(one=1, two=1)
    both = [target("one"), target("two")]
    with await made.lease([target("two")]):
        made.observe("one", frozenset({"m"}), jobs=9)
        waiting = asyncio.create_task(run_all(made, [both]))
        await queued(made)
        made.observe("one", frozenset({"m"}), jobs=0)
        assert await waiting == [(0, "one", "m")]


async def test_the_own_jobs_of_a_provider_are_nobody_elses() -> None:
    made = scheduler(one=2, two=1)
    with await made.lease([target("one")]):
        made.observe("one", frozenset({"m"}), jobs=1)
        assert await run_all(made, [[target("one"), target("two")]]) == [(0, "one", "m")]


# Fairness and priority


async def test_one_job_of_an_owner_is_not_behind_two_hundred_of_another() -> None:
    made = scheduler(limit=300, gpu=1)
    order = await order_of(made, [[target("gpu")]] * 201, [{"owner": "many"}] * 200 + [{"owner": "one"}])
    assert order.index(200) <= 2


async def test_owners_share_by_work_and_not_by_jobs() -> None:
    made = scheduler(gpu=1)
    options = [{"owner": "large", "work": 4.0}] * 4 + [{"owner": "small", "work": 1.0}] * 8
    order = await order_of(made, [[target("gpu")]] * 12, options)
    assert [sum(1 for number in order[:n] if number < 4) for n in (6, 11)] == [2, 3]


async def test_an_important_job_overtakes_all_that_wait_for_the_same_model() -> None:
    made = scheduler(gpu=1)
    order = await order_of(made, [[target("gpu")]] * 30, [{}] * 29 + [{"priority": 1}])
    assert order.index(29) <= 2


async def test_important_jobs_leave_the_others_their_share() -> None:
    made = scheduler(gpu=1)
    order = await order_of(made, [[target("gpu")]] * 60, [{}] * 10 + [{"priority": 1}] * 50)
    assert 8 <= sum(1 for number in order[:50] if number < 10) <= 12


async def test_a_priority_beyond_the_limits_counts_as_the_limit() -> None:
    made = scheduler(gpu=1)
    order = await order_of(made, [[target("gpu")]] * 70, [{"priority": -99}] + [{}] * 69)
    assert order.index(0) < 69


async def test_a_job_that_asks_for_less_is_never_served_sooner_for_it() -> None:
    made = scheduler(gpu=1)
    order = await order_of(made, [[target("gpu")]] * 30, [{}] * 20 + [{"priority": -1}] + [{}] * 9)
    assert order.index(20) >= 4
    assert order.index(20) < 29, "it isn't put off for ever"


async def test_important_jobs_shorten_the_quantum_of_others() -> None:
    jobs = [[target("gpu", model)] for model in "A" * 40 + "B"]
    made = scheduler(quantum=4, gpu=1)
    late = (await order_of(made, jobs)).index(40)
    made = scheduler(quantum=4, gpu=1)
    early = (await order_of(made, jobs, [{}] * 40 + [{"priority": 1}])).index(40)
    assert early < late / 3


# Limits of the queue


async def test_one_job_too_many_is_refused_at_once_with_a_time_to_come_back() -> None:
    made = scheduler(limit=1, gpu=1)
    with await made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        with pytest.raises(QueueFullError) as caught:
            await run_until_refused(made)
        # A job that loads and renders, and one that renders.
        assert caught.value.retry_after == pytest.approx(2 * RENDER + LOAD, abs=1)
    await waiting


async def test_the_time_to_come_back_grows_with_the_backlog_and_shrinks_with_the_fleet() -> None:
    async def backlog(jobs: int, **slots: int) -> float:
        made = scheduler(**slots)
        async with AsyncExitStack() as held:
            for name in slots:
                held.enter_context(await made.lease([target(name)]))
            waiting = asyncio.create_task(run_all(made, [[target(name) for name in slots]] * jobs))
            await queued(made, jobs)
            seconds = made.backlog_seconds()
        await waiting
        return seconds

    assert await backlog(2, one=1) < await backlog(20, one=1)
    assert await backlog(20, one=1, two=1) < await backlog(20, one=1)


async def test_a_job_waits_no_longer_than_the_limit() -> None:
    made = scheduler(wait_timeout=0.01, gpu=1)
    with await made.lease([target("gpu")]), pytest.raises(QueueFullError, match="became free"):
        await run_until_refused(made)
    assert made.waiting == made.running == 0


async def test_a_job_waits_no_longer_than_its_own_deadline() -> None:
    made = scheduler(gpu=1)
    with await made.lease([target("gpu")]), pytest.raises(QueueFullError, match=r"within 0\.01 seconds"):
        await run_until_refused(made, deadline=0.01)
    assert made.waiting == made.running == 0


# Leaving


async def test_a_job_that_is_cancelled_while_waiting_leaves_the_queue() -> None:
    made = scheduler(gpu=1)
    with await made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert made.waiting == 0
    assert made.running == 0


async def test_jobs_that_were_given_up_are_not_charged_to_their_owner() -> None:
    made = scheduler(gpu=1)
    with await made.lease([target("gpu")]):
        given_up = asyncio.create_task(run_all(made, [[target("gpu")]] * 20, [{"owner": "one"}] * 20))
        await queued(made, 20)
        other = asyncio.create_task(run_all(made, [[target("gpu")]] * 10, [{"owner": "other"}] * 10))
        await queued(made, 30)
        given_up.cancel()
        await asyncio.wait([given_up])
        order: list[str] = []

        async def one() -> None:
            with await made.lease([target("gpu")], owner="one"):
                order.append(f"one before {made.waiting}")

        again = asyncio.create_task(one())
        await queued(made, 11)
    await asyncio.gather(other, again)
    assert order[0] in {"one before 10", "one before 9"}


async def test_a_job_that_is_cancelled_in_the_moment_it_is_bound_gives_the_slot_back() -> None:
    made = scheduler(gpu=1)
    leave = asyncio.Event()

    async def hold() -> None:
        with await made.lease([target("gpu")]):
            await leave.wait()

    holder, waiter = asyncio.create_task(hold()), asyncio.create_task(hold())
    await asyncio.sleep(0)
    leave.set()
    await asyncio.wait([holder])
    waiter.cancel()
    await asyncio.wait([waiter])
    assert made.running == 0
    assert await run_all(made, [[target("gpu")]])


async def test_a_provider_that_goes_away_fails_only_the_jobs_with_no_other_candidate() -> None:
    made = scheduler(one=1, two=1)
    with await made.lease([target("one")]), await made.lease([target("two")]):
        alone = asyncio.create_task(run_all(made, [[target("one")]]))
        both = asyncio.create_task(run_all(made, [[target("one"), target("two")]]))
        await queued(made, 2)
        made.close("one", lambda: ProviderUnavailableError("gone"))
        with pytest.raises(ExceptionGroup) as caught:
            await alone
        assert caught.group_contains(ProviderUnavailableError)
    assert await both == [(0, "two", "m")]


async def test_a_provider_that_comes_back_gets_jobs_that_came_before_and_meanwhile() -> None:
    made = scheduler(one=1, two=1)
    both = [target("one"), target("two")]
    with await made.lease([target("one")]):
        with await made.lease([target("two")]):
            before = asyncio.create_task(run_all(made, [both]))
            await queued(made)
            made.close("two", lambda: ProviderUnavailableError("gone"))
            meanwhile = asyncio.create_task(run_all(made, [both]))
            await queued(made, 2)
        assert made.waiting == 2, "a slot that is given back by a provider that is out is nobody's"
        made.open("two", 1)
        assert await before == await meanwhile == [(0, "two", "m")]


async def test_jobs_fail_when_the_last_of_their_candidates_goes_away() -> None:
    made = scheduler(one=1, two=1)
    with await made.lease([target("one")]), await made.lease([target("two")]):
        waiting = asyncio.create_task(run_all(made, [[target("one"), target("two")]]))
        await queued(made)
        made.close("one", lambda: ProviderUnavailableError("one is gone"))
        await asyncio.sleep(0)
        assert made.waiting == 1
        made.close("two", lambda: ProviderUnavailableError("two is gone"))
        with pytest.raises(ExceptionGroup) as caught:
            await waiting
        assert caught.group_contains(ProviderUnavailableError, match="two is gone")


async def test_a_provider_that_is_gone_for_good_is_no_candidate_any_more() -> None:
    made = scheduler(one=1, two=1)
    both = [target("one"), target("two")]
    with await made.lease([target("one")]):
        with await made.lease([target("two")]):
            waiting = asyncio.create_task(run_all(made, [both] * 3))
            await queued(made, 3)
            made.close("two", lambda: ProviderUnavailableError("gone"))
        made.forget("two")
        assert made.waiting_for("two") == 0
        assert made.forecast(target("one"), 1.0).queue > 0.0
        assert [each.provider for each in made.preview(both, 1.0, {})] == ["one"]
    assert [provider for _, provider, _ in await waiting] == ["one"] * 3
    with pytest.raises(ProviderUnavailableError, match="`two` can't be used any more"):
        await made.lease([target("two")])


async def test_jobs_wait_for_a_provider_that_only_pauses() -> None:
    made = scheduler(gpu=1)
    made.open("gpu", 0)
    waiting = asyncio.create_task(run_all(made, [[target("gpu")]] * 2))
    await queued(made, 2)
    made.open("gpu", 1)
    assert len(await waiting) == 2


async def test_a_job_whose_attempt_failed_keeps_its_place() -> None:
    made = scheduler(gpu=1)
    order: list[str] = []

    async def one(name: str, again: Any = None) -> None:
        with await made.lease([target("gpu")], again=again):
            order.append(name)
            await asyncio.sleep(0)

    with await made.lease([target("gpu")]) as failed:
        others = [asyncio.create_task(one(f"later {number}")) for number in range(3)]
        await queued(made, 3)
    await asyncio.gather(one("first again", failed), *others)
    assert order == ["later 0", "first again", "later 1", "later 2"]


async def test_a_lease_tells_how_long_its_job_waited_this_time_and_when_it_first_came() -> None:
    made = scheduler(gpu=1)

    async def again(lease: Lease | None) -> Lease:
        with await made.lease([target("gpu")], again=lease) as found:
            return found

    with await made.lease([target("gpu")]) as first:
        waiting = asyncio.create_task(again(None))
        await queued(made)
        for _ in range(50):
            await asyncio.sleep(0)
    second = await waiting
    assert second.waited > first.waited
    third = await again(second)
    assert (third.number, third.arrived) == (second.number, second.arrived)
    assert second.arrived > first.arrived
    assert third.waited < second.waited


async def test_a_full_queue_takes_a_job_back_whose_attempt_failed() -> None:
    made = scheduler(limit=1, gpu=1)
    with await made.lease([target("gpu")]) as failed:
        pass
    with await made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        back = asyncio.create_task(run_all(made, [[target("gpu")]], [{"again": failed}]))
        await queued(made, 2)
    assert len(await back) == len(await waiting) == 1


async def test_a_job_that_gave_up_waiting_may_come_back_to_the_same_queue() -> None:
    made = scheduler(gpu=1)
    with await made.lease([target("gpu")]) as failed:
        pass
    with await made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        with pytest.raises(QueueFullError):
            await run_until_refused(made, again=failed, deadline=0.0)
        back = asyncio.create_task(run_all(made, [[target("gpu")]], [{"again": failed}]))
        await queued(made, 2)
    assert len(await back) == len(await waiting) == 1
    assert made.waiting == made.running == 0


async def test_a_full_queue_that_a_job_is_just_leaving_takes_a_more_urgent_one() -> None:
    made = scheduler(limit=1, gpu=1)
    with await made.lease([target("gpu")]):
        leaving = asyncio.create_task(made.lease([target("gpu")]))
        await queued(made)
        urgent = asyncio.create_task(order_of(made, [[target("gpu")]], [{"priority": 1}]))
        asyncio.get_running_loop().call_soon(leaving.cancel)
        await queued(made)
        await asyncio.wait([leaving])
        await queued(made)
    assert await urgent == [0]
    assert made.waiting == made.running == 0


async def test_new_limits_hold_for_the_jobs_that_come_after() -> None:
    made = scheduler(limit=1, gpu=1)
    with await made.lease([target("gpu")]):
        made.limit_to(limit=2, quantum=16, wait_timeout=1000)
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]] * 2))
        await queued(made, 2)
        with pytest.raises(QueueFullError, match="2 requests"):
            await run_until_refused(made)
    await waiting


async def test_who_waits_for_a_provider_to_be_idle_is_told_when_its_last_job_ends() -> None:
    made = scheduler(gpu=2)
    await made.idle("gpu")
    await made.idle("nobody")
    with await made.lease([target("gpu")]):
        with await made.lease([target("gpu")]):
            idle = asyncio.create_task(made.idle("gpu"))
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not idle.done()
    await idle


async def test_jobs_stay_in_their_order_when_one_of_their_candidates_goes_away() -> None:
    made = scheduler(one=1, two=1)
    with await made.lease([target("one")]), await made.lease([target("two")]):
        jobs = [[target("one"), target("two")], [target("two")]] * 3
        waiting = asyncio.create_task(order_of(made, jobs))
        await queued(made, 6)
        made.close("one", lambda: ProviderUnavailableError("gone"))
    assert sorted(await waiting) == list(range(6))


async def test_a_job_that_comes_for_a_provider_that_is_out_fails_at_once() -> None:
    made = scheduler(gpu=1)
    made.close("gpu", lambda: ProviderUnavailableError("gone"))
    with pytest.raises(ProviderUnavailableError):
        await run_until_refused(made)
    made.open("gpu", 1)
    assert await run_all(made, [[target("gpu")]])


async def test_waiting_jobs_are_told_how_many_are_ahead() -> None:
    made = scheduler(gpu=1)
    told: list[int] = []

    async def one(moved: Callable[[int], None]) -> None:
        with await made.lease([target("gpu")], moved=moved):
            await asyncio.sleep(0)

    await asyncio.gather(one(lambda _: None), one(lambda _: None), one(told.append))
    assert told == [1, 0]


async def test_what_a_job_took_is_learned() -> None:
    made = Scheduler(limit=1, quantum=16, wait_timeout=60)
    made.open("gpu", 1)
    for _ in range(30):
        with await made.lease([target("gpu")], work=20.0) as lease:
            lease.ran(seconds=42.0, load=40.0 if lease.cold else 0.0)
    assert made.costs.render("gpu", "m", 20.0) == pytest.approx(2.0 if lease.cold else 42.0, rel=0.3)
    assert made.costs.loading("gpu", "m") == pytest.approx(40.0)


# Nobody starves


@given(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=60), st.integers(1, 3), st.integers(1, 3))
async def test_every_job_runs_once_and_none_is_overtaken_by_more_than_the_stated_bound(
    models: list[str], quantum: int, capacity: int
) -> None:
    made = scheduler(quantum=quantum, gpu=capacity)
    bound = await run_all(made, [[target("gpu", model)] for model in models])
    assert sorted(number for number, _, _ in bound) == list(range(len(models)))
    order = {number: place for place, (number, _, _) in enumerate(bound)}
    row = quantum * LOAD / RENDER + 1 + capacity
    for number, model in enumerate(models):
        ahead = models[:number].count(model)
        turns = 1 + ahead // (quantum * LOAD / RENDER)
        overtakers = sum(1 for later in range(number + 1, len(models)) if order[later] < order[number])
        assert overtakers <= turns * (MOST_PASSED + len(set(models))) * row


async def test_a_full_queue_turns_away_the_last_of_the_least_urgent_of_whoever_has_most_waiting() -> None:
    made = scheduler(limit=3, gpu=1)
    served: list[str] = []

    async def one(name: str, owner: str, priority: int = 0) -> None:
        with await made.lease([target("gpu")], owner=owner, priority=priority):
            served.append(name)

    with await made.lease([target("gpu")]):
        crowd = [asyncio.create_task(one(f"crowd {number}", "crowd")) for number in range(3)]
        await queued(made, 3)
        guest = asyncio.create_task(one("guest", "guest"))
        with pytest.raises(QueueFullError):
            await crowd[2]
        boss = asyncio.create_task(one("boss", "crowd", priority=1))
        with pytest.raises(QueueFullError):
            await crowd[1]
        with pytest.raises(QueueFullError):
            await one("one more", "crowd")
    await asyncio.gather(crowd[0], guest, boss)
    assert sorted(served) == ["boss", "crowd 0", "guest"]
