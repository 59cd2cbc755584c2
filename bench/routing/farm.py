"""Simulated providers: one model at a time, which takes a while to load, and one job at a time."""

import asyncio
from dataclasses import dataclass

from fleets import IMAGE_SECONDS, Fleet, Job


@dataclass(frozen=True)
class Result:
    """What one trace came to under one policy. Seconds from arrival: to the picture, and to the start of the job."""

    totals: list[float]
    waits: list[float]
    loads: int
    makespan: float

    @property
    def mean(self) -> float:
        return sum(self.totals) / len(self.totals)

    @property
    def p99(self) -> float:
        return sorted(self.totals)[int(0.99 * len(self.totals))]


class Farm:
    def __init__(self, fleet: Fleet, swap: float) -> None:
        """:param swap: what loading a model takes, in images of mean size on a GPU of speed 1."""
        self.speeds = fleet.gpus
        self.swap = swap * IMAGE_SECONDS
        self.resident: dict[str, str | None] = dict.fromkeys(self.speeds)
        self.loop = asyncio.get_running_loop()
        self.loads = 0

    async def load(self, name: str, model: str) -> None:
        self.loads += 1
        await asyncio.sleep(self.swap)
        self.resident[name] = model

    async def draw(self, name: str, job: Job) -> None:
        if self.resident[name] != job.model:
            await self.load(name, job.model)
        await asyncio.sleep(job.size / self.speeds[name])


async def play(farm: Farm, policy, jobs: list[Job]) -> Result:
    waits, totals = [], []

    async def one(job: Job) -> None:
        async with policy.lease(job.model, job.size) as name:
            waits.append(farm.loop.time() - job.at)
            await farm.draw(name, job)
        totals.append(farm.loop.time() - job.at)

    async with asyncio.TaskGroup() as group:
        for job in jobs:
            await asyncio.sleep(job.at - farm.loop.time())
            group.create_task(one(job))
    return Result(totals, waits, farm.loads, farm.loop.time())
