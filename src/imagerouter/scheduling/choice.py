"""Which waiting job goes to which free slot. Pure: no clock, no I/O.

A free slot goes on with the model that it has loaded, up to a quantum while others wait, and then loads the model
whose jobs have waited most, for the time that serving them takes. A model that is loaded somewhere is loaded on a
second provider only where the jobs ahead there outweigh the load, and its share of the whole backlog with it:
loading a model takes as long as many pictures, so what decides is how rarely that happens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from imagerouter.errors import ImageRouterError
from imagerouter.scheduling.costs import Costs
from imagerouter.scheduling.waiting import Group

BACKLOG_LOADS = 2.0
"""A model that is loaded somewhere is loaded elsewhere too if clearing its jobs there takes more than this many loads
and the average backlog of a slot. These figures are from `bench/routing`."""
MOST_LOADS = 20.0
"""And it always is from this many loads on."""
MOST_PASSED = 8
"""So often others may be loaded where a group's model could have been, before it goes first."""
LOAD_CHARGE = 2.0
"""What a load counts when slots are compared: the job that wants the evicted model back pays once more."""


@dataclass(slots=True)
class Slot:
    """One provider's room."""

    capacity: int
    running: int = 0
    resident: frozenset[str] = frozenset()
    """Native names of the models that are loaded there, as far as is known."""
    foreign: int = 0
    """Other people's jobs, running or waiting in the provider's own queue, when it was last looked at."""
    streak: float = 0.0
    """Expected seconds of rendering since the last load, while others waited."""
    ends: dict[int, float] = field(default_factory=dict)
    """When each running job is expected to end (loop time), by its number."""
    loading: dict[int, str] = field(default_factory=dict)
    """Native names of the models that running jobs had to load, by the jobs' numbers. A status that lacks one of them
    is of the time before it was loaded."""
    usual: float = 5.0
    """Expected seconds of the last job: as long takes one of somebody else's."""
    used: int = 0
    """Number of the last job."""
    closed: Callable[[], ImageRouterError] | None = None
    """Makes the error for jobs that have nowhere else to go, while the provider is out."""

    @property
    def free(self) -> bool:
        return self.running < self.capacity

    def busy(self, now: float) -> float:
        """Expected seconds until it has room. A job that is overdue by a minute is expected to take one more."""
        return 0.0 if self.free else min((abs(end - now) for end in self.ends.values()), default=0.0)


@dataclass(frozen=True, slots=True)
class Rule:
    """How long a model may keep a slot while others wait: ``quantum`` loads, and never over ``patience`` seconds.

    Counted is the rendering that was expected when jobs were bound, never the clock: under backlog every job is
    overdue, and a bound in seconds of waiting turns into a load per job.
    """

    quantum: float
    patience: float


class Choice(msgspec.Struct, frozen=True):
    """The next binding: the head of ``group`` runs on ``provider``."""

    provider: str
    group: Group
    cold: bool
    """Whether its model has to be loaded there."""
    load: float
    render: float
    """Expected seconds."""
    key: tuple[float, float, int, int]
    """Where the client wants it, where it is done soonest, what was used longest ago, who came first."""


def choose(slots: Mapping[str, Slot], groups: Iterable[Group], costs: Costs, rule: Rule, now: float) -> Choice | None:
    """The next binding, or ``None`` when no free slot has a taker. Called again after each binding."""
    moment = _Moment(slots, list(groups), costs, rule, now)
    best: Choice | None = None
    for name, slot in slots.items():
        choice = moment.choice_of(name, slot) if slot.free else None
        if choice is not None and (best is None or choice.key < best.key):
            best = choice
    return best


def preview(
    slots: Mapping[str, Slot], groups: Iterable[Group], costs: Costs, rule: Rule, *, now: float, group: Group
) -> list[str]:
    """The providers of a group that isn't among ``groups`` yet, in the order in which it would get them now."""
    moment = _Moment(slots, [*groups, group], costs, rule, now)

    def key(name: str) -> tuple[bool, float, float, int]:
        slot, model = slots[name], group.models[name]
        is_worth_it = model in slot.resident or moment.is_worth_loading(name, group)
        choice = moment.choice_for(name, slot, group) if slot.free and is_worth_it else None
        if choice is not None:
            return False, *choice.key[:3]
        load = 0.0 if model in slot.resident else LOAD_CHARGE * costs.loading(name, model)
        seconds = slot.busy(now) + load + costs.render(name, model, group.work)
        return True, group.ranks[name], seconds / group.weights[name], slot.used

    return sorted((name for name in slots if name in group.models), key=key)


class _Moment:
    """All that a choice depends on."""

    def __init__(self, slots: Mapping[str, Slot], groups: list[Group], costs: Costs, rule: Rule, now: float) -> None:
        self.slots, self.groups, self.costs, self.rule, self.now = slots, groups, costs, rule, now
        self._clearing: dict[Group, float] = {}
        self._backlogs: dict[str, float] = {}

    @cached_property
    def room(self) -> int:
        """Of all providers."""
        return sum(slot.capacity for slot in self.slots.values())

    @cached_property
    def holders(self) -> dict[str, list[str]]:
        """Providers by the native names of the models that they have loaded."""
        holders: dict[str, list[str]] = {}
        for name, slot in self.slots.items():
            for model in slot.resident if slot.capacity else ():
                holders.setdefault(model, []).append(name)
        return holders

    def choice_of(self, name: str, slot: Slot) -> Choice | None:
        """What one free slot takes next."""
        warm: list[Group] = []
        cold: list[Group] = []
        for group in self.groups:
            if (model := group.models.get(name)) is None:
                continue
            if model in slot.resident:
                warm.append(group)
            elif self.is_worth_loading(name, group):
                cold.append(group)
        if warm and (not cold or slot.streak < self._quantum(name, warm, cold)):
            group = min(warm, key=_age)
        elif cold:
            group = self._next_load(name, cold)
        else:
            return None
        return self.choice_for(name, slot, group)

    def choice_for(self, name: str, slot: Slot, group: Group) -> Choice | None:
        head, model = group.head, group.models[name]
        is_cold = model not in slot.resident
        load = self.costs.loading(name, model) if is_cold or slot.foreign else 0.0
        # Somebody else's job may well leave another model loaded.
        foreign = slot.foreign * (slot.usual + LOAD_CHARGE * load)
        if not is_cold:
            load = 0.0
        delay = foreign + LOAD_CHARGE * load
        if foreign and not group.ordered and self._has_room_sooner(name, group, delay):
            return None
        render = self.costs.render(name, model, head.work)
        weighted = (delay + render) / group.weights[name]
        return Choice(name, group, is_cold, load, render, (group.ranks[name], weighted, slot.used, head.number))

    def is_worth_loading(self, name: str, group: Group) -> bool:
        if group.ordered or group.passed >= MOST_PASSED:
            return True
        seconds = self._seconds_where_loaded(group)
        if seconds == math.inf:
            return True
        load = self.costs.loading(name, group.models[name])
        return seconds > min(BACKLOG_LOADS * load + self._average_backlog(name), MOST_LOADS * load)

    def _average_backlog(self, name: str) -> float:
        """A slot's share of all that waits for this provider, among others, in seconds as it renders them."""
        if name not in self._backlogs:
            takers = ((group, group.models[name]) for group in self.groups if name in group.models)
            total = sum(self.costs.render(name, model, group.work, group.count) for group, model in takers)
            self._backlogs[name] = total / self.room
        return self._backlogs[name]

    def _seconds_where_loaded(self, group: Group) -> float:
        """Until the providers that have its model have served all of the group; infinite if none has it."""
        # One group is asked about for each free slot.
        if group not in self._clearing:
            self._clearing[group] = self._clear_seconds(group)
        return self._clearing[group]

    def _clear_seconds(self, group: Group) -> float:
        rate, jobs = 0.0, float(group.count)
        for model in dict.fromkeys(group.models.values()):
            for name in self.holders.get(model, ()):
                if group.models.get(name) != model:
                    continue
                slot = self.slots[name]
                each = max(1e-6, self.costs.render(name, model, group.work, group.count) / group.count)
                foreign = slot.foreign * (slot.usual + LOAD_CHARGE * self.costs.loading(name, model))
                rate += slot.capacity / each
                jobs += (slot.busy(self.now) + foreign) * slot.capacity / each
        return jobs / rate if rate else math.inf

    def _has_room_sooner(self, name: str, group: Group, delay: float) -> bool:
        """Whether a busy provider will probably take the group before ``name`` has got through ``delay`` seconds."""
        for other, model in group.models.items():
            slot = self.slots[other]
            if other == name or slot.free or not slot.capacity or slot.foreign:
                continue
            is_warm = model in slot.resident
            load = 0.0 if is_warm else LOAD_CHARGE * self.costs.loading(other, model)
            if slot.busy(self.now) + load < delay and (is_warm or self.is_worth_loading(other, group)):
                return True
        return False

    def _quantum(self, name: str, warm: list[Group], cold: list[Group]) -> float:
        """Seconds of rendering for the loaded models; fewer, the more urgent the others are."""
        load = max(self.costs.loading(name, group.models[name]) for group in cold)
        urgency = max(group.urgency for group in cold) / max(group.urgency for group in warm)
        return min(self.rule.quantum * load, self.rule.patience) / max(1.0, urgency)

    def _next_load(self, name: str, cold: list[Group]) -> Group:
        """The group whose model is loaded: most seconds waited per second that serving all of them takes."""
        if overdue := [group for group in cold if group.passed >= MOST_PASSED]:
            return max(overdue, key=lambda group: group.passed)
        waited: dict[str, float] = {}
        needed: dict[str, float] = {}
        for group in cold:
            model = group.models[name]
            waited[model] = waited.get(model, 0.0) + group.wait(self.now)
            start = needed.get(model) or self.costs.loading(name, model)
            needed[model] = start + self.costs.render(name, model, group.work, group.count)
        best = max(waited, key=lambda model: waited[model] / max(1e-6, needed[model]))
        return min((group for group in cold if group.models[name] == best), key=_age)


def _age(group: Group) -> int:
    return group.head.number
