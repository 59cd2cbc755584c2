"""What may serve a job, before anything is queued: the models that it asks for, each with its plan."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from imagerouter.clock import now
from imagerouter.config import Config
from imagerouter.errors import ImageRouterError, LoopError, ModelNotFoundError, NoProviderError
from imagerouter.fleet.fleet import Fleet
from imagerouter.jobs import Job, Sort, Target
from imagerouter.metrics import Metrics
from imagerouter.parity.judging import judge
from imagerouter.parity.measured import Measured
from imagerouter.parity.verdict import Verdict
from imagerouter.remote import PASSED
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.planning import Plan, World, plan
from imagerouter.routing.refusals import PASSING
from imagerouter.scheduling.costs import Forecast, work_of
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.suggest import did_you_mean, shortened
from imagerouter.types import ImageRequest

PATIENCE_SECONDS = 60.0
"""How long a request waits for providers that are still starting, if nobody can serve it yet."""
UNSURE_SECONDS = 10.0
"""And if somebody can, but a provider that is still starting may have the very model that it names."""
COME_AGAIN_SECONDS = 5.0
"""What ``retry-after`` says when no provider could take the request and none said how long that lasts."""

_IDS = re.compile(r"[0-9a-f]{16}(, [0-9a-f]{16}){0,99}")

Asked = tuple[str | None, PublicModel | None, Sort | None]
"""A model as a job asks for it: its name without the suffix, what that leads to, what the suffix sorts by."""
Planned = tuple[PublicModel, Plan]


class Admission:
    def __init__(self, config: Config, fleet: Fleet, scheduler: Scheduler, metrics: Metrics) -> None:
        self.config = config
        self._id = secrets.token_hex(8)
        self.measured = Measured()
        """What is known of providers that draw the same pictures."""
        self._fleet = fleet
        self._scheduler = scheduler
        self._metrics = metrics

    async def patience(self, job: Job) -> float:
        """Wait, while providers are still starting, until one that can serve the job has started.

        And if it names a model that nobody has, until they have been asked again. Returns the seconds.
        """
        if self._fleet.is_settled and not self._unknown(job):
            return 0.0
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
        if self._unknown(job):
            await self._fleet.look_again()
        return now() - arrived

    def admit(self, job: Job, *, rehearsal: bool = False) -> list[Planned]:
        """The plans for ``job``, one per model that can serve it now; raises what keeps it from being served.

        :param rehearsal: whether this is only asked, and done once more when the job really comes.
        """
        self.passed(job)
        plans = self.plans(job)
        able = [(model, chosen) for model, chosen in plans if chosen.tiers]
        for _, chosen in [] if able and rehearsal else plans:
            self._metrics.refused(chosen.refusals)
        if not able:
            raise self.refusal(*plans[0])
        return able

    def passed(self, job: Job) -> str:
        """The imagerouters that a job has passed, this one included. Raises `LoopError` if it has been here before."""
        before = job.origin.headers.get(PASSED)
        if before is None or not _IDS.fullmatch(before):
            return self._id
        if self._id in before:
            raise LoopError(
                "this request has come back to where it was sent on from: imagerouters are each other's providers"
            )
        return f"{before}, {self._id}"

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

    def verdict(self, model: str, target: Target, request: ImageRequest, applied: Mapping[str, Any]) -> Verdict:
        """What can be promised of the pictures that ``target`` has drawn.

        :param model: the public name that it was asked for by.
        :param applied: the parameters that it says it used.
        """
        found = None if target.model.parity is None else self._fleet.catalogue.resolve(model)
        siblings = found.targets if found is not None else ()
        return judge(request, target, siblings, applied=applied, measured=self.measured)

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
        return all(not is_demo if name is None else catalogue.knows(name) for name, _, _ in self._asked(job))

    def _unknown(self, job: Job) -> list[str]:
        """The models that it names and nobody has."""
        return [name for name, model, _ in self._asked(job) if model is None and name is not None]

    def _asked(self, job: Job) -> list[Asked]:
        catalogue, asked = self._fleet.catalogue, []
        for spelling in job.asked:
            name, sort = catalogue.variant(spelling)
            asked.append((name, catalogue.resolve(name), sort))
        return asked

    def _world(self) -> World:
        return World(
            self._fleet.snapshots,
            self.config.limits,
            self.config.rules,
            self.measured,
            datetime.now(),
            self._forecast,
        )

    def _forecast(self, job: Job, target: Target) -> Forecast:
        return self._scheduler.forecast(target, work_of(job.on(target)))

    def _models(self, job: Job) -> Iterator[tuple[str | None, PublicModel, Sort | None]]:
        """The model asked for, then the request's own fallback list: its name, and what its suffix sorts by."""
        asked = self._asked(job)
        for place, (name, model, sort) in enumerate(asked):
            if model is not None:
                yield name, model, sort
            elif name is not None and self._may_be_out(asked):
                yield name, PublicModel(name, (), missing=("no provider that is ready has it",)), sort
            else:
                raise self._not_found(name, "models" if place or job.model is None else "model")

    def _may_be_out(self, asked: list[Asked]) -> bool:
        """One of several that nobody has may be on a provider that is out: no reason to refuse the others."""
        return any(model for _, model, _ in asked) and bool(self._not_ready())

    def _not_found(self, name: str | None, param: str) -> ImageRouterError:
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
    return msgspec.structs.replace(job, model=name, models=(), preferences=preferences)
