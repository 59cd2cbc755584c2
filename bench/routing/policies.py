"""What others do, behind the same door as our scheduler: ``lease`` a provider for a model."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import cycle
from typing import Protocol

from farm import Farm
from fleets import IMAGE_SECONDS

from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.scheduling.scheduler import Scheduler


class Policy(Protocol):
    def lease(self, model: str, size: float) -> AbstractAsyncContextManager[str]: ...


class AtArrival:
    """A job is bound to a provider when it comes, and waits in that provider's line."""

    def __init__(self, farm: Farm) -> None:
        self.names = list(farm.speeds)
        self.lines = {name: asyncio.Lock() for name in farm.speeds}
        self.outstanding = dict.fromkeys(farm.speeds, 0)

    def pick(self) -> str:
        raise NotImplementedError

    def done(self, name: str, seconds: float) -> None:
        pass

    @asynccontextmanager
    async def lease(self, model: str, size: float) -> AsyncIterator[str]:  # noqa: ARG002
        name, came = self.pick(), asyncio.get_running_loop().time()
        self.outstanding[name] += 1
        try:
            async with self.lines[name]:
                yield name
        finally:
            self.outstanding[name] -= 1
            self.done(name, asyncio.get_running_loop().time() - came)


class RoundRobin(AtArrival):
    def __init__(self, farm: Farm) -> None:
        super().__init__(farm)
        self._next: Iterator[str] = cycle(self.names)

    def pick(self) -> str:
        return next(self._next)


class Random(AtArrival):
    def __init__(self, farm: Farm) -> None:
        super().__init__(farm)
        self._rng = random.Random(0)

    def pick(self) -> str:
        return self._rng.choice(self.names)


class LeastOutstanding(AtArrival):
    def pick(self) -> str:
        return min(self.names, key=lambda name: self.outstanding[name])


class Latency(AtArrival):
    """The lowest moving average of the time from arrival to answer; who has none yet goes first."""

    def __init__(self, farm: Farm) -> None:
        super().__init__(farm)
        self._latency: dict[str, float] = dict.fromkeys(farm.speeds, 0.0)

    def pick(self) -> str:
        return min(self.names, key=lambda name: (self._latency[name], self.outstanding[name]))

    def done(self, name: str, seconds: float) -> None:
        old = self._latency[name]
        self._latency[name] = old + 0.2 * (seconds - old) if old else seconds


class SwarmUI:
    """SwarmUI's rule, rewritten from `BackendHandler.cs`, without its pipelining of one job per backend.

    A job takes a free backend that has its model. If there is none, the model with the most pressure (ten per waiting
    job, one per second since the first of them came) is loaded on the free backend whose last job ended longest ago,
    unless that pressure is younger than 1.5 seconds and more than one backend is free. A model is loaded on one backend
    at a time, and a backend that loads takes its next job when it has finished.
    """

    GRACE, TICK = 1.5, 1.0

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._released = dict.fromkeys(farm.speeds, 0.0)
        self._free = set(farm.speeds)
        self._waiting: dict[int, tuple[str, asyncio.Future[str]]] = {}
        self._pressed: set[int] = set()
        self._count: Counter[str] = Counter()
        self._first: dict[str, float] = {}
        self._loading: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def lease(self, model: str, size: float) -> AsyncIterator[str]:  # noqa: ARG002
        future: asyncio.Future[str] = self._farm.loop.create_future()
        self._waiting[id(future)] = model, future
        self._step()
        name = await future
        try:
            yield name
        finally:
            self._free.add(name)
            self._released[name] = self._farm.loop.time()
            self._step()

    def _step(self) -> None:
        for key, (model, future) in list(self._waiting.items()):
            if not self._free:
                break
            if (warm := self._warm(model)) is not None:
                self._take(key, model, warm, future)
        self._press()
        while self._free and self._load_what_presses_most():
            pass
        if self._waiting and self._free and self._timer is None:
            self._timer = self._farm.loop.call_later(self.TICK, self._tick)

    def _warm(self, model: str) -> str | None:
        return next((n for n in self._farm.speeds if n in self._free and self._farm.resident[n] == model), None)

    def _press(self) -> None:
        for key, (model, _) in self._waiting.items():
            if key in self._pressed:
                continue
            self._pressed.add(key)
            self._count[model] += 1
            self._first.setdefault(model, self._farm.loop.time())

    def _tick(self) -> None:
        self._timer = None
        self._step()

    def _take(self, key: int, model: str, name: str, future: asyncio.Future[str]) -> None:
        del self._waiting[key]
        self._free.remove(name)
        if key in self._pressed:
            self._pressed.remove(key)
            self._count[model] -= 1
            if not self._count[model]:
                del self._count[model], self._first[model]
        future.set_result(name)

    def _load_what_presses_most(self) -> bool:
        now = self._farm.loop.time()
        pressing = [model for model in self._count if model not in self._loading]
        if not pressing:
            return False
        model = max(pressing, key=lambda m: self._count[m] * 10 + int(now - self._first[m]))
        others = [name for name in self._free if self._farm.resident[name] != model]
        if not others or (len(self._free) > 1 and now - self._first[model] <= self.GRACE):
            return False
        name = min(others, key=lambda n: (self._released[n], n))
        self._free.remove(name)
        self._loading.add(model)
        task = asyncio.create_task(self._load(name, model))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _load(self, name: str, model: str) -> None:
        await self._farm.load(name, model)
        self._loading.remove(model)
        self._free.add(name)
        self._step()


class Ours:
    """The scheduler of imagerouter itself."""

    def __init__(self, farm: Farm, *, sized: bool = False) -> None:
        self._farm = farm
        self._sized = sized
        self.scheduler = Scheduler(limit=10**9, quantum=16, wait_timeout=1e9)
        for name in farm.speeds:
            self.scheduler.open(name, 1)
        self._targets: dict[str, list[Target]] = {}

    @asynccontextmanager
    async def lease(self, model: str, size: float) -> AsyncIterator[str]:
        if model not in self._targets:
            self._targets[model] = [Target(name, Model(id=model)) for name in self._farm.speeds]
        work = size if self._sized else IMAGE_SECONDS
        with await self.scheduler.lease(self._targets[model], work=work) as lease:
            load = 0.0 if self._farm.resident[lease.target.provider] == model else self._farm.swap
            began = self._farm.loop.time()
            yield lease.target.provider
            lease.ran(self._farm.loop.time() - began, load)


BLIND = {"round-robin": RoundRobin, "random": Random, "least-outstanding": LeastOutstanding, "latency-EWMA": Latency}
