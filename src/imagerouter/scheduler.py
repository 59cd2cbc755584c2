"""One queue with late binding: a slot that frees pulls the best waiting job, the resident model's first.

There is no queue per provider: a job waits for all its candidates at once and is bound when one of them has
room. A model keeps its slot for at most ``quantum`` jobs in a row while others wait, so that a popular model
neither swaps for every job nor starves the rest (bounded by count and never by the clock: under backlog every
job is overdue, and a bound in seconds degrades into a swap per job).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from imagerouter.errors import ImageRouterError, QueueFullError
from imagerouter.jobs import Target


@dataclass(slots=True)
class Slot:
    """One provider's room."""

    capacity: int
    running: int = 0
    resident: frozenset[str] = frozenset()
    """Native names of the models that are loaded there, as far as is known."""
    foreign: int = 0
    """Other people's jobs, running or waiting in the provider's own queue, when it was last looked at."""
    streak: int = 0
    """Jobs in a row on the resident model while others waited."""
    seconds: float = 10.0
    """Moving average of how long a job holds the slot."""
    closed: Callable[[], ImageRouterError] | None = None
    """Makes the error for jobs that have nowhere else to go, while the provider is out."""

    @property
    def free(self) -> bool:
        return self.running < self.capacity


@dataclass(slots=True, eq=False)
class Waiter:
    """A job in the queue, with its candidates, best first."""

    number: int
    candidates: tuple[Target, ...]
    bound: asyncio.Future[Target]
    moved: Callable[[int], None] = lambda _: None
    """Told the number of jobs ahead whenever that changes."""
    ordered: bool = False
    """Whether the client itself has ordered the candidates; then its order counts before residency."""
    position: int = -1
    targets: dict[str, Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for target in self.candidates:
            self.targets.setdefault(target.provider, target)

    def rank(self, provider: str) -> int:
        return list(self.targets).index(provider)


def choose(slots: dict[str, Slot], waiters: Sequence[Waiter], quantum: int) -> tuple[str, Waiter] | None:
    """The next binding, or ``None`` when no free slot has a taker. Pure: called again after each binding.

    :param waiters: in order of arrival.
    """
    best: tuple[tuple[int, int, int, int], str, Waiter] | None = None
    for name, slot in slots.items():
        if not slot.free or (waiter := _pick(name, slot, waiters, quantum)) is None:
            continue
        # A job that somebody else has there delays this one about as much as a swap does.
        delay = slot.foreign + (waiter.targets[name].model.id not in slot.resident)
        rank = waiter.rank(name)
        key = (rank if waiter.ordered else 0, delay, rank, waiter.number)
        if best is None or key < best[0]:
            best = (key, name, waiter)
    return None if best is None else (best[1], best[2])


def _pick(name: str, slot: Slot, waiters: Sequence[Waiter], quantum: int) -> Waiter | None:
    """Which waiter a free slot takes: the oldest for a resident model, unless others waited a quantum."""
    takers = [waiter for waiter in waiters if name in waiter.targets]
    if not takers:
        return None
    same = next((w for w in takers if w.targets[name].model.id in slot.resident), None)
    return same if same is not None and slot.streak < quantum else takers[0]


class Scheduler:
    """Hands out leases. All of it runs on one event loop, hence no locks."""

    def __init__(self, *, limit: int, quantum: int, wait_timeout: float) -> None:
        """:param limit: jobs that may wait; one more gets a `QueueFullError`.
        :param quantum: jobs in a row on a resident model while others wait.
        :param wait_timeout: seconds that a job may wait.
        """
        self.slots: dict[str, Slot] = {}
        self._waiters: list[Waiter] = []
        self._limit = limit
        self._quantum = quantum
        self._wait_timeout = wait_timeout
        self._arrivals = 0

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    @property
    def running(self) -> int:
        return sum(slot.running for slot in self.slots.values())

    def open(self, provider: str, capacity: int) -> None:
        """Let a provider take jobs; one that is known keeps its running count."""
        slot = self.slots.setdefault(provider, Slot(capacity))
        slot.capacity, slot.closed = capacity, None
        self._bind()

    def observe(self, provider: str, resident: frozenset[str], jobs: int = 0) -> None:
        """Note which models are loaded on a provider, and how many jobs it has, ours among them."""
        if (slot := self.slots.get(provider)) is not None:
            slot.resident = resident
            slot.foreign = max(0, jobs - slot.running)

    def close(self, provider: str, error: Callable[[], ImageRouterError]) -> None:
        """Take a provider out: it gets no further job, and jobs that have no other candidate fail."""
        if (slot := self.slots.get(provider)) is not None:
            slot.capacity, slot.closed = 0, error
        for waiter in list(self._waiters):
            if waiter.targets.pop(provider, None) and not waiter.targets:
                self._waiters.remove(waiter)
                if not waiter.bound.done():
                    waiter.bound.set_exception(error())
        self._bind()

    @asynccontextmanager
    async def lease(
        self,
        candidates: Iterable[Target],
        *,
        moved: Callable[[int], None] = lambda _: None,
        ordered: bool = False,
    ) -> AsyncIterator[Target]:
        """Wait for the right to run on one of ``candidates`` (best first), and hold it.

        :param moved: told the number of jobs ahead, whenever that changes.
        :param ordered: whether the candidates' order is the client's wish, which counts before residency.

        Raises `QueueFullError` at once when the queue is full, and after ``wait_timeout`` seconds of waiting.
        """
        self._arrivals += 1
        bound: asyncio.Future[Target] = asyncio.get_running_loop().create_future()
        target = await self._acquire(Waiter(self._arrivals, tuple(candidates), bound, moved, ordered))
        started = asyncio.get_running_loop().time()
        try:
            yield target
        finally:
            self._release(target, asyncio.get_running_loop().time() - started)

    async def _acquire(self, waiter: Waiter) -> Target:
        self._drop_closed(waiter)
        self._waiters.append(waiter)
        self._bind()
        if not waiter.bound.done() and self.waiting > self._limit:
            self._waiters.remove(waiter)
            raise QueueFullError(
                f"the queue is full: {self._limit} requests are waiting", retry_after=self.backlog_seconds()
            )
        try:
            async with asyncio.timeout(self._wait_timeout):
                return await waiter.bound
        except BaseException as error:
            self._abandon(waiter)
            if isinstance(error, TimeoutError):
                raise QueueFullError(
                    f"no provider became free within {self._wait_timeout:g} seconds",
                    retry_after=self.backlog_seconds(),
                ) from None
            raise

    def _drop_closed(self, waiter: Waiter) -> None:
        """A candidate may have gone away since the job was planned."""
        for provider in list(waiter.targets):
            slot = self.slots[provider]
            if slot.closed is not None:
                del waiter.targets[provider]
                if not waiter.targets:
                    raise slot.closed()

    def _abandon(self, waiter: Waiter) -> None:
        """The job gave up; a slot that it was bound to in the same moment goes back."""
        if waiter in self._waiters:
            self._waiters.remove(waiter)
        elif waiter.bound.done() and not waiter.bound.cancelled() and waiter.bound.exception() is None:
            self.slots[waiter.bound.result().provider].running -= 1
        self._bind()

    def _release(self, target: Target, seconds: float) -> None:
        slot = self.slots[target.provider]
        slot.running -= 1
        slot.seconds += 0.2 * (seconds - slot.seconds)
        self._bind()

    def _bind(self) -> None:
        while (choice := choose(self.slots, self._waiters, self._quantum)) is not None:
            provider, waiter = choice
            self._waiters.remove(waiter)
            if waiter.bound.done():
                continue
            self._occupy(provider, waiter.targets[provider].model.id)
            waiter.bound.set_result(waiter.targets[provider])
        for position, waiter in enumerate(self._waiters):
            if waiter.position != position:
                waiter.position = position
                waiter.moved(position)

    def _occupy(self, provider: str, model: str) -> None:
        slot = self.slots[provider]
        rivals = [w.targets[provider].model.id for w in self._waiters if provider in w.targets]
        stays = model in slot.resident
        slot.streak = slot.streak + 1 if stays and any(rival != model for rival in rivals) else 0
        slot.running += 1
        if not stays:
            # What a swap evicts is the provider's to say (`observe`); until then only this model is certain.
            slot.resident = frozenset({model})

    def backlog_seconds(self) -> float:
        """How long the jobs that wait now will keep the open slots busy: what ``retry-after`` says."""
        rate = sum(slot.capacity / max(slot.seconds, 0.1) for slot in self.slots.values())
        return float(max(1, math.ceil((self.waiting + self.running) / rate))) if rate else 30.0
