"""Timeouts that share a timer do what each of asyncio's does."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from imagerouter.dispatching.deadlines import Deadlines


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_is_done_in_time_is_left_alone() -> None:
    deadlines = Deadlines()
    with deadlines.within(60) as deadline:
        await asyncio.sleep(0)
    assert not deadline.has_passed


async def test_what_takes_too_long_ends_and_its_task_goes_on() -> None:
    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(TimeoutError), Deadlines().within(0.001):
        await forever()
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_each_has_its_own_time_whichever_came_first() -> None:
    deadlines, over = Deadlines(), []

    async def wait(seconds: float) -> None:
        try:
            with deadlines.within(seconds):
                await forever()
        except TimeoutError:
            over.append(seconds)

    patient = asyncio.create_task(wait(60))
    await asyncio.gather(*(wait(seconds) for seconds in (0.01, 0.001, -1.0, 0.0)))
    assert sorted(over) == [-1.0, 0.0, 0.001, 0.01]
    assert not patient.done()
    patient.cancel()


async def test_a_later_one_is_heard_after_the_timers_own_is_long_over() -> None:
    deadlines = Deadlines()
    with deadlines.within(0.001):
        pass
    with pytest.raises(TimeoutError), deadlines.within(0.002):
        await forever()


async def test_of_two_around_each_other_the_one_that_passes_is_told() -> None:
    deadlines = Deadlines()
    with deadlines.within(60) as outer:
        with pytest.raises(TimeoutError), deadlines.within(0.001):
            await forever()
        await asyncio.sleep(0)
    assert not outer.has_passed
    with pytest.raises(TimeoutError), deadlines.within(0.001), deadlines.within(60) as inner:
        await forever()
    assert not inner.has_passed


async def test_there_may_be_no_limit() -> None:
    with Deadlines().within(float("inf")):
        await asyncio.sleep(0)


async def test_nothing_holds_on_to_them_once_they_are_closed() -> None:
    deadlines = Deadlines()
    with deadlines.within(3600):
        pass
    left = weakref.ref(deadlines)
    deadlines.close()
    del deadlines
    gc.collect()
    assert left() is None


async def test_whoever_cancels_the_task_is_heard() -> None:
    async def work() -> None:
        with Deadlines().within(60):
            await forever()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_at_the_same_time_is_not_taken_for_the_deadline() -> None:
    async def work() -> None:
        with Deadlines().within(0):
            asyncio.get_running_loop().call_soon(task.cancel)
            await forever()

    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_another_error_stays_what_it_is() -> None:
    async def fail() -> None:
        try:
            await forever()
        except asyncio.CancelledError:
            raise KeyError from None

    task = asyncio.current_task()
    assert task is not None
    with pytest.raises(KeyError), Deadlines().within(0.001) as deadline:
        await fail()
    assert deadline.has_passed
    assert task.cancelling() == 0
