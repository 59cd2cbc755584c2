"""Which targets may serve a job, in which order, and why the others may not. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagerouter.config import Limits
from imagerouter.errors import (
    ImageRouterError,
    InvalidParameterError,
    NoProviderError,
    UnknownParameterError,
)
from imagerouter.jobs import Job, Target
from imagerouter.suggest import shortened
from imagerouter.types import Operation


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of a provider at the moment of planning."""

    type: str
    ready: bool
    detail: str = ""
    resident: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a target can't serve the job. ``param`` names the client's parameter, where one is at fault."""

    target: str
    reason: str
    param: str | None = None
    strict: bool = False
    """Refused only because the request demands that every parameter is honoured."""
    unwanted: bool = False
    """Refused by the request's own choice of providers, before it came to what the target can do."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets that may serve the job, best first, and all refusals."""

    candidates: tuple[Target, ...]
    refusals: tuple[Refusal, ...]
    awaited: bool = False
    """Whether a provider that the request asks for isn't ready: which models it has may not be known yet."""

    def error(self, model: str) -> ImageRouterError:
        """The error for a plan with no candidate: the client's fault if one parameter is what everybody minds."""
        asked = [refusal for refusal in self.refusals if not refusal.unwanted]
        if self.refusals and not asked and not self.awaited:
            return self._too_choosy(model)
        params = {refusal.param for refusal in asked}
        if len(params) == 1 and (param := params.pop()) is not None:
            first = asked[0]
            kind = UnknownParameterError if first.strict else InvalidParameterError
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


def plan(job: Job, targets: Iterable[Target], snapshots: Mapping[str, Snapshot], limits: Limits | None = None) -> Plan:
    """Drop the targets that can't serve ``job``, each with its reason, and rank the rest.

    :param limits: of the size that a second pass may lead to; what the client itself wrote is checked by now.
    """
    candidates: list[Target] = []
    refusals: list[Refusal] = []
    for target in targets:
        refusal = refuse(job, target, snapshots.get(target.provider)) or _too_large(job, target, limits)
        if refusal is None:
            candidates.append(target)
        else:
            refusals.append(refusal)
    wished = {*job.preferences.only, *job.preferences.order}
    awaited = any(not known.ready and wished & {name, known.type} for name, known in snapshots.items())
    return Plan(tuple(rank(job, candidates, snapshots)), tuple(refusals), awaited)


def rank(job: Job, candidates: Iterable[Target], snapshots: Mapping[str, Snapshot]) -> list[Target]:
    """The client's ``provider.order`` first, then as listed; a stable sort keeps the rest of the order."""
    order = {name: place for place, name in enumerate(job.preferences.order)}

    def place(target: Target) -> int:
        snapshot = snapshots[target.provider]
        return min(order.get(target.provider, len(order)), order.get(snapshot.type, len(order)))

    return sorted(candidates, key=place)


def refuse(job: Job, target: Target, snapshot: Snapshot | None) -> Refusal | None:
    """Why ``target`` can't serve ``job``, or ``None`` if it can.

    What it never could do counts for more than that it isn't ready: a client whose request fits nowhere
    should not be told to come back later.
    """
    if snapshot is None:
        return Refusal(target.name, "this provider is not configured")
    if (refusal := _unwanted(job, target, snapshot) or _incapable(job, target)) is not None:
        return refusal
    return None if snapshot.ready else Refusal(target.name, snapshot.detail or "not ready")


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
    return Refusal(target.name, reason, param, unwanted=True)


def _incapable(job: Job, target: Target) -> Refusal | None:
    if target.model.problem:
        return Refusal(target.name, target.model.problem)
    operation, params = operation_of(job), job.params_for(target)
    if operation not in target.model.operations:
        words = _OPERATION_WORDS[operation]
        return Refusal(
            target.name,
            f"`{target.model.id}` can't do {words}",
            "mask" if job.params.get("mask") else "images",
        )
    if job.strict or job.preferences.require_parameters:
        for name in sorted(job.ignored_on(target)):
            forced = name in target.params
            why = "fixed by the server's configuration" if forced else "not supported by this model"
            return Refusal(target.name, why, name, strict=True)
    for name, value in params.items():
        descriptor = target.model.parameters.get(name)
        if descriptor is not None and (reason := descriptor.refusal(value)) is not None:
            return _misfit(job, target, name, f"{reason}, not {shortened(repr(value))}")
    return None


def _too_large(job: Job, target: Target, limits: Limits | None) -> Refusal | None:
    """A second pass that enlarges the picture beyond what a single request may ask for."""
    params = job.params_for(target)
    hires = params.get("hires")
    if limits is None or hires is None or "hires" not in target.model.parameters:
        return None
    width = round(params.get("width", target.model.width) * hires.scale)
    height = round(params.get("height", target.model.height) * hires.scale)
    if max(width, height) <= limits.max_side and width * height <= limits.max_pixels:
        return None
    most = f"at most {limits.max_side} pixels a side and {limits.max_pixels} pixels in all"
    reason = f"{width}x{height} is too large; {most}"
    return Refusal(target.name, reason, "hires.scale" if "hires" in job.params else None)


def _misfit(job: Job, target: Target, name: str, reason: str) -> Refusal:
    """A value outside the model's limits: the client's mistake only if it is the client's value."""
    if name in job.params and name not in target.params:
        return Refusal(target.name, reason, name)
    return Refusal(target.name, f"`{name}` of the server's configuration doesn't fit: {reason}")


def operation_of(job: Job) -> Operation:
    if job.params.get("mask") is not None:
        return Operation.INPAINT
    return Operation.EDIT if job.params.get("images") else Operation.GENERATE
