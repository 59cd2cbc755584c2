"""In which order the targets that can serve a job are tried. Pure.

Two things are told apart: tiers, which are tried one after the other, and ranks within a tier, which only say who
goes first where several have room, so that a job never waits for the first while the second is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from imagerouter.jobs import Job, Target
from imagerouter.routing.rules import Rule
from imagerouter.scheduling.costs import Forecast

Forecaster = Callable[[Job, Target], Forecast]

Tiers = tuple[tuple[Target, ...], ...]


def ranked(
    job: Job,
    targets: Iterable[Target],
    types: Mapping[str, str],
    rules: Mapping[str, Sequence[Rule]],
    forecast: Forecaster | None,
) -> tuple[Tiers, dict[str, int]]:
    """The tiers, and the rank of each provider, which is empty where all are equal.

    :param types: of each provider.
    :param rules: those that apply, by target.
    """
    listed = list(targets)
    wishes = {target.name: _wish(job, target, types, rules.get(target.name, ()), forecast) for target in listed}
    places = {wish: place for place, wish in enumerate(sorted(set(wishes.values())))}
    tiers: dict[tuple[bool, int], list[Target]] = {}
    for target in sorted(listed, key=lambda target: places[wishes[target.name]]):
        tiers.setdefault(_tier(job, target, types, rules.get(target.name, ())), []).append(target)
    ranks: dict[str, int] = {}
    for target in listed if len(places) > 1 else ():
        # Of two targets on one provider the better one counts; that is the one which gets the job there.
        place = places[wishes[target.name]]
        ranks[target.provider] = min(place, ranks.get(target.provider, place))
    return tuple(tuple(tiers[key]) for key in sorted(tiers)), ranks


def _tier(job: Job, target: Target, types: Mapping[str, str], rules: Sequence[Rule]) -> tuple[bool, int]:
    """What rules avoid comes last, then what the configuration orders; the client's own order outdoes both."""
    names = {target.provider, types[target.provider]}
    wanted = names & {*job.preferences.order, *job.preferences.only}
    avoided = not wanted and any(names & set(rule.avoid) for rule in rules)
    own_order = job.preferences.order or job.preferences.sort
    return avoided, 0 if own_order else target.order


def _wish(
    job: Job, target: Target, types: Mapping[str, str], rules: Sequence[Rule], forecast: Forecaster | None
) -> tuple[int, float, bool]:
    """Less is better: the client's order, then what it sorts by, then what rules prefer."""
    names = {target.provider, types[target.provider]}
    order = [place for place, name in enumerate(job.preferences.order) if name in names]
    first = order[0] if order else len(job.preferences.order)
    return first, _measure(job, target, forecast), not any(names & set(rule.prefer) for rule in rules)


def _measure(job: Job, target: Target, forecast: Forecaster | None) -> float:
    sort = job.preferences.sort
    if sort == "price":
        return job.price_on(target)
    if sort is None or forecast is None:
        return 0.0
    expected = forecast(job, target)
    return expected.total if sort == "latency" else expected.render
