"""Why a target can't serve a job. Pure: no I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from imagerouter.config import Limits
from imagerouter.jobs import Job, Placement, Target, operation_of
from imagerouter.routing.rules import Rule
from imagerouter.suggest import shortened
from imagerouter.types import Operation

Kind = Literal[
    "not_configured", "not_ready", "breaker", "preference", "price", "problem",
    "operation", "parameter", "strict", "size", "rule", "denied", "parity",
]  # fmt: skip
"""Why a target is refused, in one word: what metrics count by."""
PASSING: frozenset[Kind] = frozenset({"not_ready", "breaker"})
"""What may be over when the same request comes again."""
OWN_CHOICE: frozenset[Kind] = frozenset({"preference", "price"})
"""What the request itself excludes, before it comes to what the target can do."""


class Snapshot(msgspec.Struct, frozen=True):
    """What is known of a provider at the moment of planning."""

    type: str
    ready: bool
    detail: str = ""
    resident: frozenset[str] = frozenset()
    rules: Sequence[Rule] = ()
    """The provider's own."""
    blocked: Mapping[str, str] = {}
    """Models that get no job for now, by native name, each with the reason."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a target can't serve the job. ``param`` names the client's parameter, where one is at fault."""

    target: str
    reason: str
    kind: Kind
    param: str | None = None


_OPERATION_WORDS = {
    Operation.GENERATE: "text to image",
    Operation.EDIT: "image to image",
    Operation.INPAINT: "inpainting",
}


def refused(
    placement: Placement, snapshot: Snapshot | None, limits: Limits | None, rules: Sequence[Rule]
) -> Refusal | None:
    """Why the target can't serve the job, or ``None`` if it can.

    What it never could do counts for more than that it isn't ready: a client whose request fits nowhere
    should not be told to come back later.

    :param snapshot: of its provider; ``None`` where there is no such provider.
    :param limits: of the size that a second pass may lead to; what the client itself wrote is checked by now.
    :param rules: those that apply.
    """
    target = placement.target
    for rule in rules:
        if rule.deny:
            return Refusal(target.name, rule.deny, "denied")
    if snapshot is None:
        return Refusal(target.name, "this provider is not configured", "not_configured")
    return (
        _unwanted(placement, snapshot)
        or _too_dear(placement)
        or _incapable(placement)
        or _too_large(placement, limits)
        or _ruled_out(target, snapshot, rules)
        or _out(target, snapshot)
    )


def _unwanted(placement: Placement, snapshot: Snapshot) -> Refusal | None:
    names, wishes = {placement.target.provider, snapshot.type}, placement.job.preferences
    if wishes.only and names.isdisjoint(wishes.only):
        param, reason = "provider.only", "not in the request's `provider.only`"
    elif wishes.ignore and not names.isdisjoint(wishes.ignore):
        param, reason = "provider.ignore", "in the request's `provider.ignore`"
    elif not wishes.allow_fallbacks and wishes.order and names.isdisjoint(wishes.order):
        param, reason = "provider.order", "not in the request's `provider.order`, which allows no fallbacks"
    else:
        return None
    return Refusal(placement.target.name, reason, "preference", param)


def _too_dear(placement: Placement) -> Refusal | None:
    most, target = placement.job.preferences.max_price, placement.target
    if most is None:
        return None
    image, request = target.price.of_image(placement.megapixels), placement.price
    for what, price, limit in (("an image", image, most.image), ("the request", request, most.request)):
        if limit is not None and price > limit:
            reason = f"{what} costs ${price:.4g}, more than the request's `provider.max_price` of ${limit:.4g}"
            return Refusal(target.name, reason, "price", "provider.max_price")
    return None


def _incapable(placement: Placement) -> Refusal | None:
    job, target = placement.job, placement.target
    if target.model.problem:
        return Refusal(target.name, target.model.problem, "problem")
    operation = operation_of(job)
    if operation not in target.model.operations:
        words = _OPERATION_WORDS[operation]
        return Refusal(
            target.name,
            f"`{target.model.id}` can't do {words}",
            "operation",
            "mask" if job.params.get("mask") else "images",
        )
    if job.strict or job.preferences.require_parameters:
        for name in sorted(placement.ignored):
            forced = name in target.params
            why = "fixed by the server's configuration" if forced else "not supported by this model"
            return Refusal(target.name, why, "strict", name)
    for name, value in placement.params.items():
        descriptor = target.model.parameters.get(name)
        if descriptor is not None and (reason := descriptor.refusal(value)) is not None:
            return _misfit(job, target, name, f"{reason}, not {shortened(repr(value))}")
    return None


def _misfit(job: Job, target: Target, name: str, reason: str) -> Refusal:
    """A value outside the model's limits: the client's mistake only if it is the client's value."""
    if name in job.params and name not in target.params:
        return Refusal(target.name, reason, "parameter", name)
    return Refusal(target.name, f"`{name}` of the server's configuration doesn't fit: {reason}", "parameter")


def _too_large(placement: Placement, limits: Limits | None) -> Refusal | None:
    """A second pass that enlarges the picture beyond what a single request may ask for."""
    hires, target = placement.params.get("hires"), placement.target
    if limits is None or hires is None or "hires" not in target.model.parameters:
        return None
    width, height = (round(side * hires.scale) for side in placement.size)
    if max(width, height) <= limits.max_side and width * height <= limits.max_pixels:
        return None
    most = f"at most {limits.max_side} pixels a side and {limits.max_pixels} pixels in all"
    reason = f"{width}x{height} is too large; {most}"
    return Refusal(target.name, reason, "size", "hires.scale" if "hires" in placement.job.params else None)


def _ruled_out(target: Target, snapshot: Snapshot, rules: Iterable[Rule]) -> Refusal | None:
    names = {target.provider, snapshot.type}
    for rule in rules:
        if rule.only and names.isdisjoint(rule.only):
            listed = ", ".join(f"`{name}`" for name in rule.only)
            return Refusal(target.name, f"a rule sends this request to {listed} only", "rule")
    return None


def _out(target: Target, snapshot: Snapshot) -> Refusal | None:
    """Not now, but maybe later."""
    if not snapshot.ready:
        return Refusal(target.name, snapshot.detail or "not ready", "not_ready")
    reason = snapshot.blocked.get(target.model.id)
    return None if reason is None else Refusal(target.name, reason, "breaker")
