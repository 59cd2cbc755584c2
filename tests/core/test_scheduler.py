"""One queue, late binding, resident models first, nobody starves."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.errors import ProviderUnavailableError, QueueFullError
from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.scheduler import Scheduler, Slot, choose


def target(provider: str, model: str = "m") -> Target:
    return Target(provider, Model(id=model))


def scheduler(quantum: int = 4, limit: int = 100, wait_timeout: float = 60, **slots: int) -> Scheduler:
    made = Scheduler(limit=limit, quantum=quantum, wait_timeout=wait_timeout)
    for name, capacity in slots.items():
        made.open(name, capacity)
    return made


async def run_all(made: Scheduler, jobs: list[list[Target]]) -> list[tuple[int, str, str]]:
    """Start all jobs in order; each holds its lease for one turn of the loop. (number, provider, model) as bound."""
    bound: list[tuple[int, str, str]] = []

    async def one(number: int, candidates: list[Target]) -> None:
        async with made.lease(candidates) as chosen:
            bound.append((number, chosen.provider, chosen.model.id))
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        for number, candidates in enumerate(jobs):
            group.create_task(one(number, candidates))
    return bound


async def test_jobs_run_in_the_order_of_arrival_on_one_model() -> None:
    bound = await run_all(scheduler(gpu=1), [[target("gpu")] for _ in range(5)])
    assert [number for number, _, _ in bound] == [0, 1, 2, 3, 4]


async def test_a_free_slot_takes_the_oldest_job_for_its_resident_model() -> None:
    bound = await run_all(scheduler(gpu=1), [[target("gpu", m)] for m in "ABABAB"])
    assert "".join(model for _, _, model in bound) == "AAABBB"


async def test_an_older_job_is_overtaken_by_no_more_than_a_quantum_of_jobs() -> None:
    bound = await run_all(scheduler(quantum=2, gpu=1), [[target("gpu", m)] for m in "ABAAAAA"])
    assert "".join(model for _, _, model in bound).index("B") == 3


async def test_a_job_goes_where_its_model_is_resident() -> None:
    made = scheduler(one=1, two=1)
    made.observe("two", frozenset({"m"}))
    assert await run_all(made, [[target("one"), target("two")]]) == [(0, "two", "m")]


async def test_a_job_goes_where_nobody_elses_work_is_in_its_way() -> None:
    made = scheduler(one=1, two=1)
    made.observe("one", frozenset({"m"}), jobs=2)
    made.observe("two", frozenset())
    assert await run_all(made, [[target("one"), target("two")]]) == [(0, "two", "m")]


async def test_the_own_jobs_of_a_provider_are_nobody_elses() -> None:
    made = scheduler(one=2, two=1)
    async with made.lease([target("one")]):
        made.observe("one", frozenset({"m"}), jobs=1)
        assert await run_all(made, [[target("one"), target("two")]]) == [(0, "one", "m")]


async def test_the_clients_own_order_counts_before_residency() -> None:
    made = scheduler(one=1, two=1)
    made.observe("two", frozenset({"m"}))
    async with made.lease([target("one"), target("two")], ordered=True) as chosen:
        assert chosen.provider == "one"


async def test_a_job_takes_whichever_candidate_frees_first() -> None:
    made = scheduler(one=1, two=1)
    async with made.lease([target("one")]):
        async with made.lease([target("two")]):
            waiting = asyncio.create_task(run_all(made, [[target("one"), target("two")]]))
            await queued(made)
        assert await waiting == [(0, "two", "m")]


async def test_a_provider_runs_no_more_jobs_at_once_than_it_may() -> None:
    made = scheduler(gpu=3)
    most = 0

    async def one() -> None:
        nonlocal most
        async with made.lease([target("gpu")]):
            most = max(most, made.running)
            await asyncio.sleep(0)

    await asyncio.gather(*(one() for _ in range(20)))
    assert (most, made.running, made.waiting) == (3, 0, 0)


async def test_one_job_too_many_is_refused_at_once_with_a_time_to_come_back() -> None:
    made = scheduler(limit=1, gpu=1)
    async with made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        with pytest.raises(QueueFullError) as caught:
            await run_until_refused(made)
        assert (caught.value.retry_after or 0) >= 1
    await waiting


async def queued(made: Scheduler, jobs: int = 1) -> None:
    """Until that many jobs wait."""
    while made.waiting < jobs:
        await asyncio.sleep(0)


async def run_until_refused(made: Scheduler) -> None:
    async with made.lease([target("gpu")]):
        raise AssertionError("the queue took one job too many")


async def test_a_job_waits_no_longer_than_the_limit() -> None:
    made = scheduler(wait_timeout=0.01, gpu=1)
    async with made.lease([target("gpu")]):
        with pytest.raises(QueueFullError, match="became free"):
            await run_until_refused(made)
    assert made.waiting == made.running == 0


async def test_a_job_that_is_cancelled_while_waiting_leaves_the_queue() -> None:
    made = scheduler(gpu=1)
    async with made.lease([target("gpu")]):
        waiting = asyncio.create_task(run_all(made, [[target("gpu")]]))
        await queued(made)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert made.waiting == 0
    assert made.running == 0


async def test_a_job_that_is_cancelled_in_the_moment_it_is_bound_gives_the_slot_back() -> None:
    made = scheduler(gpu=1)
    leave = asyncio.Event()

    async def hold() -> None:
        async with made.lease([target("gpu")]):
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
    async with made.lease([target("one")]), made.lease([target("two")]):
        alone = asyncio.create_task(run_all(made, [[target("one")]]))
        both = asyncio.create_task(run_all(made, [[target("one"), target("two")]]))
        await queued(made, 2)
        made.close("one", lambda: ProviderUnavailableError("gone"))
        with pytest.raises(ExceptionGroup) as caught:
            await alone
        assert caught.group_contains(ProviderUnavailableError)
    assert await both == [(0, "two", "m")]


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
        async with made.lease([target("gpu")], moved=moved):
            await asyncio.sleep(0)

    await asyncio.gather(one(lambda _: None), one(lambda _: None), one(told.append))
    assert told == [1, 0]


@given(st.lists(st.sampled_from("ABCD"), min_size=1, max_size=40), st.integers(1, 5), st.integers(1, 3))
async def test_every_job_runs_once_and_none_waits_for_more_than_its_share(
    models: list[str], quantum: int, capacity: int
) -> None:
    made = scheduler(quantum=quantum, gpu=capacity)
    bound = await run_all(made, [[target("gpu", model)] for model in models])
    assert sorted(number for number, _, _ in bound) == list(range(len(models)))
    order = {number: place for place, (number, _, _) in enumerate(bound)}
    for number in range(len(models)):
        # Whoever overtakes does so on a resident model: at most a quantum of jobs per older job and slot.
        overtakers = sum(1 for later in range(number + 1, len(models)) if order[later] < order[number])
        assert overtakers <= (quantum + 1) * (number + 1) + capacity


def test_nothing_is_chosen_when_nothing_is_free() -> None:
    assert choose({"gpu": Slot(1, running=1)}, [], 4) is None
