"""What would happen to a job that came now: seconds, and over which providers its images would be spread. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence

from imagerouter.jobs import Target
from imagerouter.scheduling.choice import Slot
from imagerouter.scheduling.costs import Costs, Forecast
from imagerouter.scheduling.waiting import Group


def forecast(
    slots: Mapping[str, Slot], groups: Iterable[Group], costs: Costs, target: Target, *, work: float, now: float
) -> Forecast:
    """Expected seconds on ``target``, if it came to that."""
    provider, model = target.provider, target.model.id
    slot = slots.get(provider, Slot(0))
    load = 0.0 if model in slot.resident else costs.loading(provider, model)
    foreign = slot.foreign * slot.usual
    queue = slot.busy(now) + foreign + _waiting(slots, groups, costs, provider)
    return Forecast(queue, load, costs.render(provider, model, work))


def _waiting(slots: Mapping[str, Slot], groups: Iterable[Group], costs: Costs, provider: str) -> float:
    """Seconds that the jobs which wait already will take there, if those who can serve them share them evenly."""
    seconds = 0.0
    for group in groups:
        if (model := group.models.get(provider)) is None:
            continue
        room = sum(slots[name].capacity for name in group.models)
        render = costs.render(provider, model, group.work, group.count)
        load = 0.0 if model in slots[provider].resident else costs.loading(provider, model)
        seconds += (render + load) / max(1, room)
    return seconds


def spread(
    slots: Mapping[str, Slot], costs: Costs, targets: Sequence[Target], work: float, n: int
) -> list[tuple[Target, int]]:
    """How ``n`` images of ``work`` each are shared among the free slots that have their model loaded.

    Each image goes where it would be done first, so a provider that is twice as fast draws twice as many. Most
    images come first; empty where no slot is free and warm.
    """
    free: list[Target] = []
    first_of = {target.provider: target for target in reversed(targets) if target.provider in slots}
    for provider in sorted(first_of, key=lambda provider: slots[provider].used):
        slot, target = slots[provider], first_of[provider]
        if not slot.foreign and target.model.id in slot.resident:
            free += [target] * (slot.capacity - slot.running)
    seconds = [max(1e-6, costs.render(target.provider, target.model.id, work)) / target.weight for target in free]
    ends = [(each, place) for place, each in enumerate(seconds)]
    heapq.heapify(ends)
    counts = [0] * len(free)
    for _ in range(n if free else 0):
        end, place = heapq.heappop(ends)
        counts[place] += 1
        heapq.heappush(ends, (end + seconds[place], place))
    shares = [(target, count) for target, count in zip(free, counts, strict=True) if count]
    return sorted(shares, key=lambda share: -share[1])
