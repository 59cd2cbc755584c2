"""A second attempt beside the first: the first to deliver counts, and the other one is cancelled."""

import asyncio
from typing import Any

import pytest

from imagerouter.dispatching.hedging import hedged
from imagerouter.errors import GenerationError

NEVER = 3600.0


class Draws:
    """An attempt that ends when it is told to."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.result: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self.is_cancelled = False

    async def draw(self) -> str | None:
        self.began.set()
        try:
            return await self.result
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


async def both_run(first: Draws, second: Draws) -> Any:
    running = asyncio.create_task(hedged(first.draw(), second.draw, after=0))
    await first.began.wait()
    await second.began.wait()
    return running


async def test_a_first_attempt_that_is_done_in_time_is_alone() -> None:
    first, second = Draws(), Draws()
    first.result.set_result("first")
    assert await hedged(first.draw(), second.draw, after=NEVER) == "first"
    assert not second.began.is_set()


async def test_a_first_attempt_that_fails_in_time_leaves_it_to_the_caller_what_comes_next() -> None:
    first, second = Draws(), Draws()
    first.result.set_result(None)
    assert await hedged(first.draw(), second.draw, after=NEVER) is None
    assert not second.began.is_set()


@pytest.mark.parametrize("winner", [0, 1])
async def test_the_first_to_deliver_counts_and_the_other_is_cancelled(winner: int) -> None:
    attempts = Draws(), Draws()
    running = await both_run(*attempts)
    attempts[winner].result.set_result("done")
    assert await running == "done"
    assert attempts[1 - winner].is_cancelled
    assert not attempts[winner].is_cancelled


@pytest.mark.parametrize("loser", [0, 1])
async def test_one_that_fails_leaves_it_to_the_other(loser: int) -> None:
    attempts = Draws(), Draws()
    running = await both_run(*attempts)
    attempts[loser].result.set_result(None)
    await asyncio.sleep(0)
    attempts[1 - loser].result.set_result("done")
    assert await running == "done"
    assert not attempts[1 - loser].is_cancelled


async def test_nothing_comes_of_it_when_both_fail() -> None:
    first, second = Draws(), Draws()
    running = await both_run(first, second)
    first.result.set_result(None)
    second.result.set_result(None)
    assert await running is None


async def test_what_would_fail_anywhere_ends_both() -> None:
    first, second = Draws(), Draws()
    running = await both_run(first, second)
    first.result.set_exception(GenerationError("no fallback"))
    with pytest.raises(GenerationError):
        await running
    assert second.is_cancelled


async def test_a_caller_that_goes_away_cancels_both() -> None:
    first, second = Draws(), Draws()
    running = await both_run(first, second)
    running.cancel()
    await asyncio.wait([running])
    assert first.is_cancelled
    assert second.is_cancelled
