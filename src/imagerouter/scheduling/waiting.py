"""The jobs that wait: in groups with the same candidates, each in fair order between those who sent them."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType

import msgspec

from imagerouter.jobs import Target
from imagerouter.scheduling.costs import Costs

WEIGHT_PER_PRIORITY = 4.0
"""How much more service one level of priority gets while both have jobs waiting."""
HIGHEST_PRIORITY = 3
"""And the lowest is its negative: however much is more important, the rest gets its share."""
LEAST_WORK = 1e-3
"""A job that seems to cost nothing is still one."""


Candidate = tuple[str, str, float, int]
"""A provider, its native model, how many times faster than it is it counts, and its place where several have room."""


class Lease(msgspec.Struct, frozen=True):
    """The right to run one job on ``target``. It is given back at the end of the ``with`` block."""

    target: Target
    number: int
    work: float
    cold: bool
    """Whether the model wasn't loaded there, as far as is known."""
    expected: float
    """Seconds that the job will take, loading included."""
    arrived: float
    """When its job first came, in loop time."""
    waited: float
    """Seconds in the queue before this attempt."""
    costs: Costs
    release: Callable[[Lease], None]

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release(self)

    def ran(self, seconds: float, load: float = 0.0) -> None:
        """Learn from a job that ran well. ``load``: the part that the provider says went into loading."""
        self.costs.ran(self.target.provider, self.target.model.id, self.work, seconds, load, cold=self.cold)


@dataclass(slots=True, eq=False)
class Waiter:
    """A job in the queue."""

    number: int
    targets: dict[str, Target]
    """Its candidates by provider, best first."""
    bound: asyncio.Future[Lease]
    arrived: float
    """When the job first came; loop time in seconds."""
    work: float = 1.0
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Place of each provider, 0 first; all are equal where it is empty."""
    owner: str | None = None
    weight: float = 1.0
    """By its priority (`weight_of`)."""
    moved: Callable[[int], None] | None = None
    joined: float | None = None
    """When it came back after an attempt that failed; it keeps its place then."""
    position: int = -1
    waits: bool = True

    @property
    def charge(self) -> float:
        return max(self.work, LEAST_WORK) / self.weight

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Best first. Equal for the jobs of one group."""
        rank = self.ranks.get
        return tuple([(name, t.model.id, t.weight, rank(name, 0)) for name, t in self.targets.items()])


def weight_of(priority: int) -> float:
    return WEIGHT_PER_PRIORITY ** max(-HIGHEST_PRIORITY, min(priority, HIGHEST_PRIORITY))


def least_entitled(waiters: Iterable[Waiter]) -> Waiter:
    """Of the least urgent jobs that haven't had an attempt yet, the last one of whoever has most waiting."""
    fresh = [waiter for waiter in waiters if waiter.joined is None]
    counts = Counter(waiter.owner for waiter in fresh)
    return min(fresh, key=lambda waiter: (waiter.weight, -counts[waiter.owner], -waiter.number))


class Group:
    """Jobs with the same candidates, by self-clocked fair queueing between (owner, priority).

    Each of them has a clock of the work that it was promised, which runs the slower the higher the priority. The
    job goes first whose work would be done first by its clock, and who comes back after a pause starts where the
    others are now. So one job overtakes most of the two hundred of another owner, and nobody saves up.
    """

    def __init__(self, candidates: tuple[Candidate, ...]) -> None:
        self.candidates = candidates
        """What its jobs have in common; best first."""
        self.models: dict[str, str] = {}
        """Native model by provider, best first."""
        self.weights: dict[str, float] = {}
        """How many times faster than it is each provider counts."""
        self.ranks: dict[str, int] = {}
        """The place of each provider where several have room: 0 goes first."""
        for provider, model, weight, rank in candidates:
            self.models[provider], self.weights[provider], self.ranks[provider] = model, weight, rank
        self.ordered = len(set(self.ranks.values())) > 1
        """Whether it matters to somebody which provider takes its jobs."""
        self.count = 0
        self.work = 0.0
        self.weight = 0.0
        self.passed = 0
        """How often another model was loaded where this group's could have been, since it was last served."""
        self.head: Waiter
        """Whose turn it is, while there is one."""
        self._weighted_arrivals = 0.0
        self._heap: list[tuple[float, int, int, Waiter]] = []
        self._entries = 0
        self._clocks: dict[tuple[str | None, float], float] = {}
        self._now = 0.0

    def add(self, waiter: Waiter) -> None:
        flow = waiter.owner, waiter.weight
        end = self._now
        if waiter.joined is None:  # who comes back has had its turn already
            end = self._clocks[flow] = max(self._now, self._clocks.get(flow, 0.0)) + waiter.charge
        self._entries += 1  # one job may come twice, and waiters have no order
        heapq.heappush(self._heap, (end, waiter.number, self._entries, waiter))
        self._count(waiter, 1)

    def take(self) -> Waiter:
        """The waiter whose turn it is; it leaves."""
        waiter = self.head
        self._now = self._heap[0][0]
        self.passed = 0
        self._count(waiter, -1)
        return waiter

    def drop(self, waiter: Waiter) -> None:
        """A waiter gives up; its owner isn't charged for it."""
        if waiter.joined is None:
            self._clocks[waiter.owner, waiter.weight] -= waiter.charge
        self._count(waiter, -1)

    @property
    def urgency(self) -> float:
        return self.weight / self.count

    def wait(self, now: float) -> float:
        """Seconds that its jobs have waited, all together, each weighted by its priority."""
        return max(0.0, now * self.weight - self._weighted_arrivals)

    def rivals(self, provider: str, model: str) -> bool:
        """Whether it waits for another model on that provider."""
        return self.models.get(provider, model) != model

    def _count(self, waiter: Waiter, sign: int) -> None:
        waiter.waits = sign > 0
        self.count += sign
        self.work = max(0.0, self.work + sign * waiter.work)
        self.weight += sign * waiter.weight
        self._weighted_arrivals += sign * waiter.weight * waiter.arrived
        while self._heap and not self._heap[0][-1].waits:
            heapq.heappop(self._heap)
        if self._heap:
            self.head = self._heap[0][-1]
