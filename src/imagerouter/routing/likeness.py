"""``parity: strict``: of a model's targets only those that draw the same pictures, and only what is proven. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from imagerouter.jobs import Placement, Target
from imagerouter.parity.judging import judge
from imagerouter.parity.measured import Measured
from imagerouter.parity.verdict import Verdict
from imagerouter.routing.refusals import PASSING, Refusal, Snapshot
from imagerouter.types import Parity, Tier

Judged = tuple[Placement, Refusal | None]
"""A job on a target, and why that can't serve it."""


def unlike(
    judged: Sequence[Judged],
    siblings: Sequence[Target],
    snapshots: Mapping[str, Snapshot],
    measured: Measured | None,
) -> dict[str, Refusal]:
    """Further refusals, by target: of those that strict requests can't go to.

    The first target that could ever serve the request decides by its reproducibility key what the pictures look like,
    also while it isn't ready: else a series would go on with other pictures whenever a backend is out.
    """
    refusals: dict[str, Refusal] = {}
    leader: tuple[Target, str | None] | None = None
    for placement, refusal in judged:
        if placement.params.get("parity") is not Parity.STRICT or (refusal and refusal.kind not in PASSING):
            continue
        target = placement.target
        request = placement.request(snapshots[target.provider].type)
        verdict = judge(request, target, siblings, measured=measured)
        leader = leader or (None if verdict.tier is Tier.NONE else (target, verdict.key))
        if (found := _refusal(target, verdict, leader)) is not None:
            refusals[target.name] = found
    return refusals


def _refusal(target: Target, verdict: Verdict, leader: tuple[Target, str | None] | None) -> Refusal | None:
    if leader is None or verdict.tier is Tier.NONE:
        return Refusal(target.name, f"{verdict.reasons[0]}, and `parity` is strict", "parity", verdict.param)
    first, key = leader
    if key == verdict.key:
        return None
    return Refusal(target.name, f"it may draw other pictures than `{first.name}`, and `parity` is strict", "parity")
