"""One job's way from try to try: what has been tried, what may be tried again, and when."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from imagerouter.clock import now
from imagerouter.errors import (
    ImageRouterError,
    NoProviderError,
    ProviderBusyError,
    ProviderUnavailableError,
    QueueFullError,
)
from imagerouter.jobs import Attempt, Job, Placement, Target
from imagerouter.scheduling.waiting import Lease
from imagerouter.types import Progress

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 4.0
"""Seconds before a target that couldn't be reached is tried again, doubled each time."""

ProgressListener = Callable[[str | None, Progress], None]
"""Called with the provider's name (``None`` while the job waits) and the progress."""


@dataclass(slots=True)
class Trying:
    """The running totals of one job, or of one part of it. Times are in seconds."""

    job: Job
    listen: ProgressListener | None = None
    started: float = field(default_factory=now)
    images: tuple[int, ...] = ()
    """Which images it is about, where a request is spread over several providers."""
    model: str = ""
    """Public name of the model that is being tried."""
    attempts: list[Attempt] = field(default_factory=list)
    failures: list[ImageRouterError] = field(default_factory=list)
    queued: float = 0.0
    """In the queue, and resting between tries."""
    lost: float = 0.0
    """In attempts that failed."""
    lease: Lease | None = None
    """The last one; the next attempt keeps its place in the queue."""
    may_hedge: bool = True
    """Whether a second attempt beside a slow one may begin: one per request, and none where it is spread anyway."""
    _given_up: set[str] = field(default_factory=set)
    """Targets that failed for good; the request's fallback models may lead to them again."""
    _tries: dict[str, int] = field(default_factory=dict)
    _rested: dict[str, float] = field(default_factory=dict)
    """When a target may be tried again, in loop time."""
    _only: str | None = None
    """The target that alone may still be tried."""
    _placement: Placement | None = None

    def on(self, target: Target) -> Placement:
        """The job as ``target`` would draw it; the last one is kept, since it is asked for before and in an attempt."""
        if self._placement is None or self._placement.target is not target:
            self._placement = self.job.on(target)
        return self._placement

    async def next_of(self, targets: Iterable[Target]) -> list[Target]:
        """Those that may be tried now; while all have to rest it waits for the first. In the end none is left."""
        left = [target for target in targets if target.name not in self._given_up]
        if self._only is not None:
            left = [target for target in left if target.name == self._only]
        if not self._rested or not left:
            return left
        moment = now()
        if rested := [target for target in left if self._rested.get(target.name, 0.0) <= moment]:
            return rested
        first = min(left, key=lambda target: self._rested[target.name])
        rest = self._rested[first.name] - moment
        await asyncio.sleep(rest)
        self.queued += rest
        return [first]

    def failed(self, target: Target, error: ImageRouterError, retries: int) -> None:
        """``target`` rests, or is given up if the error's kind doesn't allow another try, or has used them up."""
        tries = self._tries[target.name] = self._tries.get(target.name, 0) + 1
        if error.retry_same and tries <= retries:
            pause = min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
            self._rested[target.name] = now() + pause * random.uniform(0.8, 1.2)  # noqa: S311 - no secret
        else:
            self._given_up.add(target.name)

    def goes_on(self, target: Target) -> bool:
        """Whether the client lets it go on after a failure on ``target``: without fallbacks only there."""
        if not self.job.preferences.allow_fallbacks:
            self._only = target.name
            return target.name not in self._given_up
        return True

    def beside(self, seconds: float) -> Trying:
        """Totals of its own for a second attempt that begins ``seconds`` after the first; what is tried, both share."""
        return replace(self, lost=self.lost + seconds)

    def gather(self, parts: Sequence[Trying]) -> None:
        """What its parts tried is what it tried; their times passed at once, and the longest count."""
        for part in parts:
            self.attempts += part.attempts
            self.failures += part.failures
        self.queued, self.lost = max(((part.queued, part.lost) for part in parts), key=sum)

    def begin_anew(self) -> None:
        """Every target may be tried again, as if none had been."""
        self._only = None
        self._given_up.clear()
        self._rested.clear()
        self._tries.clear()

    def stopped(self, target: Target, seconds: float, queued: float) -> None:
        """Write an attempt down that was cancelled: by a deadline, by the client, or since another one was first."""
        self._write(target, seconds, queued, ok=False, reason="stopped before it was done", code="cancelled")

    def note(self, target: Target, seconds: float, queued: float, error: ImageRouterError | None = None) -> None:
        """Write an attempt down, a good one or, with ``error``, a bad one."""
        if error is None:
            self._write(target, seconds, queued, ok=True)
            return
        self._write(target, seconds, queued, ok=False, reason=error.message, code=error.code)
        self.failures.append(error)
        self.lost += seconds

    def _write(self, target: Target, seconds: float, queued: float, **what: Any) -> None:
        ms, queue_ms = round(seconds * 1000, 1), round(queued * 1000, 1)
        attempt = Attempt(target.provider, target.model.id, ms=ms, queue_ms=queue_ms, images=self.images, **what)
        self.attempts.append(attempt)


def verdict(failures: list[ImageRouterError], come_again: float) -> ImageRouterError:
    """One failure speaks for itself; several become a `NoProviderError` that lists them.

    Coming again is suggested only where nothing was drawn: the SDKs do so by themselves.
    """
    passing = ProviderBusyError | ProviderUnavailableError | QueueFullError
    nothing_drawn = all(isinstance(error, passing) for error in failures)
    retry_after = max(error.retry_after or come_again for error in failures) if nothing_drawn else None
    if len({type(error) for error in failures}) == 1 and (len(failures) == 1 or failures[0].status < 500):
        failures[-1].retry_after = retry_after
        return failures[-1]
    reasons = "; ".join(dict.fromkeys(error.message for error in failures))
    return NoProviderError(f"every provider failed ({reasons})", retry_after=retry_after)
