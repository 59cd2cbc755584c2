"""What may serve a job, before anything is queued: the models that it asks for, each with its plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import msgspec

from imagerouter.clock import now
from imagerouter.config import Config
from imagerouter.errors import ImageRouterError, ModelNotFoundError, NoProviderError
from imagerouter.fleet.fleet import Fleet
from imagerouter.jobs import Job, Sort, Target
from imagerouter.metrics import Metrics
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.planning import PASSING, Plan, World, plan
from imagerouter.scheduling.costs import Forecast, work_of
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.suggest import did_you_mean, shortened

PATIENCE_SECONDS = 60.0
"""How long a request waits for providers that are still starting, if nobody can serve it yet."""
UNSURE_SECONDS = 10.0
"""And if somebody can, but a provider that is still starting may have the very model that it names."""
COME_AGAIN_SECONDS = 5.0
"""What ``retry-after`` says when no provider could take the request and none said how long that lasts."""

Planned = tuple[PublicModel, Plan]


class Admission:
    def __init__(self, config: Config, fleet: Fleet, scheduler: Scheduler, metrics: Metrics) -> None:
        self.config = config
        self._fleet = fleet
        self._scheduler = scheduler
        self._metrics = metrics

    async def patience(self, job: Job) -> float:
        """Wait, while providers are still starting, until one that can serve the job has started.

        And if it names a model that nobody has, until they have been asked again. Returns the seconds.
        """
        arrived = now()
        while not self._fleet.is_settled:
            is_served = self._is_served(job)
            if is_served and self._is_certain(job):
                break
            try:
                async with asyncio.timeout_at(arrived + (UNSURE_SECONDS if is_served else PATIENCE_SECONDS)):
                    await self._fleet.one_more_settled()
            except TimeoutError:
                break
        if any(name is not None and self._fleet.catalogue.resolve(name) is None for name in self._names(job)):
            await self._fleet.look_again()
        return now() - arrived

    def admit(self, job: Job, *, rehearsal: bool = False) -> list[Planned]:
        """The plans for ``job``, one per model that can serve it now; raises what keeps it from being served.

        :param rehearsal: whether this is only asked, and done once more when the job really comes.
        """
        plans = self.plans(job)
        able = [(model, chosen) for model, chosen in plans if chosen.tiers]
        for _, chosen in [] if able and rehearsal else plans:
            self._metrics.refused(chosen.refusals)
        if not able:
            raise self.refusal(*plans[0])
        return able

    def plans(self, job: Job) -> list[Planned]:
        """A plan for each model that the job names, in its order, or for the default one.

        Raises `ModelNotFoundError` or `NoProviderError` for a model that doesn't exist.
        """
        world = self._world()
        return [(model, plan(_asking(job, name, sort), model, world)) for name, model, sort in self._models(job)]

    def refusal(self, model: PublicModel, chosen: Plan) -> ImageRouterError:
        """What the client is told about a plan without any candidate."""
        if not chosen.refusals:
            reasons = "; ".join([*model.missing, *self._not_ready()]) or "it has no target"
            return NoProviderError(
                f"no provider can serve `{model.name}` now ({reasons})", retry_after=COME_AGAIN_SECONDS
            )
        error = chosen.error(model.name)
        if model.missing and (isinstance(error, NoProviderError) or chosen.is_choosy):
            # The provider that is asked for may be one of those.
            error.message = f"{error.message}; {'; '.join(model.missing)}"
        if isinstance(error, NoProviderError):
            if chosen.awaited:
                # The provider that is asked for has no target while nobody knows its models; say why.
                error.message = f"{error.message}; not ready: {'; '.join(self._not_ready())}"
            # What rules and models refuse, they refuse tomorrow.
            if chosen.awaited or model.missing or any(each.kind in PASSING for each in chosen.refusals):
                error.retry_after = COME_AGAIN_SECONDS
        return error

    def _is_served(self, job: Job) -> bool:
        try:
            return any(chosen.tiers for _, chosen in self.plans(job))
        except ImageRouterError:
            return False

    def _is_certain(self, job: Job) -> bool:
        """Whether the job's models are the same ones when more providers are there."""
        catalogue = self._fleet.catalogue
        default = catalogue.resolve(None)
        is_demo = default is not None and default.is_demo
        return all(not is_demo if name is None else catalogue.knows(name) for name in self._names(job))

    def _names(self, job: Job) -> list[str | None]:
        """The models that it asks for, without their suffixes."""
        return [self._fleet.catalogue.variant(asked)[0] for asked in job.asked]

    def _world(self) -> World:
        return World(
            self._fleet.snapshots,
            self.config.limits,
            self.config.rules,
            datetime.now(),
            self._forecast,
        )

    def _forecast(self, job: Job, target: Target) -> Forecast:
        return self._scheduler.forecast(target, work_of(job, target))

    def _models(self, job: Job) -> Iterator[tuple[str | None, PublicModel, Sort | None]]:
        """The model asked for, then the request's own fallback list: its name, and what its suffix sorts by."""
        catalogue = self._fleet.catalogue
        asked = [catalogue.variant(name) for name in job.asked]
        found = [(name, catalogue.resolve(name), sort) for name, sort in asked]
        # One of several that nobody has may be on a provider that is out, which is no reason to refuse the others.
        may_be_out = any(model for _, model, _ in found) and bool(self._not_ready())
        for place, (name, model, sort) in enumerate(found):
            if model is not None:
                yield name, model, sort
            elif name is not None and may_be_out:
                yield name, PublicModel(name, (), missing=("no provider that is ready has it",)), sort
            else:
                raise self._unknown(name, "models" if place or job.model is None else "model")

    def _unknown(self, name: str | None, param: str) -> ImageRouterError:
        known, default = self._fleet.catalogue.names(), self._fleet.catalogue.default
        waiting = "; ".join(self._not_ready())
        if not known or name is None:
            what = f"the default model `{default}` is not there" if known else "no provider offers a model"
            reasons = waiting or ("no provider has it" if known else "none is configured")
            return NoProviderError(f"{what} right now ({reasons})", retry_after=COME_AGAIN_SECONDS)
        listed = ", ".join(f"`{n}`" for n in known[:20]) + (" …" if len(known) > 20 else "")
        down = f" Not ready: {waiting}." if waiting else ""
        hint = did_you_mean(name, known)
        return ModelNotFoundError(
            f"The model `{shortened(name)}` does not exist{hint or '.'} Available: {listed}.{down}", param=param
        )

    def _not_ready(self) -> list[str]:
        return [f"`{member.name}`: {member.detail}" for member in self._fleet.members.values() if not member.ready]


def _asking(job: Job, name: str | None, sort: Sort | None) -> Job:
    """The job as if it asked for one model only, with what its suffix sorts by unless the request says so itself."""
    if (name, sort, ()) == (job.model, None, job.models):
        return job
    preferences = job.preferences
    if sort is not None and preferences.sort is None:
        preferences = msgspec.structs.replace(preferences, sort=sort)
    return replace(job, model=name, models=(), preferences=preferences)
