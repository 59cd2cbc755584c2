"""Which targets may serve a job, in which order, and why the others may not. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from imagerouter.config import Limits
from imagerouter.errors import (
    ImageRouterError,
    InvalidParameterError,
    NoProviderError,
    PermissionDeniedError,
    UnknownParameterError,
)
from imagerouter.jobs import Job, Target, operation_of
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.ranking import Forecaster, ranked
from imagerouter.routing.rules import Facts, Rule, first_match
from imagerouter.suggest import shortened
from imagerouter.types import Operation

Kind = Literal[
    "not_configured", "not_ready", "breaker", "preference", "price", "problem",
    "operation", "parameter", "strict", "size", "rule", "denied",
]  # fmt: skip
"""Why a target is refused, in one word: what metrics count by."""
PASSING: frozenset[Kind] = frozenset({"not_ready", "breaker"})
"""What may be over when the same request comes again."""
OWN_CHOICE: frozenset[Kind] = frozenset({"preference", "price"})
"""What the request itself excludes, before it comes to what the target can do."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a provider at the moment of planning."""

    type: str
    ready: bool
    detail: str = ""
    resident: frozenset[str] = frozenset()
    rules: Sequence[Rule] = ()
    """The provider's own."""
    blocked: Mapping[str, str] = field(default_factory=dict)
    """Models that get no job for now, by native name, each with the reason."""


@dataclass(frozen=True, slots=True)
class World:
    """All that a plan depends on besides the job and its model."""

    snapshots: Mapping[str, Snapshot]
    limits: Limits | None = None
    """Of the size that a second pass may lead to; what the client itself wrote is checked by now."""
    rules: Sequence[Rule] = ()
    """Those for all requests."""
    now: datetime = datetime.min
    """The server's local time, which rules may depend on."""
    forecast: Forecaster | None = None
    """Expected seconds, which ``provider.sort`` may depend on."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target can't serve the job. ``param`` names the client's parameter, where one is at fault."""

    target: str
    reason: str
    kind: Kind
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets that may serve the job, and all refusals."""

    tiers: tuple[tuple[Target, ...], ...]
    """Best first. A later tier is for when nothing of the earlier ones could serve."""
    refusals: tuple[Refusal, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)
    """Place of each provider where several of a tier have room, 0 first; all are equal where it is empty."""
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
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


_OPERATION_WORDS = {
    Operation.GENERATE: "text to image",
    Operation.EDIT: "image to image",
    Operation.INPAINT: "inpainting",
}


def plan(job: Job, model: PublicModel, world: World) -> Plan:
    """Drop the targets of ``model`` that can't serve ``job``, each with its reason, and rank the rest."""
    candidates: list[Target] = []
    refusals: list[Refusal] = []
    applied: dict[str, tuple[Rule, ...]] = {}
    for listed in model.targets:
        rules = _rules_for(job, model, listed, world)
        target = _forced(listed, rules)
        if rules:
            applied[target.name] = rules
        refusal = _denied(target, rules) or _refusal(job, target, world, rules)
        if refusal is None:
            candidates.append(target)
        else:
            refusals.append(refusal)
    tiers, ranks = ranked(job, candidates, _types(world), applied, world.forecast)
    wished = {*job.preferences.only, *job.preferences.order}
    awaited = any(not known.ready and wished & {name, known.type} for name, known in world.snapshots.items())
    return Plan(tiers, tuple(refusals), ranks, applied, awaited)


def _types(world: World) -> dict[str, str]:
    return {name: snapshot.type for name, snapshot in world.snapshots.items()}


def _rules_for(job: Job, model: PublicModel, target: Target, world: World) -> tuple[Rule, ...]:
    """At most one rule of each place, from the most general place to the most special one."""
    snapshot = world.snapshots.get(target.provider)
    places = (world.rules, model.rules, snapshot.rules if snapshot else ())
    if not any(places):
        return ()
    facts = _facts(job, model, target, world.now)
    matches = (first_match(rules, facts) for rules in places)
    return tuple(rule for rule in matches if rule is not None)


def _facts(job: Job, model: PublicModel, target: Target, now: datetime) -> Facts:
    width, height = job.size_on(target)
    usual = target.model.parameters.get("steps")
    return Facts(
        model=model.name,
        asked=job.model,
        operation=operation_of(job),
        width=width or None,
        height=height or None,
        steps=job.params_for(target).get("steps", usual.default if usual else None),
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


def _denied(target: Target, rules: Iterable[Rule]) -> Refusal | None:
    return next((Refusal(target.name, rule.deny, "denied") for rule in rules if rule.deny), None)


def _refusal(job: Job, target: Target, world: World, rules: Sequence[Rule]) -> Refusal | None:
    """Why ``target`` can't serve ``job``, or ``None`` if it can.

    What it never could do counts for more than that it isn't ready: a client whose request fits nowhere
    should not be told to come back later.
    """
    snapshot = world.snapshots.get(target.provider)
    if snapshot is None:
        return Refusal(target.name, "this provider is not configured", "not_configured")
    reasons = _reasons(job, target, snapshot, world.limits, rules)
    return next((refusal for refusal in reasons if refusal is not None), None)


def _reasons(
    job: Job, target: Target, snapshot: Snapshot, limits: Limits | None, rules: Sequence[Rule]
) -> Iterator[Refusal | None]:
    yield _unwanted(job, target, snapshot)
    yield _too_dear(job, target)
    yield _incapable(job, target)
    yield _too_large(job, target, limits)
    yield _ruled_out(target, snapshot, rules)
    if not snapshot.ready:
        yield Refusal(target.name, snapshot.detail or "not ready", "not_ready")
    if (reason := snapshot.blocked.get(target.model.id)) is not None:
        yield Refusal(target.name, reason, "breaker")


def _unwanted(job: Job, target: Target, snapshot: Snapshot) -> Refusal | None:
    names = {target.provider, snapshot.type}
    wishes = job.preferences
    if wishes.only and not names & set(wishes.only):
        param, reason = "provider.only", "not in the request's `provider.only`"
    elif names & set(wishes.ignore):
        param, reason = "provider.ignore", "in the request's `provider.ignore`"
    elif not wishes.allow_fallbacks and wishes.order and not names & set(wishes.order):
        param, reason = "provider.order", "not in the request's `provider.order`, which allows no fallbacks"
    else:
        return None
    return Refusal(target.name, reason, "preference", param)


def _too_dear(job: Job, target: Target) -> Refusal | None:
    most = job.preferences.max_price
    if most is None:
        return None
    image, request = target.price.of_image(job.megapixels_on(target)), job.price_on(target)
    for what, price, limit in (("an image", image, most.image), ("the request", request, most.request)):
        if limit is not None and price > limit:
            reason = f"{what} costs ${price:.4g}, more than the request's `provider.max_price` of ${limit:.4g}"
            return Refusal(target.name, reason, "price", "provider.max_price")
    return None


def _ruled_out(target: Target, snapshot: Snapshot, rules: Iterable[Rule]) -> Refusal | None:
    names = {target.provider, snapshot.type}
    for rule in rules:
        if rule.only and not names & set(rule.only):
            listed = ", ".join(f"`{name}`" for name in rule.only)
            return Refusal(target.name, f"a rule sends this request to {listed} only", "rule")
    return None


def _incapable(job: Job, target: Target) -> Refusal | None:
    if target.model.problem:
        return Refusal(target.name, target.model.problem, "problem")
    operation, params = operation_of(job), job.params_for(target)
    if operation not in target.model.operations:
        words = _OPERATION_WORDS[operation]
        return Refusal(
            target.name,
            f"`{target.model.id}` can't do {words}",
            "operation",
            "mask" if job.params.get("mask") else "images",
        )
    if job.strict or job.preferences.require_parameters:
        for name in sorted(job.ignored_on(target)):
            forced = name in target.params
            why = "fixed by the server's configuration" if forced else "not supported by this model"
            return Refusal(target.name, why, "strict", name)
    for name, value in params.items():
        descriptor = target.model.parameters.get(name)
        if descriptor is not None and (reason := descriptor.refusal(value)) is not None:
            return _misfit(job, target, name, f"{reason}, not {shortened(repr(value))}")
    return None


def _too_large(job: Job, target: Target, limits: Limits | None) -> Refusal | None:
    """A second pass that enlarges the picture beyond what a single request may ask for."""
    hires = job.params_for(target).get("hires")
    if limits is None or hires is None or "hires" not in target.model.parameters:
        return None
    width, height = (round(side * hires.scale) for side in job.size_on(target))
    if max(width, height) <= limits.max_side and width * height <= limits.max_pixels:
        return None
    most = f"at most {limits.max_side} pixels a side and {limits.max_pixels} pixels in all"
    reason = f"{width}x{height} is too large; {most}"
    return Refusal(target.name, reason, "size", "hires.scale" if "hires" in job.params else None)


def _misfit(job: Job, target: Target, name: str, reason: str) -> Refusal:
    """A value outside the model's limits: the client's mistake only if it is the client's value."""
    if name in job.params and name not in target.params:
        return Refusal(target.name, reason, "parameter", name)
    return Refusal(target.name, f"`{name}` of the server's configuration doesn't fit: {reason}", "parameter")
