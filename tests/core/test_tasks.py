"""Work in the background, and its end."""

from __future__ import annotations

import asyncio

from imagerouter.tasks import Background


async def test_what_is_under_way_may_finish_before_the_end() -> None:
    background, done = Background(60), []

    async def work() -> int:
        await asyncio.sleep(0)
        done.append(True)
        return 7

    task = background.start(work())
    await background.aclose()
    assert done == [True]
    assert await task == 7


async def test_what_takes_too_long_is_cancelled() -> None:
    background = Background(0)
    task = background.start(asyncio.Event().wait())
    await background.aclose()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_the_end_may_come_twice_and_with_nothing_to_do() -> None:
    background = Background(60)
    await background.aclose()
    background.start(asyncio.sleep(0))
    await background.aclose()
    await background.aclose()
