"""What every provider is doing: for ``GET /v1/providers`` and those who look at it."""

from __future__ import annotations

from imagerouter.clock import now
from imagerouter.engine import Engine
from imagerouter.fleet.breaker import Breaker
from imagerouter.fleet.member import Member
from imagerouter.routing.explain import Fields, rounded, sendable
from imagerouter.scheduling.choice import Slot
from imagerouter.scheduling.costs import USUAL_WORK, Costs
from imagerouter.scheduling.scheduler import Scheduler


def overview(engine: Engine) -> Fields:
    """All providers, in the file's order, and the queue that they share. Times are in seconds."""
    scheduler, moment = engine.scheduler, now()
    return {
        "object": "list",
        "data": [_provider(member, scheduler, moment) for member in engine.fleet.members.values()],
        "queue": {
            "running": scheduler.running,
            "waiting": scheduler.waiting,
            "limit": engine.config.limits.queue,
            "backlog_seconds": scheduler.backlog_seconds() if scheduler.running or scheduler.waiting else 0.0,
        },
    }


def _provider(member: Member, scheduler: Scheduler, now: float) -> Fields:
    slot = scheduler.slots.get(member.name, Slot(0))
    return {
        "name": member.name,
        "type": member.type,
        "state": _state(member, now),
        "detail": sendable(member.reason(now)),
        "models": len(member.models),
        "resident": sorted(map(sendable, slot.resident)),
        "concurrency": member.config.concurrency,
        "running": slot.running,
        "waiting": scheduler.waiting_for(member.name),
        "foreign": {"jobs": slot.foreign},
        "speeds": _speeds(member.name, scheduler.costs),
        "breaker": _breaker(member.breaker, now),
        "targets": [_target(native, breaker, now) for native, breaker in sorted(member.targets.items())],
        "last_error": _last_error(member, now),
    }


def _state(member: Member, now: float) -> str:
    """One word for it; the breaker's own state is told beside it."""
    breaker = member.breaker.state(now)
    if member.ready:
        return "half_open" if breaker == "half_open" else "ready"
    if breaker == "open":
        return "open"
    return "not_ready" if member.tried.is_set() else "starting"


def _speeds(provider: str, costs: Costs) -> list[Fields]:
    """What was learned of each model that has run there; ``seconds`` are for 20 steps of one megapixel."""
    return [
        {
            "model": sendable(model),
            "seconds": rounded(costs.render(provider, model, USUAL_WORK)),
            "load_seconds": rounded(costs.loading(provider, model)),
            "jobs": learned.jobs,
        }
        for model, learned in sorted(costs.known(provider).items())
    ]


def _breaker(breaker: Breaker, now: float) -> Fields:
    return {"state": breaker.state(now), "failures": breaker.failures, "seconds": rounded(breaker.seconds(now))}


def _target(native: str, breaker: Breaker, now: float) -> Fields:
    """A model that failed there the last time, or more often."""
    reason = breaker.history if breaker.state(now) == "closed" else breaker.why(now)
    return {"model": sendable(native), **_breaker(breaker, now), "reason": sendable(reason)}


def _last_error(member: Member, now: float) -> Fields | None:
    if member.last_error is None or member.last_failed is None:
        return None
    return {"message": sendable(member.last_error), "seconds_ago": rounded(now - member.last_failed)}
