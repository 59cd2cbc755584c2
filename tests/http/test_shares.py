"""Who waits how long: shares between API keys, priorities, and a client's own patience."""

import asyncio
from typing import Any

import pytest

GATED = "providers: {gpu: {type: 'imagerouter.testing:FakeProvider', gated: true}}\n"
KEYS = """
keys:
  many: {secret: many-secret}
  one: {secret: one-secret}
  boss: {secret: boss-secret, priority: 2}
  last: {secret: last-secret, priority: -2}
"""


class Line:
    """Requests that wait, in the order in which they were sent; each is known by its seed."""

    def __init__(self, running: Any) -> None:
        self.running = running
        self.sent: list[asyncio.Task[Any]] = []

    async def join(self, seed: int, key: str | None = None, **body: Any) -> None:
        """Send one more and see that it has its place: the first runs, the others wait."""
        headers = {"authorization": f"Bearer {key}-secret"} if key else {}
        json = {"prompt": "a fox", "seed": seed, **body}
        request = self.running.http.post("/v1/images/generations", json=json, headers=headers)
        self.sent.append(asyncio.create_task(request))
        if len(self.sent) == 1:
            await self.running.fake("gpu").held()
        while self.running.engine.scheduler.waiting < len(self.sent) - 1:
            await asyncio.sleep(0.001)

    async def order(self) -> list[int]:
        """Serve them one by one; their seeds in the order in which they ran."""
        fake = self.running.fake("gpu")
        for _ in self.sent:
            await fake.held()
            fake.release(1)
            await asyncio.sleep(0)
        assert {reply.status_code for reply in await asyncio.gather(*self.sent)} == {200}
        return [request.seed for request in fake.requests]


@pytest.fixture
async def keyed(start: Any) -> Line:
    return Line(await start(GATED + KEYS))


@pytest.fixture
async def line(start: Any) -> Line:
    return Line(await start(GATED))


async def test_one_request_of_a_key_is_not_behind_all_those_of_another(keyed: Line) -> None:
    for seed in range(8):
        await keyed.join(seed, "many")
    await keyed.join(100, "one")
    assert (await keyed.order()).index(100) <= 2


async def test_without_keys_all_requests_share_as_one_in_the_order_of_arrival(line: Line) -> None:
    for seed in range(5):
        await line.join(seed)
    assert await line.order() == [0, 1, 2, 3, 4]


async def test_a_requests_priority_takes_it_ahead(line: Line) -> None:
    for seed in range(6):
        await line.join(seed)
    await line.join(100, priority=1)
    await line.join(200, priority=-1)
    order = await line.order()
    assert order.index(100) <= 2
    assert order.index(200) >= 6


async def test_a_keys_priority_is_that_of_its_requests(keyed: Line) -> None:
    await keyed.join(0, "many")
    await keyed.join(1, "last")
    for seed in range(2, 5):
        await keyed.join(seed, "many")
    await keyed.join(100, "boss")
    order = await keyed.order()
    assert order.index(100) <= 2


async def test_nobody_gets_a_higher_priority_than_the_key_has(keyed: Line) -> None:
    for seed in range(4):
        await keyed.join(seed, "many")
    await keyed.join(100, "many", priority=3)
    assert await keyed.order() == [0, 1, 2, 3, 100]


async def test_a_client_may_ask_for_less_than_its_key_has(keyed: Line) -> None:
    await keyed.join(0, "boss")
    await keyed.join(100, "boss", priority=-3)
    for seed in range(1, 5):
        await keyed.join(seed, "boss")
    order = await keyed.order()
    assert order.index(100) > 1


async def test_a_priority_that_does_not_exist_is_the_clients_mistake(line: Line) -> None:
    for wrong in (4, -4, 1.5, "high", True):
        reply = await line.running.draw(priority=wrong)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "priority")


async def test_a_client_that_won_t_wait_so_long_gets_its_429_sooner(line: Line) -> None:
    await line.join(0)
    reply = await line.running.draw(queue_timeout=0.05)
    error = reply.json()["error"]
    assert (reply.status_code, error["code"], error["type"]) == (429, "queue_full", "rate_limit_error")
    assert int(reply.headers["retry-after"]) >= 1
    assert line.running.engine.scheduler.waiting == 0
    assert await line.order() == [0]


async def test_a_client_that_won_t_wait_is_served_where_there_is_room(line: Line) -> None:
    line.running.fake("gpu").gated = False
    assert (await line.running.draw(queue_timeout=0.001)).status_code == 200


async def test_nobody_waits_longer_than_the_configuration_allows(start: Any) -> None:
    line = Line(await start(GATED + "limits: {queue_timeout: 0.1}\n"))
    await line.join(0)
    reply = await line.running.draw(queue_timeout=3600)
    assert reply.status_code == 429
    assert "within 0.1 seconds" in reply.json()["error"]["message"]
    assert await line.order() == [0]


async def test_a_patience_that_makes_no_sense_is_the_clients_mistake(line: Line) -> None:
    for wrong in (0, -1, "soon", True):
        reply = await line.running.draw(queue_timeout=wrong)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "queue_timeout")


async def test_a_request_that_waits_is_told_how_many_are_ahead(line: Line) -> None:
    await line.join(0)
    await line.join(1)
    events = await line.running.sdk.images.generate(
        prompt="a fox", stream=True, extra_body={"stream_progress": True, "seed": 2}
    )
    first = await anext(aiter(events))
    assert (first.stage, first.queue_position, first.provider) == ("queue", 1, None)
    line.running.fake("gpu").gated = False
    line.running.fake("gpu").release()
    assert [event.type async for event in events][-1] == "image_generation.completed"
