"""Which targets may serve a job, in which order, and what a client is told where none may. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec

from imagerouter.config import Limits
from imagerouter.errors import (
    ImageRouterError,
    InvalidParameterError,
    NoProviderError,
    PermissionDeniedError,
    UnknownParameterError,
)
from imagerouter.jobs import Job, Placement, Target, operation_of
from imagerouter.parity.measured import Measured
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.likeness import Judged, unlike
from imagerouter.routing.ranking import Forecaster, ranked
from imagerouter.routing.refusals import OWN_CHOICE, PASSING, Refusal, Snapshot, refused
from imagerouter.routing.rules import Facts, Rule, first_match


class World(msgspec.Struct, frozen=True):
    """All that a plan depends on besides the job and its model."""

    snapshots: Mapping[str, Snapshot]
    limits: Limits | None = None
    rules: Sequence[Rule] = ()
    """Those for all requests."""
    measured: Measured | None = None
    """Which targets were found to draw the same pictures."""
    now: datetime = datetime.min
    """The server's local time, which rules may depend on."""
    forecast: Forecaster | None = None
    """Expected seconds, which ``provider.sort`` may depend on."""


class Plan(msgspec.Struct, frozen=True):
    """Targets that may serve the job, and all refusals."""

    tiers: tuple[tuple[Target, ...], ...]
    """Best first. A later tier is for when nothing of the earlier ones could serve."""
    refusals: tuple[Refusal, ...] = ()
    ranks: Mapping[str, int] = {}
    """Place of each provider where several of a tier have room, 0 first; all are equal where it is empty."""
    rules: Mapping[str, tuple[Rule, ...]] = {}
    """The rules that applied, by target."""
    awaited: bool = False
    """Whether a provider that the request asks for isn't ready: which models it has may not be known yet."""

    @property
    def candidates(self) -> tuple[Target, ...]:
        return tuple(target for tier in self.tiers for target in tier)

    @property
    def is_choosy(self) -> bool:
        """Whether it is the request's own preferences that exclude all targets."""
        return bool(self.refusals) and not self.awaited and all(each.kind in OWN_CHOICE for each in self.refusals)

    def error(self, model: str) -> ImageRouterError:
        """The error for a plan with no candidate: the client's fault if one parameter is what everybody minds."""
        if self.is_choosy:
            return self._too_choosy(model)
        asked = [refusal for refusal in self.refusals if refusal.kind not in OWN_CHOICE]
        denied = [refusal for refusal in asked if refusal.kind == "denied"]
        if denied and not any(refusal.kind in PASSING for refusal in asked):
            return PermissionDeniedError(denied[0].reason)
        params = {refusal.param for refusal in asked}
        if params and None not in params and all(refusal.kind == "parity" for refusal in asked):
            params = {asked[0].param}
        if len(params) == 1 and (param := params.pop()) is not None:
            first = asked[0]
            kind = UnknownParameterError if first.kind == "strict" else InvalidParameterError
            return kind(f"`{param}`: {first.reason}", param=param)
        return self._unavailable(model)

    def _unavailable(self, model: str) -> NoProviderError:
        reasons = "; ".join(f"{refusal.target}: {refusal.reason}" for refusal in self.refusals)
        return NoProviderError(f"no provider can serve `{model}` now ({reasons or 'none is configured'})")

    def _too_choosy(self, model: str) -> InvalidParameterError:
        params = {refusal.param for refusal in self.refusals}
        param = params.pop() if len(params) == 1 else "provider"
        having = ", ".join(f"`{refusal.target}`" for refusal in self.refusals[:20])
        return InvalidParameterError(f"`{param}` leaves no provider for `{model}`, which is on {having}", param=param)


def plan(job: Job, model: PublicModel, world: World) -> Plan:
    """Drop the targets of ``model`` that can't serve ``job``, each with its reason, and rank the rest."""
    judged: list[Judged] = []
    applied: dict[str, tuple[Rule, ...]] = {}
    for target in model.targets:
        placement = job.on(target)
        if rules := _rules_for(placement, model, world):
            placement = job.on(_forced(target, rules))
            applied[target.name] = rules
        judged.append((placement, refused(placement, world.snapshots.get(target.provider), world.limits, rules)))
    others = unlike(judged, model.targets, world.snapshots, world.measured)
    candidates = [placed.target for placed, refusal in judged if not refusal and placed.target.name not in others]
    refusals = [each for placed, refusal in judged if (each := others.get(placed.target.name) or refusal)]
    types = {target.provider: world.snapshots[target.provider].type for target in candidates}
    tiers, ranks = ranked(job, candidates, types, applied, world.forecast)
    return Plan(tiers, tuple(refusals), ranks, applied, _is_awaited(job, world))


def _is_awaited(job: Job, world: World) -> bool:
    wished = {*job.preferences.only, *job.preferences.order}
    if not wished:
        return False
    return any(not known.ready and wished & {name, known.type} for name, known in world.snapshots.items())


def _rules_for(placement: Placement, model: PublicModel, world: World) -> tuple[Rule, ...]:
    """At most one rule of each place, from the most general place to the most special one."""
    snapshot = world.snapshots.get(placement.target.provider)
    own = snapshot.rules if snapshot else ()
    if not (world.rules or model.rules or own):
        return ()
    facts = _facts(placement, model, world.now)
    matches = (first_match(rules, facts) for rules in (world.rules, model.rules, own))
    return tuple(rule for rule in matches if rule is not None)


def _facts(placement: Placement, model: PublicModel, now: datetime) -> Facts:
    job, (width, height) = placement.job, placement.size
    usual = placement.target.model.parameters.get("steps")
    return Facts(
        model=model.name,
        asked=job.model,
        operation=operation_of(job),
        width=width or None,
        height=height or None,
        steps=placement.params.get("steps", usual.default if usual else None),
        n=job.n,
        key=job.origin.key,
        headers=job.origin.headers,
        has=frozenset(job.params),
        now=now,
    )


def _forced(target: Target, rules: Iterable[Rule]) -> Target:
    """``target`` with what the rules set; the target's own parameters win over the rules'."""
    forced = {name: value for rule in rules for name, value in rule.set.items()}
    return replace(target, params={**forced, **target.params}) if forced else target
