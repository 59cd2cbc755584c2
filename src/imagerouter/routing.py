"""Which targets may serve a job, in which order, and why the others may not. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imagerouter.errors import (
    ImageRouterError,
    InvalidParameterError,
    NoProviderError,
    UnknownParameterError,
)
from imagerouter.jobs import Job, Target
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


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets that may serve the job, best first, and all refusals."""

    candidates: tuple[Target, ...]
    refusals: tuple[Refusal, ...]

    def error(self, model: str) -> ImageRouterError:
        """The error for a plan with no candidate: the client's fault if one parameter is what everybody minds."""
        params = {refusal.param for refusal in self.refusals}
        if len(params) == 1 and (param := params.pop()) is not None:
            first = self.refusals[0]
            kind = UnknownParameterError if first.strict else InvalidParameterError
            return kind(f"`{param}`: {first.reason}", param=param)
        reasons = "; ".join(f"{refusal.target}: {refusal.reason}" for refusal in self.refusals)
        return NoProviderError(f"no provider can serve `{model}` now ({reasons or 'none is configured'})")


_OPERATION_WORDS = {
    Operation.GENERATE: "text to image",
    Operation.EDIT: "image to image",
    Operation.INPAINT: "inpainting",
}


def plan(job: Job, targets: Iterable[Target], snapshots: Mapping[str, Snapshot]) -> Plan:
    """Drop the targets that can't serve ``job``, each with its reason, and rank the rest."""
    candidates: list[Target] = []
    refusals: list[Refusal] = []
    for target in targets:
        refusal = refuse(job, target, snapshots.get(target.provider))
        if refusal is None:
            candidates.append(target)
        else:
            refusals.append(refusal)
    return Plan(tuple(rank(job, candidates, snapshots)), tuple(refusals))


def rank(job: Job, candidates: Iterable[Target], snapshots: Mapping[str, Snapshot]) -> list[Target]:
    """The client's ``provider.order`` first, then as listed; a stable sort keeps the rest of the order."""
    order = {name: place for place, name in enumerate(job.preferences.order)}

    def place(target: Target) -> int:
        snapshot = snapshots[target.provider]
        return min(order.get(target.provider, len(order)), order.get(snapshot.type, len(order)))

    return sorted(candidates, key=place)


def refuse(job: Job, target: Target, snapshot: Snapshot | None) -> Refusal | None:
    """Why ``target`` can't serve ``job``, or ``None`` if it can."""
    if snapshot is None:
        return Refusal(target.name, "this provider is not configured")
    if (reason := _unwanted(job, target, snapshot)) is not None:
        return Refusal(target.name, reason)
    if not snapshot.ready:
        return Refusal(target.name, snapshot.detail or "not ready")
    return _incapable(job, target)


def _unwanted(job: Job, target: Target, snapshot: Snapshot) -> str | None:
    names = {target.provider, snapshot.type}
    wishes = job.preferences
    if wishes.only and not names & set(wishes.only):
        return "not in the request's `provider.only`"
    if names & set(wishes.ignore):
        return "in the request's `provider.ignore`"
    if not wishes.allow_fallbacks and wishes.order and not names & set(wishes.order):
        return "not in the request's `provider.order`, which allows no fallbacks"
    return None


def _incapable(job: Job, target: Target) -> Refusal | None:
    operation = operation_of(job)
    if operation not in target.model.operations:
        words = _OPERATION_WORDS[operation]
        return Refusal(
            target.name,
            f"`{target.model.id}` can't do {words}",
            "mask" if job.params.get("mask") else "images",
        )
    params = job.params_for(target)
    for name, value in params.items():
        descriptor = target.model.parameters.get(name)
        if descriptor is None:
            if name in job.params and (job.strict or job.preferences.require_parameters):
                return Refusal(target.name, "not supported by this model", name, strict=True)
            continue
        if (reason := descriptor.refusal(value)) is not None:
            return Refusal(target.name, f"{reason}, not {value!r}", name)
    return None


def operation_of(job: Job) -> Operation:
    if job.params.get("mask") is not None:
        return Operation.INPAINT
    return Operation.EDIT if job.params.get("images") else Operation.GENERATE
