"""One job from plan to pictures: lease a slot, try, fall back where the taxonomy allows, never draw twice."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from typing import Any

import msgspec

from imagerouter.clock import now
from imagerouter.config import Limits
from imagerouter.dispatching.eta import Eta
from imagerouter.dispatching.hedging import hedged
from imagerouter.dispatching.spreading import merged, parts_of
from imagerouter.dispatching.trying import ProgressListener, Trying, verdict
from imagerouter.errors import (
    GenerationError,
    ImageRouterError,
    ProviderTimeoutError,
    ProviderUnavailableError,
    QueueFullError,
)
from imagerouter.fleet.fleet import Fleet
from imagerouter.guard import ANYTHING, checked_images, is_being_cancelled
from imagerouter.jobs import Job, Outcome, Target
from imagerouter.logs import get_logger
from imagerouter.metrics import Metrics
from imagerouter.provider import Provider
from imagerouter.routing.admission import COME_AGAIN_SECONDS, Admission
from imagerouter.routing.planning import Plan
from imagerouter.scheduling.costs import work_of
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.scheduling.waiting import Lease
from imagerouter.types import ImageRequest, Images, Progress, ProgressSink

log = get_logger(__name__)


class Dispatcher:
    def __init__(self, admission: Admission, fleet: Fleet, scheduler: Scheduler, metrics: Metrics) -> None:
        self._admission = admission
        self._fleet = fleet
        self._scheduler = scheduler
        self._metrics = metrics

    @property
    def _limits(self) -> Limits:
        return self._admission.config.limits

    async def run(self, job: Job, listen: ProgressListener = lambda *_: None) -> Outcome:
        """Draw the job's images on the best target that manages to.

        Raises the error that the client should see; its ``attempts`` tell what was tried. Cancelling the call
        cancels the work, wherever it is.
        """
        trying, most = Trying(job, listen), self._limits.total_timeout
        try:
            async with asyncio.timeout(most):
                outcome = await self._run(trying)
                if len(outcome.attempts) == len(trying.attempts):
                    return outcome
                # The loser of a hedge has been stopped since.
                return replace(outcome, attempts=tuple(trying.attempts))
        except TimeoutError:
            error: ImageRouterError = ProviderTimeoutError(f"the request took longer than {most:g} seconds")
            error.attempts = tuple(trying.attempts)
            raise error from None
        except ImageRouterError as error:
            error.attempts = tuple(trying.attempts)
            raise

    def spread(self, job: Job, plan: Plan) -> list[tuple[Target, int]]:
        """Over which targets the job's images would be spread now, and how many each would get; empty if not.

        Where somebody wants one provider rather than another, nothing is spread, and nothing where each part would
        have to be paid for as a request.
        """
        if job.n == 1 or not self._limits.fan_out or plan.ranks or not plan.tiers:
            return []
        targets = plan.tiers[0]
        if any(target.price.request for target in targets):
            return []
        shares = self._scheduler.spread(targets, work_of(job, targets[0]) / job.n, job.n)
        return shares if len(shares) > 1 else []

    async def _run(self, trying: Trying) -> Outcome:
        while True:
            trying.queued += await self._admission.patience(trying.job)
            generation = self._fleet.generation
            for model, plan in self._admission.admit(trying.job):
                trying.model = model.name
                outcome = await self._serve_all(trying, plan)
                if outcome is not None:
                    return outcome
            if generation == self._fleet.generation:
                raise verdict(trying.failures, COME_AGAIN_SECONDS)
            # The configuration has changed meanwhile, and with it the providers that there are.
            trying.begin_anew()

    async def _serve_all(self, trying: Trying, plan: Plan) -> Outcome | None:
        """All images of the job; ``None`` when no target could draw them, in a way that allows going on."""
        shares = self.spread(trying.job, plan)
        if not shares:
            return await self._serve(trying, plan)
        parts = parts_of(trying, [count for _, count in shares])
        tasks = [asyncio.create_task(self._serve(part, plan)) for part in parts]
        try:
            for done in asyncio.as_completed(tasks):
                if await done is None:
                    return None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            trying.gather(parts)
        return merged(trying, [outcome for task in tasks if (outcome := task.result()) is not None])

    async def _serve(self, trying: Trying, plan: Plan) -> Outcome | None:
        """Try the targets, tier by tier, until one delivers."""
        for tier in plan.tiers:
            try:
                while targets := await trying.next_of(tier):
                    if (outcome := await self._try_one_of(trying, plan, targets)) is not None:
                        return outcome
            except QueueFullError as error:
                # The next tier, or the request's next model, may have room.
                trying.failures.append(error)
        return None

    async def _try_one_of(self, trying: Trying, plan: Plan, targets: list[Target]) -> Outcome | None:
        """Wait for room at one of ``targets`` and try it; ``None`` when that failed in a way that allows going on."""
        arrived = now()
        async with AsyncExitStack() as held:
            try:
                lease = await held.enter_async_context(self._lease(trying, plan, targets))
            except ImageRouterError as error:
                trying.queued += now() - arrived
                if not isinstance(error, ProviderUnavailableError):
                    raise
                # All of them went away while the job waited.
                trying.failures.append(error)
                for target in targets:
                    trying.failed(target, error, self._limits.retries)
                return None
            trying.lease = lease
            trying.queued += lease.waited
            attempt = self._try(trying, lease)
            others = [target for target in targets if target.provider != lease.target.provider]
            if self._limits.hedge is None or not trying.may_hedge or not others:
                return await attempt
            trying.may_hedge, began = False, now()
            return await hedged(
                attempt,
                lambda: self._hedge(trying.beside(now() - began), plan, others),
                after=self._limits.hedge * self._expected(lease),
            )

    async def _hedge(self, trying: Trying, plan: Plan, targets: list[Target]) -> Outcome | None:
        """The second attempt beside a slow one, whose word counts where this one fails."""
        try:
            return await self._try_one_of(trying, plan, targets)
        except ImageRouterError:
            return None

    def _lease(self, trying: Trying, plan: Plan, targets: list[Target]) -> AbstractAsyncContextManager[Lease]:
        job = trying.job
        patience = job.queue_timeout or self._limits.queue_timeout
        work = work_of(job, targets[0])
        return self._scheduler.lease(
            targets,
            work=work,
            ranks=plan.ranks,
            owner=job.origin.key,
            priority=job.urgency,
            deadline=max(0.0, patience - trying.queued),
            moved=lambda ahead: trying.listen(None, self._queued(targets[0], work, ahead)),
            again=trying.lease,
        )

    def _queued(self, target: Target, work: float, ahead: int) -> Progress:
        return Progress(stage="queue", queue_position=ahead, eta=self._scheduler.forecast(target, work).total)

    def _expected(self, lease: Lease) -> float:
        """Seconds until its pictures should be there."""
        provider, model, costs = lease.target.provider, lease.target.model.id, self._scheduler.costs
        load = costs.loading(provider, model) if lease.cold else 0.0
        return max(1.0, load + costs.render(provider, model, lease.work))

    async def _try(self, trying: Trying, lease: Lease) -> Outcome | None:
        """One attempt; ``None`` when it failed in a way that allows another."""
        target = lease.target
        if (reason := self._fleet.blocked(target)) is not None:
            error = ProviderUnavailableError(f"`{target.name}` {reason}")
            trying.note(target, 0.0, lease.waited, error)
            trying.failed(target, error, retries=0)
            return None
        started = now()
        try:
            with self._fleet.attempt(target) as member:
                request = trying.job.request_for(target, member.type)
                images = await self._generate(trying, member.provider, request, self._listener(trying, lease))
        except asyncio.CancelledError:
            trying.stopped(target, now() - started, lease.waited)
            raise
        except ImageRouterError as error:
            self._failed(trying, lease, error, now() - started)
            if not error.fallback or not trying.goes_on(target):
                raise
            return None
        return self._succeeded(trying, lease, request, images, now() - started)

    def _succeeded(
        self, trying: Trying, lease: Lease, request: ImageRequest, images: Images, seconds: float
    ) -> Outcome:
        job, target = trying.job, lease.target
        load = min(images.load_seconds, seconds)
        lease.ran(seconds, load)
        self._fleet.succeeded(target)
        self._metrics.attempted(target, None, seconds, lease.cold)
        trying.note(target, seconds, lease.waited)
        return Outcome(
            job=job,
            model=trying.model,
            target=target,
            images=images.images,
            applied=images.applied,
            # What the client set and the picture doesn't show.
            ignored=job.ignored_on(target) | (images.ignored & (request.parameters | set(job.params))),
            attempts=tuple(trying.attempts),
            queue_ms=trying.queued * 1000,
            load_ms=load * 1000,
            render_ms=(seconds - load) * 1000,
            lost_ms=trying.lost * 1000,
            total_ms=(now() - trying.started) * 1000,
            cost=job.price_on(target),
        )

    def _failed(self, trying: Trying, lease: Lease, error: ImageRouterError, seconds: float) -> None:
        target = lease.target
        self._fleet.failed(target, error)
        self._metrics.attempted(target, error.code, seconds, lease.cold)
        trying.note(target, seconds, lease.waited, error)
        trying.failed(target, error, self._limits.retries)
        log.warning("attempt.failed", job=trying.job.id, target=target.name, code=error.code, reason=error.message)

    def _listener(self, trying: Trying, lease: Lease) -> ProgressSink:
        """Tells the client of an attempt's progress, and how long it will take."""
        provider, eta = lease.target.provider, Eta(self._expected(lease), trying.job.n, now())

        def told(progress: Progress) -> None:
            left = eta.left(progress, now())
            trying.listen(provider, msgspec.structs.replace(progress, eta=left))

        return told

    async def _generate(
        self, trying: Trying, provider: Provider[Any], request: ImageRequest, listener: ProgressSink
    ) -> Images:
        name = provider.name
        try:
            async with asyncio.timeout(provider.config.timeout) as deadline:
                images = await provider.generate(request, listener)
        except ANYTHING as error:
            if is_being_cancelled():
                # An adapter may turn our cancellation into a failure; nobody waits for another attempt then.
                raise asyncio.CancelledError from None
            if isinstance(error, ImageRouterError):
                raise
            if isinstance(error, TimeoutError) and deadline.expired():
                seconds = provider.config.timeout
                raise ProviderTimeoutError(f"provider `{name}` took longer than {seconds:g} seconds") from None
            log.exception("provider.defect", provider=name, job=trying.job.id)
            raise GenerationError(f"provider `{name}` failed unexpectedly") from None
        return checked_images(name, images, request.n)
