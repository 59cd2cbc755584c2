"""Work that is ended from outside, in the task that does it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from imagerouter.app.interruption import Interruption


class Why(Exception):
    """A reason."""


async def forever() -> None:
    await asyncio.Event().wait()


async def test_work_that_nobody_ends_has_its_result_and_its_own_errors() -> None:
    assert await Interruption().run(asyncio.sleep(0, 7)) == 7

    async def fail() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        await Interruption().run(fail())


async def test_work_ends_with_the_first_reason_and_its_task_goes_on() -> None:
    interruption, task = Interruption(), asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().call_soon(interruption.end, Why("first"))
    asyncio.get_running_loop().call_soon(interruption.end, Why("second"))
    with pytest.raises(Why, match="first"):
        await interruption.run(forever())
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_work_does_not_begin_after_its_end() -> None:
    interruption, begun = Interruption(), []

    async def work() -> None:
        begun.append(True)

    interruption.end(Why())
    with pytest.raises(Why):
        await interruption.run(work())
    assert not begun


async def test_the_reason_counts_even_if_the_work_does_not_let_itself_be_cancelled() -> None:
    interruption, task = Interruption(), asyncio.current_task()
    assert task is not None

    async def work() -> int:
        with suppress(asyncio.CancelledError):
            await forever()
        return 7

    asyncio.get_running_loop().call_soon(interruption.end, Why())
    with pytest.raises(Why):
        await interruption.run(work())
    assert task.cancelling() == 0


async def test_an_end_that_comes_too_late_does_nothing() -> None:
    interruption = Interruption()
    await interruption.run(asyncio.sleep(0))
    interruption.end(Why())
    await asyncio.sleep(0)


async def test_whoever_cancels_the_whole_task_is_heard() -> None:
    async def work() -> None:
        interruption = Interruption()
        loop.call_soon(interruption.end, Why())
        loop.call_soon(task.cancel)
        await interruption.run(forever())

    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
