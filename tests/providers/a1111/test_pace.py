"""SD.Next's limit is kept by waiting, route by route."""

import asyncio
import dataclasses

import pytest
from tests.providers.a1111.stocks import STOCKS

from imagerouter_a1111 import pace


@pytest.fixture
def naps(monkeypatch):
    """Seconds that were waited; they pass at once."""
    slept: list[float] = []

    async def sleep(seconds):
        slept.append(seconds)

    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda self: 1000.0 + sum(slept))
    return slept


def stock(limit):

    return dataclasses.replace(STOCKS["sdnext"], settings={"server_rate_limit": limit})


async def test_no_more_jobs_a_minute_are_sent_than_are_kept(naps):
    paced = pace.Pace()
    for _ in range(9):
        await paced.turn("txt2img", stock(20))
    assert naps == [60.0, 60.0]


async def test_each_route_has_a_limit_of_its_own(naps):
    paced = pace.Pace()
    for route in ("txt2img", "img2img") * 3:
        await paced.turn(route, stock(20))
    assert naps == []


@pytest.mark.parametrize("limit", [0, -1, None, "many"])
async def test_without_a_limit_nothing_waits(naps, limit):
    paced = pace.Pace()
    for _ in range(100):
        await paced.turn("txt2img", stock(limit))
    assert naps == []
