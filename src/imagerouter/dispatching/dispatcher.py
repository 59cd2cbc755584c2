"""One job from plan to pictures: lease a slot, try, fall back where the taxonomy allows, never draw twice."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from imagerouter.clock import now
from imagerouter.config import Limits
from imagerouter.dispatching.deadlines import Deadlines
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
from imagerouter.jobs import Job, Outcome, Placement, Target
from imagerouter.logs import get_logger
from imagerouter.metrics import Metrics
from imagerouter.parity.verdict import Verdict
from imagerouter.provider import Provider
from imagerouter.remote import passed
from imagerouter.routing.admission import COME_AGAIN_SECONDS, Admission
from imagerouter.routing.planning import Plan
from imagerouter.scheduling.costs import work_of
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.scheduling.waiting import Lease
from imagerouter.types import ImageRequest, Images, Progress, ProgressSink, unheard

log = get_logger(__name__)


class Dispatcher:
    def __init__(self, admission: Admission, fleet: Fleet, scheduler: Scheduler, metrics: Metrics) -> None:
        self._admission = admission
        self._fleet = fleet
        self._scheduler = scheduler
        self._metrics = metrics
        self._deadlines = Deadlines()

    def close(self) -> None:
        """When no job runs any more."""
        self._deadlines.close()

    @property
    def _limits(self) -> Limits:
        return self._admission.config.limits

    async def run(self, job: Job, listen: ProgressListener | None = None) -> Outcome:
        """Draw the job's images on the best target that manages to.

        Raises the error that the client should see; its ``attempts`` tell what was tried. Cancelling the call
        cancels the work, wherever it is.
        """
        trying, most = Trying(job, listen), self._limits.total_timeout
        try:
            with self._deadlines.within(most):
                outcome = await self._run(trying)
                if len(outcome.attempts) == len(trying.attempts):
                    return outcome
                # The loser of a hedge has been stopped since.
                return msgspec.structs.replace(outcome, attempts=tuple(trying.attempts))
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
        shares = self._scheduler.spread(targets, work_of(job.on(targets[0])) / job.n, job.n)
        return shares if len(shares) > 1 else []

    async def _run(self, trying: Trying) -> Outcome:
        while True:
            trying.queued += await self._admission.patience(trying.job)
            generation = self._fleet.generation
            for model, plan in self._admission.admit(trying.job):
                trying.model = model.name
                shares = self.spread(trying.job, plan)
                outcome = await (self._serve_parts(trying, plan, shares) if shares else self._serve(trying, plan))
                if outcome is not None:
                    return outcome
            if generation == self._fleet.generation:
                raise verdict(trying.failures, COME_AGAIN_SECONDS)
            # The configuration has changed meanwhile, and with it the providers that there are.
            trying.begin_anew()

    async def _serve_parts(self, trying: Trying, plan: Plan, shares: list[tuple[Target, int]]) -> Outcome | None:
        """All images of the job at once, each part as `_serve` does it; ``None`` when one of them fails."""
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
        """Try the targets, tier by tier, until one delivers; ``None`` when none could and others may be tried."""
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
        try:
            lease = await self._lease(trying, plan, targets)
        except ImageRouterError as error:
            trying.queued += now() - arrived
            if not isinstance(error, ProviderUnavailableError):
                raise
            # All of them went away while the job waited.
            trying.failures.append(error)
            for target in targets:
                trying.failed(target, error, self._limits.retries)
            return None
        with lease:
            trying.lease = lease
            trying.queued += lease.waited
            others = [target for target in targets if target.provider != lease.target.provider]
            may_hedge = trying.may_hedge and trying.job.preferences.allow_fallbacks
            if self._limits.hedge is None or not may_hedge or not others:
                return await self._try(trying, lease)
            trying.may_hedge, began = False, now()
            return await hedged(
                self._try(trying, lease),
                lambda: self._hedge(trying.beside(now() - began), plan, others),
                after=self._limits.hedge * _expected(lease),
            )

    async def _hedge(self, trying: Trying, plan: Plan, targets: list[Target]) -> Outcome | None:
        """The second attempt beside a slow one, whose word counts where this one fails."""
        try:
            return await self._try_one_of(trying, plan, targets)
        except ImageRouterError:
            return None

    async def _lease(self, trying: Trying, plan: Plan, targets: list[Target]) -> Lease:
        job, listen = trying.job, trying.listen
        patience = job.queue_timeout or self._limits.queue_timeout
        work = work_of(trying.on(targets[0]))
        return await self._scheduler.lease(
            targets,
            work=work,
            ranks=plan.ranks,
            owner=job.origin.key,
            priority=job.urgency,
            deadline=max(0.0, patience - trying.queued),
            moved=listen and (lambda ahead: listen(None, self._queued(targets[0], work, ahead))),
            again=trying.lease,
        )

    def _queued(self, target: Target, work: float, ahead: int) -> Progress:
        return Progress(stage="queue", queue_position=ahead, eta=self._scheduler.forecast(target, work).total)

    async def _try(self, trying: Trying, lease: Lease) -> Outcome | None:
        """One attempt; ``None`` when it failed in a way that allows another."""
        target, started = lease.target, now()
        if (reason := self._fleet.blocked(target, started)) is not None:
            error = ProviderUnavailableError(f"`{target.name}` {reason}")
            trying.note(target, 0.0, lease.waited, error)
            trying.failed(target, error, retries=0)
            return None
        member, placement = self._fleet.members[target.provider], trying.on(target)
        try:
            with member.attempt(target.model.id, started):
                request = placement.request(member.type)
                images = await self._generate(trying, member.provider, request, _listener(trying, lease, started))
        except asyncio.CancelledError:
            trying.stopped(target, now() - started, lease.waited)
            raise
        except ImageRouterError as error:
            self._failed(trying, lease, error, now() - started)
            if not error.fallback or not trying.goes_on(target):
                raise
            return None
        verdict = self._admission.verdict(trying.model, target, request, images.applied)
        return self._succeeded(trying, lease, placement, images, started=started, verdict=verdict)

    def _succeeded(
        self, trying: Trying, lease: Lease, placement: Placement, images: Images, *, started: float, verdict: Verdict
    ) -> Outcome:
        target, ended = lease.target, now()
        seconds = ended - started
        load = min(images.load_seconds, seconds)
        lease.ran(seconds, load)
        self._fleet.succeeded(target)
        self._metrics.attempted(target, None, seconds, lease.cold)
        trying.note(target, seconds, lease.waited)
        return Outcome(
            job=trying.job,
            model=trying.model,
            target=target,
            images=images.images,
            seed=placement.seed,
            applied=images.applied,
            ignored=placement.ignored | (images.ignored & placement.said),
            verdict=verdict,
            notes=images.notes,
            attempts=tuple(trying.attempts),
            queue_ms=trying.queued * 1000,
            load_ms=load * 1000,
            render_ms=(seconds - load) * 1000,
            lost_ms=trying.lost * 1000,
            total_ms=(ended - trying.started) * 1000,
            cost=placement.price,
        )

    def _failed(self, trying: Trying, lease: Lease, error: ImageRouterError, seconds: float) -> None:
        target = lease.target
        self._fleet.failed(target, error)
        self._metrics.attempted(target, error.code, seconds, lease.cold)
        trying.note(target, seconds, lease.waited, error)
        trying.failed(target, error, self._limits.retries)
        log.warning("attempt.failed", job=trying.job.id, target=target.name, code=error.code, reason=error.message)

    async def _generate(
        self, trying: Trying, provider: Provider[Any], request: ImageRequest, listener: ProgressSink
    ) -> Images:
        name = provider.name
        try:
            with self._deadlines.within(provider.config.timeout) as deadline:
                passed.set(self._admission.passed(trying.job))
                images = await provider.generate(request, listener)
        except ANYTHING as error:
            if is_being_cancelled():
                # An adapter may turn our cancellation into a failure; nobody waits for another attempt then.
                raise asyncio.CancelledError from None
            if isinstance(error, ImageRouterError):
                raise
            if isinstance(error, TimeoutError) and deadline.has_passed:
                seconds = provider.config.timeout
                raise ProviderTimeoutError(f"provider `{name}` took longer than {seconds:g} seconds") from None
            log.exception("provider.defect", provider=name, job=trying.job.id)
            raise GenerationError(f"provider `{name}` failed unexpectedly") from None
        return checked_images(name, images, request.n)


def _expected(lease: Lease) -> float:
    """Seconds until its pictures should be there."""
    return max(1.0, lease.expected)


def _listener(trying: Trying, lease: Lease, started: float) -> ProgressSink:
    """Tells whoever listens of an attempt's progress, and how long it will take."""
    if (listen := trying.listen) is None:
        return unheard
    provider, eta = lease.target.provider, Eta(_expected(lease), trying.job.n, started)

    def told(progress: Progress) -> None:
        listen(provider, msgspec.structs.replace(progress, eta=eta.left(progress, now())))

    return told
