"""One queue with late binding: a slot that frees pulls the best waiting job, the resident model's first.

There is no queue per provider: a job waits for all its candidates at once and is bound when one of them has room.
Who goes where is `choice`'s to say, who goes first within a model `waiting`'s, and what it all takes `costs`'. The
only clock is the event loop's.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

from imagerouter.clock import now
from imagerouter.errors import ImageRouterError, ProviderUnavailableError, QueueFullError
from imagerouter.jobs import Target
from imagerouter.scheduling.choice import Choice, Rule, Slot, choose, preview
from imagerouter.scheduling.costs import Costs, Forecast
from imagerouter.scheduling.forecast import forecast, spread
from imagerouter.scheduling.waiting import Candidate, Group, Lease, Waiter, least_entitled, weight_of

LONGEST_RETRY = 600.0
"""Seconds; no ``retry-after`` says more."""


class Scheduler:
    """Hands out leases. All of it runs on one event loop, hence no locks."""

    def __init__(self, *, limit: int, quantum: float, wait_timeout: float, costs: Costs | None = None) -> None:
        """:param limit: jobs that may wait; one more gets a `QueueFullError`.
        :param quantum: how long a model keeps a provider while others wait: rendering, in loads of another model.
        :param wait_timeout: seconds that a job may wait.
        """
        self.slots: dict[str, Slot] = {}
        self.costs = Costs() if costs is None else costs
        self._waiters: dict[int, Waiter] = {}
        self._groups: dict[tuple[Candidate, ...], Group] = {}
        self._idle: dict[str, list[asyncio.Event]] = {}
        self._arrivals = 0
        self.limit_to(limit=limit, quantum=quantum, wait_timeout=wait_timeout)

    def limit_to(self, *, limit: int, quantum: float, wait_timeout: float) -> None:
        """The limits that hold from now on; jobs that wait already keep their deadline."""
        # Whoever waits should get its turn before it is told that it waited too long.
        self._rule = Rule(quantum, wait_timeout / 2)
        self._limit = limit
        self._wait_timeout = wait_timeout

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
            if resident.issuperset(slot.loading.values()):
                slot.resident = resident
            slot.foreign = max(0, jobs - slot.running)
            self._bind()

    def close(self, provider: str, error: Callable[[], ImageRouterError]) -> None:
        """Take a provider out: it gets no further job, and jobs whose candidates are all out fail.

        The others wait for it too, in case that it comes back.
        """
        if (slot := self.slots.get(provider)) is not None:
            slot.capacity, slot.closed = 0, error
        for waiter in [each for each in self._waiters.values() if provider in each.targets and self._is_hopeless(each)]:
            self._leave(waiter)
            if not waiter.bound.done():
                waiter.bound.set_exception(error())
        self._bind()

    async def idle(self, provider: str) -> None:
        """Wait until none of our jobs runs on a provider, which should be closed by then."""
        slot = self.slots.get(provider)
        if slot is not None and slot.running:
            waiting = asyncio.Event()
            self._idle.setdefault(provider, []).append(waiting)
            await waiting.wait()

    def forget(self, provider: str) -> None:
        """A provider that is closed and idle is gone for good."""
        self.slots.pop(provider, None)
        for waiter in [waiter for waiter in self._waiters.values() if provider in waiter.targets]:
            self._leave(waiter)
            del waiter.targets[provider]
            self._join(waiter)

    async def lease(
        self,
        candidates: Iterable[Target],
        *,
        work: float = 1.0,
        ranks: Mapping[str, int] | None = None,
        owner: str | None = None,
        priority: int = 0,
        deadline: float = math.inf,
        moved: Callable[[int], None] | None = None,
        again: Lease | None = None,
    ) -> Lease:
        """Wait for the right to run on one of ``candidates`` (best first), to be held by ``with``.

        :param work: steps times megapixels, of all images: what `Costs` tells the seconds from.
        :param ranks: place of each provider where several have room, which counts before all else; 0 goes first.
        :param owner: whose job it is; those who have jobs for one model get equal shares of its service.
        :param priority: from -3 to 3; each level weighs four times as much as the one below.
        :param deadline: seconds from now within which the job has to start.
        :param moved: told the number of jobs that came before and still wait, whenever that changes.
        :param again: of the job's attempt before this one, whose place in the queue it keeps.

        Raises `QueueFullError` at once when the queue is full, and when the job can't start in time.
        """
        self._arrivals += again is None
        targets: dict[str, Target] = {}
        for target in candidates:
            targets.setdefault(target.provider, target)
        moment = now()
        waiter = Waiter(
            again.number if again else self._arrivals,
            targets,
            asyncio.get_running_loop().create_future(),
            arrived=again.arrived if again else moment,
            joined=moment if again else None,
            work=work,
            ranks=ranks or {},
            owner=owner,
            weight=weight_of(priority),
            moved=moved,
        )
        self._check_open(waiter)
        self._join(waiter)
        self._bind()
        if waiter.bound.done():
            return waiter.bound.result()
        if again is None and self.waiting > self._limit:
            self._turn_one_away(waiter)
        return await self._turn_of(waiter, min(deadline, self._wait_timeout))

    async def _turn_of(self, waiter: Waiter, seconds: float) -> Lease:
        try:
            async with asyncio.timeout(seconds):
                return await waiter.bound
        except BaseException as error:
            self._abandon(waiter)
            if isinstance(error, TimeoutError):
                raise self._full(f"no provider became free within {seconds:g} seconds") from None
            raise

    def _turn_one_away(self, newcomer: Waiter) -> None:
        """Too many wait. Who goes isn't always the last to come: nobody can keep others out by filling the queue."""
        leaving = least_entitled(self._waiters.values())
        error = self._full(f"the queue is full: {self._limit} requests are waiting")
        self._leave(leaving)
        if leaving is newcomer:
            raise error
        if not leaving.bound.done():  # it may have been given up in the same moment
            leaving.bound.set_exception(error)

    def _is_hopeless(self, waiter: Waiter) -> bool:
        return all(self.slots[provider].closed is not None for provider in waiter.targets)

    def _check_open(self, waiter: Waiter) -> None:
        """Candidates may have gone away since the job was planned."""
        if gone := waiter.targets.keys() - self.slots.keys():
            for provider in gone:
                del waiter.targets[provider]
            if not waiter.targets:
                names = " and ".join(f"`{name}`" for name in sorted(gone))
                raise ProviderUnavailableError(f"{names} can't be used any more")
        errors = [error for provider in waiter.targets if (error := self.slots[provider].closed) is not None]
        if len(errors) == len(waiter.targets):
            raise errors[0]()

    def _join(self, waiter: Waiter) -> None:
        candidates = waiter.candidates
        if (group := self._groups.get(candidates)) is None:
            group = self._groups[candidates] = Group(candidates)
        group.add(waiter)
        self._waiters[waiter.number] = waiter

    def _leave(self, waiter: Waiter) -> None:
        group = self._groups[waiter.candidates]
        group.drop(waiter)
        self._forget(waiter, group)

    def _forget(self, waiter: Waiter, group: Group) -> None:
        del self._waiters[waiter.number]
        if not group.count:
            del self._groups[group.candidates]

    def _abandon(self, waiter: Waiter) -> None:
        """The job gave up; a slot that it was bound to in the same moment goes back."""
        if waiter.number in self._waiters:
            self._leave(waiter)
            self._bind()
        elif waiter.bound.done() and not waiter.bound.cancelled() and waiter.bound.exception() is None:
            self._release(waiter.bound.result())

    def _release(self, lease: Lease) -> None:
        slot = self.slots[lease.target.provider]
        slot.running -= 1
        del slot.ends[lease.number]
        slot.loading.pop(lease.number, None)
        if not slot.running:
            for waiting in self._idle.pop(lease.target.provider, ()):
                waiting.set()
        self._bind()

    def _bind(self) -> None:
        if not self._waiters:
            return
        moment = now()
        while self._waiters and (choice := choose(self.slots, self._groups.values(), self.costs, self._rule, moment)):
            self._occupy(choice, moment)
        for position, (_, waiter) in enumerate(sorted(self._waiters.items())):
            if waiter.moved is not None and waiter.position != position:
                waiter.position = position
                waiter.moved(position)

    def _occupy(self, choice: Choice, now: float) -> None:
        waiter, slot = choice.group.take(), self.slots[choice.provider]
        self._forget(waiter, choice.group)
        if waiter.bound.done():
            return
        target = waiter.targets[choice.provider]
        others = [group for group in self._groups.values() if group.rivals(choice.provider, target.model.id)]
        if choice.cold:
            # What a load evicts is the provider's to say (`observe`); until then only this model is certain.
            slot.resident, slot.streak = frozenset({target.model.id}), 0.0
            slot.loading[waiter.number] = target.model.id
            for group in others:
                group.passed += 1
        slot.streak = slot.streak + choice.render if others else 0.0
        slot.running += 1
        slot.used, slot.usual = waiter.number, choice.render
        slot.ends[waiter.number] = now + choice.load + choice.render
        lease = Lease(
            target,
            waiter.number,
            waiter.work,
            choice.cold,
            expected=choice.load + choice.render,
            arrived=waiter.arrived,
            waited=now - (waiter.arrived if waiter.joined is None else waiter.joined),
            costs=self.costs,
            release=self._release,
        )
        waiter.bound.set_result(lease)

    def waiting_for(self, provider: str) -> int:
        """Our jobs that wait and could run there; elsewhere too, maybe."""
        return sum(group.count for group in self._groups.values() if provider in group.models)

    def forecast(self, target: Target, work: float) -> Forecast:
        """What a job would probably take on ``target`` if it came now."""
        return forecast(self.slots, self._groups.values(), self.costs, target, work=work, now=now())

    def preview(self, candidates: Iterable[Target], work: float, ranks: Mapping[str, int]) -> list[Target]:
        """``candidates`` in the order in which a job that came now would get them."""
        targets = {target.provider: target for target in reversed(list(candidates)) if target.provider in self.slots}
        if not targets:
            return []
        probe = Waiter(self._arrivals + 1, targets, asyncio.get_running_loop().create_future(), now(), work, ranks)
        group = Group(probe.candidates)
        group.add(probe)
        order = preview(self.slots, self._groups.values(), self.costs, self._rule, now=now(), group=group)
        return [targets[name] for name in order]

    def spread(self, candidates: Sequence[Target], work: float, n: int) -> list[tuple[Target, int]]:
        """How ``n`` images of ``work`` each would be shared among providers that are idle and have the model loaded.

        Nothing is shared while others wait: what is idle then is theirs.
        """
        return [] if self._waiters else spread(self.slots, self.costs, candidates, work, n)

    def _full(self, message: str) -> QueueFullError:
        return QueueFullError(message, retry_after=self.backlog_seconds())

    def backlog_seconds(self) -> float:
        """How long the jobs that wait and run now will keep the open slots busy: what ``retry-after`` says."""
        moment, room = now(), sum(slot.capacity for slot in self.slots.values())
        if not room:
            return 30.0
        seconds = sum(abs(end - moment) for slot in self.slots.values() for end in slot.ends.values())
        for group in self._groups.values():
            provider, model = next(iter(group.models.items()))
            seconds += self.costs.render(provider, model, group.work, group.count)
            if not any(group.models.get(name) in slot.resident for name, slot in self.slots.items()):
                seconds += self.costs.loading(provider, model)
        return float(math.ceil(min(max(1.0, seconds / room), LONGEST_RETRY)))
