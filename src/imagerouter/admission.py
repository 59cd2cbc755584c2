"""What may serve a job, before anything is queued: the models that it asks for, each with its plan."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

import msgspec

from imagerouter.catalogue import PublicModel
from imagerouter.config import Config
from imagerouter.costs import Forecast, work_of
from imagerouter.errors import ImageRouterError, ModelNotFoundError, NoProviderError
from imagerouter.fleet import Fleet
from imagerouter.jobs import Job, Sort, Target
from imagerouter.metrics import Metrics
from imagerouter.routing import Plan, World, plan
from imagerouter.scheduler import Scheduler
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
        arrived = asyncio.get_running_loop().time()
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
        return asyncio.get_running_loop().time() - arrived

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
        return [(model, plan(_sorted(job, sort), model, self._world())) for model, sort in self._models(job)]

    def refusal(self, model: PublicModel, chosen: Plan) -> ImageRouterError:
        """What the client is told about a plan without any candidate."""
        if not chosen.refusals:
            reasons = "; ".join([*model.missing, *self._not_ready()]) or "it has no target"
            return NoProviderError(
                f"no provider can serve `{model.name}` now ({reasons})", retry_after=COME_AGAIN_SECONDS
            )
        error = chosen.error(model.name)
        if isinstance(error, NoProviderError):
            if chosen.awaited:
                # The provider that is asked for has no target while nobody knows its models; say why.
                error.message = f"{error.message}; not ready: {'; '.join(self._not_ready())}"
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
        return [self._fleet.catalogue.variant(asked)[0] for asked in _asked(job)]

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

    def _models(self, job: Job) -> Iterator[tuple[PublicModel, Sort | None]]:
        """The model asked for, then the request's own fallback list, each with what its suffix sorts by."""
        for asked in _asked(job):
            name, sort = self._fleet.catalogue.variant(asked)
            model = self._fleet.catalogue.resolve(name)
            if model is None:
                raise self._unknown(name)
            yield model, sort

    def _unknown(self, name: str | None) -> ImageRouterError:
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
            f"The model `{shortened(name)}` does not exist{hint or '.'} Available: {listed}.{down}", param="model"
        )

    def _not_ready(self) -> list[str]:
        return [f"`{member.name}`: {member.detail}" for member in self._fleet.members.values() if not member.ready]


def _asked(job: Job) -> list[str | None]:
    """The names that it asks for; ``None`` stands for the default model."""
    return list(job.models) if job.model is None and job.models else [job.model, *job.models]


def _sorted(job: Job, sort: Sort | None) -> Job:
    """The job with what a model's suffix asks for, unless the request says so itself."""
    if sort is None or job.preferences.sort is not None:
        return job
    return replace(job, preferences=msgspec.structs.replace(job.preferences, sort=sort))
