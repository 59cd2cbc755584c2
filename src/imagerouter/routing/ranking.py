"""In which order the targets that can serve a job are tried. Pure.

Two things are told apart: tiers, which are tried one after the other, and ranks within a tier, which only say who
goes first where several have room, so that a job never waits for the first while the second is idle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from operator import itemgetter

from imagerouter.jobs import Job, Sort, Target
from imagerouter.routing.rules import Rule
from imagerouter.scheduling.costs import Forecast

Forecaster = Callable[[Job, Target], Forecast]

Tiers = tuple[tuple[Target, ...], ...]
Wish = tuple[int, float, bool]
"""Less is better: the client's order, then what it sorts by, then what rules prefer."""


def ranked(
    job: Job,
    targets: Sequence[Target],
    types: Mapping[str, str],
    rules: Mapping[str, Sequence[Rule]],
    forecast: Forecaster | None,
) -> tuple[Tiers, dict[str, int]]:
    """The tiers, and the rank of each provider, which is empty where all are equal.

    :param types: of each provider.
    :param rules: those that apply, by target.
    """
    if len(targets) == 1:
        return (tuple(targets),), {}
    graded: list[tuple[tuple[bool, int], Wish, Target]] = []
    for target in targets:
        names, applied = {target.provider, types[target.provider]}, rules.get(target.name, ())
        graded.append((_tier(job, target, names, applied), _wish(job, target, names, applied, forecast), target))
    tiers: dict[tuple[bool, int], list[Target]] = {}
    for tier, _, target in sorted(graded, key=itemgetter(0, 1)):
        tiers.setdefault(tier, []).append(target)
    places = {wish: place for place, wish in enumerate(sorted({wish for _, wish, _ in graded}))}
    ranks: dict[str, int] = {}
    for _, wish, target in graded if len(places) > 1 else ():
        # Of two targets on one provider the better one counts; that is the one which gets the job there.
        ranks[target.provider] = min(places[wish], ranks.get(target.provider, places[wish]))
    return tuple(map(tuple, tiers.values())), ranks


def _tier(job: Job, target: Target, names: Set[str], rules: Sequence[Rule]) -> tuple[bool, int]:
    """What rules avoid comes last, then what the configuration orders; the client's own order outdoes both."""
    wishes = job.preferences
    is_avoided = bool(rules) and any(not names.isdisjoint(rule.avoid) for rule in rules)
    is_wanted = is_avoided and not (names.isdisjoint(wishes.order) and names.isdisjoint(wishes.only))
    return is_avoided and not is_wanted, 0 if wishes.order or wishes.sort else target.order


def _wish(job: Job, target: Target, names: Set[str], rules: Sequence[Rule], forecast: Forecaster | None) -> Wish:
    order, sort = job.preferences.order, job.preferences.sort
    places = [place for place, name in enumerate(order) if name in names] if order else ()
    measure = 0.0 if sort is None else _measure(job, target, sort, forecast)
    is_preferred = bool(rules) and any(not names.isdisjoint(rule.prefer) for rule in rules)
    return places[0] if places else len(order), measure, not is_preferred


def _measure(job: Job, target: Target, sort: Sort, forecast: Forecaster | None) -> float:
    if sort == "price":
        return job.on(target).price
    if forecast is None:
        return 0.0
    expected = forecast(job, target)
    return expected.total if sort == "latency" else expected.render
