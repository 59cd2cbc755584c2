"""One job from plan to pictures: lease a slot, try, fall back where the taxonomy allows, never draw twice."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field

import structlog

from imagerouter.catalogue import PublicModel
from imagerouter.config import Limits
from imagerouter.costs import work_of
from imagerouter.errors import (
    GenerationError,
    ImageRouterError,
    ModelNotFoundError,
    NoProviderError,
    ProviderBusyError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.fleet import Fleet
from imagerouter.guard import checked_images, is_being_cancelled
from imagerouter.jobs import Attempt, Job, Outcome, Target
from imagerouter.routing import Plan, plan
from imagerouter.scheduler import Scheduler
from imagerouter.suggest import did_you_mean, shortened
from imagerouter.types import ImageRequest, Images, Progress

log = structlog.get_logger(__name__)

PATIENCE_SECONDS = 60.0
"""How long a request waits for providers that are still starting."""
COME_AGAIN_SECONDS = 5.0
"""What ``retry-after`` says when no provider could take the request and none said how long that lasts."""

ProgressListener = Callable[[str | None, Progress], None]
"""Called with the provider's name (``None`` while the job waits) and the progress."""


@dataclass(slots=True)
class _Run:
    """The running totals of one job. Times are in seconds."""

    job: Job
    listen: ProgressListener
    started: float
    attempts: list[Attempt] = field(default_factory=list)
    failures: list[ImageRouterError] = field(default_factory=list)
    repeated: set[str] = field(default_factory=set)
    """Targets that have had their one repetition."""
    given_up: set[str] = field(default_factory=set)
    """Targets that failed for good; the request's fallback models may lead to them again."""
    queued: float = 0.0

    def may_repeat(self, target: Target, error: ImageRouterError) -> bool:
        """Whether ``target`` gets a second chance; it gets only one."""
        if not error.retry_same or target.name in self.repeated:
            return False
        self.repeated.add(target.name)
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()


class Dispatcher:
    def __init__(self, fleet: Fleet, scheduler: Scheduler, limits: Limits) -> None:
        self._fleet = fleet
        self._scheduler = scheduler
        self._limits = limits

    async def run(self, job: Job, listen: ProgressListener = lambda *_: None) -> Outcome:
        """Draw the job's images on the best target that manages to.

        Raises the error that the client should see; its ``attempts`` tell what was tried. Cancelling the call
        cancels the work, wherever it is.
        """
        run = _Run(job, listen, _now())
        try:
            async with asyncio.timeout(self._limits.total_timeout):
                return await self._run(run)
        except TimeoutError:
            error: ImageRouterError = ProviderTimeoutError(
                f"the request took longer than {self._limits.total_timeout:g} seconds"
            )
            error.attempts = tuple(run.attempts)
            raise error from None
        except ImageRouterError as error:
            error.attempts = tuple(run.attempts)
            raise

    async def admit(self, job: Job) -> list[tuple[PublicModel, Plan]]:
        """The plans for ``job``, one per model that can serve it now; raises what keeps it from being served.

        Nothing is queued yet. Right after the start it waits for providers that are still on their way.
        """
        try:
            return self._plans(job)
        except ImageRouterError:
            if self._fleet.is_settled:
                raise
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._fleet.settled()
        return self._plans(job)

    def _plans(self, job: Job) -> list[tuple[PublicModel, Plan]]:
        plans = [(model, plan(job, model.targets, self._fleet.snapshots, self._limits)) for model in self._models(job)]
        able = [(model, chosen) for model, chosen in plans if chosen.candidates]
        if not able:
            raise self._refusal(*plans[0])
        return able

    async def _run(self, run: _Run) -> Outcome:
        for model, chosen in await self.admit(run.job):
            outcome = await self._try_all(run, model, list(chosen.candidates))
            if outcome is not None:
                return outcome
        raise _verdict(run.failures)

    def _models(self, job: Job) -> Iterator[PublicModel]:
        """The model asked for, then the request's own fallback list."""
        names: list[str | None] = list(job.models)
        if job.model is not None or not names:
            names.insert(0, job.model)
        for name in names:
            model = self._fleet.catalogue.resolve(name)
            if model is None:
                raise self._unknown(name)
            yield model

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

    def _refusal(self, model: PublicModel, chosen: Plan) -> ImageRouterError:
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

    async def _try_all(self, run: _Run, model: PublicModel, candidates: list[Target]) -> Outcome | None:
        """Try candidates until one delivers; ``None`` when all have failed in a way that allows going on."""
        while candidates := [target for target in candidates if target.name not in run.given_up]:
            waited = _now()
            lease = self._scheduler.lease(
                candidates,
                work=work_of(run.job, candidates[0]),
                moved=lambda ahead: _tell_position(run, ahead),
                ordered=bool(run.job.preferences.order),
            )
            async with AsyncExitStack() as held:
                try:
                    granted = await held.enter_async_context(lease)
                except ProviderUnavailableError as error:
                    # All of them went away while the job waited.
                    run.failures.append(error)
                    return None
                run.queued += _now() - waited
                if (outcome := await self._try(run, model, granted.target)) is not None:
                    granted.ran((outcome.load_ms + outcome.render_ms) / 1000, outcome.load_ms / 1000)
                    return outcome
        return None

    async def _try(self, run: _Run, model: PublicModel, target: Target) -> Outcome | None:
        """One attempt; ``None`` when it failed in a way that allows another."""
        started = _now()
        try:
            return await self._attempt(run, model, target)
        except ImageRouterError as error:
            self._note_failure(run, target, error, _now() - started)
            if run.may_repeat(target, error):
                return None
            run.given_up.add(target.name)
            if isinstance(error, ProviderUnavailableError):
                self._fleet.lost(target.provider, error.message)
            if not error.fallback or not run.job.preferences.allow_fallbacks:
                raise
        return None

    async def _attempt(self, run: _Run, model: PublicModel, target: Target) -> Outcome:
        member = self._fleet.members[target.provider]
        request = run.job.request_for(target, member.type)
        started = _now()
        images = await self._generate(run, target, request)
        ended = _now()
        run.attempts.append(Attempt(target.provider, target.model.id, True, round((ended - started) * 1000, 1)))
        self._fleet.used(target.provider)
        load = min(images.load_seconds, ended - started)
        return Outcome(
            job=run.job,
            model=model.name,
            target=target,
            images=images.images,
            applied=images.applied,
            ignored=_ignored(run.job, target, request, images),
            attempts=tuple(run.attempts),
            queue_ms=run.queued * 1000,
            load_ms=load * 1000,
            render_ms=(ended - started - load) * 1000,
            total_ms=(ended - run.started) * 1000,
        )

    async def _generate(self, run: _Run, target: Target, request: ImageRequest) -> Images:
        provider = self._fleet.members[target.provider].provider
        name = target.provider
        try:
            async with asyncio.timeout(provider.config.timeout) as deadline:
                images = await provider.generate(request, lambda progress: run.listen(name, progress))
        except (Exception, asyncio.CancelledError, SystemExit) as error:
            if is_being_cancelled():
                # An adapter may turn our cancellation into a failure; nobody waits for another attempt then.
                raise asyncio.CancelledError from None
            if isinstance(error, ImageRouterError):
                raise
            if isinstance(error, TimeoutError) and deadline.expired():
                seconds = provider.config.timeout
                raise ProviderTimeoutError(f"provider `{name}` took longer than {seconds:g} seconds") from None
            log.exception("provider.defect", provider=name, job=run.job.id)
            raise GenerationError(f"provider `{name}` failed unexpectedly") from None
        return checked_images(name, images, request.n)

    def _note_failure(self, run: _Run, target: Target, error: ImageRouterError, seconds: float) -> None:
        attempt = Attempt(
            target.provider,
            target.model.id,
            ok=False,
            ms=round(seconds * 1000, 1),
            reason=error.message,
            code=error.code,
        )
        run.attempts.append(attempt)
        run.failures.append(error)
        log.warning("attempt.failed", job=run.job.id, target=target.name, code=error.code, reason=error.message)


def _tell_position(run: _Run, ahead: int) -> None:
    run.listen(None, Progress(stage="queue", queue_position=ahead))


def _ignored(job: Job, target: Target, request: ImageRequest, images: Images) -> frozenset[str]:
    """What the client set and the picture doesn't show."""
    return frozenset(job.ignored_on(target) | (images.ignored & (request.parameters | set(job.params))))


def _verdict(failures: list[ImageRouterError]) -> ImageRouterError:
    """One failure speaks for itself; several become a `NoProviderError` that lists them.

    Coming again is suggested only where nothing was drawn: the SDKs do so by themselves.
    """
    nothing_drawn = all(isinstance(error, ProviderBusyError | ProviderUnavailableError) for error in failures)
    retry_after = max(error.retry_after or COME_AGAIN_SECONDS for error in failures) if nothing_drawn else None
    if len({type(error) for error in failures}) == 1 and (len(failures) == 1 or failures[0].status < 500):
        failures[-1].retry_after = retry_after
        return failures[-1]
    reasons = "; ".join(dict.fromkeys(error.message for error in failures))
    return NoProviderError(f"every provider failed ({reasons})", retry_after=retry_after)
