"""What would become of a request that came now: who would get it, what that would take, and why others can't have it.

Nothing is queued and nothing is drawn for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from imagerouter.engine import UNSEEN, Engine
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Job, Placement, Target, operation_of
from imagerouter.openai import NO_PROMPT, addresses, interpret
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.planning import Plan
from imagerouter.scheduling.costs import Forecast, work_of
from imagerouter.types import Image

Fields = dict[str, Any]


def question(engine: Engine, fields: Mapping[str, Any], pictures: Mapping[str, Image] | None = None) -> Job:
    """The job that a body's fields would make. Its pictures are only counted."""
    unseen = dict.fromkeys(addresses(fields).values(), UNSEEN)
    return interpret(fields, engine.config.limits, prompt=NO_PROMPT, pictures=unseen | dict(pictures or {})).job


def explained(engine: Engine, job: Job) -> Fields:
    """What ``POST /v1/route`` answers. Times are in seconds, prices in US dollars for the whole request.

    ``targets`` are in the order in which they would get the job. ``fallbacks`` tell the same of each of the
    request's ``models``. ``would_answer`` is the error that drawing would give, where nothing can serve the job.
    Raises `ModelNotFoundError` or `NoProviderError` for a model that doesn't exist.
    """
    plans = engine.admission.plans(job)
    told = [_model(engine, job, name, *planned) for name, planned in zip(job.asked, plans, strict=True)]
    answer: Fields = {"object": "route", "operation": operation_of(job), "n": job.n, **told[0], "fallbacks": told[1:]}
    if not any(plan.tiers for _, plan in plans):
        answer["would_answer"] = _error(engine.admission.refusal(*plans[0]))
    return answer


def _model(engine: Engine, job: Job, asked: str | None, model: PublicModel, plan: Plan) -> Fields:
    turns = [(tier, target) for tier, some in enumerate(plan.tiers, 1) for target in _in_turn(engine, job, some, plan)]
    targets = [
        {"rank": rank, "tier": tier, **_target(engine, job, target, plan)}
        for rank, (tier, target) in enumerate(turns, 1)
    ]
    shares = engine.dispatcher.spread(job, plan)
    return {
        "model": model.name,
        "asked": asked,
        "default": asked is None,
        "targets": targets,
        "spread": [{"target": target.name, "images": count} for target, count in shares],
        "refusals": [
            {"target": sendable(each.target), "reason": sendable(each.reason), "param": each.param, "kind": each.kind}
            for each in plan.refusals
        ],
        "missing": [sendable(reason) for reason in model.missing],
    }


def _in_turn(engine: Engine, job: Job, tier: tuple[Target, ...], plan: Plan) -> list[Target]:
    """A tier in the order in which its targets would get the job; of several on one provider the first counts."""
    first = engine.scheduler.preview(tier, work_of(job.on(tier[0])), plan.ranks)
    return [*first, *(target for target in tier if target not in first)]


def _target(engine: Engine, job: Job, target: Target, plan: Plan) -> Fields:
    placement, slot = job.on(target), engine.scheduler.slots.get(target.provider)
    return {
        "target": target.name,
        "provider": target.provider,
        "model": target.model.id,
        "resident": slot is not None and target.model.id in slot.resident,
        **_seconds(engine.scheduler.forecast(target, work_of(placement))),
        **({"price": round(placement.price, 6)} if placement.price else {}),
        "parameters": _parameters(placement),
        "ignored": sorted(placement.ignored),
        "rules": [rule.name for rule in plan.rules.get(target.name, ())],
    }


def _seconds(expected: Forecast) -> Fields:
    return {
        "queue_seconds": rounded(expected.queue),
        "load_seconds": rounded(expected.load),
        "render_seconds": rounded(expected.render),
        "total_seconds": rounded(expected.total),
    }


def _parameters(placement: Placement) -> Fields:
    """What of the request's parameters would be sent; of pictures only how many there are."""
    known = placement.target.model.parameters
    params = {name: value for name, value in placement.params.items() if name in known}
    if "images" in params:
        params["images"] = len(params["images"])
    if "mask" in params:
        params["mask"] = 1
    plain: Fields = msgspec.to_builtins(params)
    return plain


def _error(error: ImageRouterError) -> Fields:
    message = sendable(error.message)
    return {"status": error.status, "code": error.code, "param": error.param, "message": message}


def rounded(seconds: float) -> float:
    """To a tenth, below ten seconds to a hundredth: no estimate is better than that."""
    return round(seconds, 1 if seconds >= 10 else 2)


def sendable(text: str) -> str:
    """A backend's words may hold what no JSON can."""
    return text.encode(errors="replace").decode()
