"""The life of one provider: started, watched, taken out when it fails and back in when it returns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine
from contextlib import suppress
from typing import Any

from imagerouter.clock import now
from imagerouter.errors import ImageRouterError, ProviderUnavailableError
from imagerouter.fleet.member import Member
from imagerouter.guard import ANYTHING, checked_extras, checked_models, checked_status, is_being_cancelled
from imagerouter.logs import get_logger
from imagerouter.scheduling.scheduler import Scheduler

log = get_logger(__name__)

WATCH_SECONDS = 10.0
"""Between two looks at a provider's status."""
LOOK_SECONDS = 0.2
"""Between the end of a job and the look at what it has left loaded."""
FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds between attempts to start a provider that isn't there, doubled each time."""
START_SECONDS = 120.0
"""For a provider to start: importing torch from a slow disk takes most of a minute."""
ANSWER_SECONDS = 20.0
"""For a provider to list its models, or to tell its status."""
EXTRAS_SECONDS = 5.0
"""For a provider to list what it has beside its models, while nobody looks at its status."""


class Watch:
    """Keeps one `Member` and its slot in the scheduler up to date, in tasks of its own."""

    def __init__(self, member: Member, scheduler: Scheduler, listed: Callable[[], None]) -> None:
        """:param listed: called when the provider's models have changed."""
        self._member = member
        self._scheduler = scheduler
        self._listed = listed
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, after: Collection[asyncio.Task[None]]) -> None:
        """Start the provider in the background, once the tasks ``after`` are done."""
        self._spawn(self._run(after))

    def cancel(self) -> None:
        """Look no further: from now on neither the member nor its slot is touched."""
        for task in self._tasks:
            task.cancel()

    async def ended(self) -> None:
        """Wait until nothing of it runs any more, after `cancel`."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=f"watch {self._member.name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def put_in(self) -> None:
        """Let the provider take jobs: one at a time while its breaker is half-open, none while it is open."""
        member, state = self._member, self._member.breaker.state(now())
        if state == "open":
            return
        if not member.ready:
            log.info("provider.ready", provider=member.name, type=member.type, models=len(member.models))
            if state == "half_open":
                log.info("breaker.half_open", provider=member.name, reason=member.breaker.reason)
        member.ready, member.detail = True, ""
        self._scheduler.open(member.name, 1 if state == "half_open" else member.config.concurrency)

    def take_out(self, reason: str) -> None:
        """No further job goes there, until the provider has been started anew."""
        member = self._member
        if member.ready or reason != member.detail:
            log.warning("provider.not_ready", provider=member.name, reason=reason)
        member.ready, member.detail = False, reason

        def error() -> ImageRouterError:
            rest = member.breaker.seconds(now())
            return ProviderUnavailableError(f"provider `{member.name}`: {reason}", retry_after=rest or None)

        self._scheduler.close(member.name, error)

    async def list_models(self) -> None:
        """Ask for the models now rather than when it is time to."""
        if self._member.ready:
            await asyncio.wait([self._spawn(self._managed(self._list))])
            if not self._member.ready:
                # It is to be started anew now, not when its next look is due.
                self._member.wake.set()

    async def _run(self, after: Collection[asyncio.Task[None]]) -> None:
        if after:
            await asyncio.wait(after)
            self._member.detail = "starting"
        retry = FIRST_RETRY
        while True:
            while (cooldown := self._member.breaker.seconds(now())) > 0:
                await self._wait(cooldown)
            if await self._managed(self._start):
                retry = FIRST_RETRY
                await self._stay()
            else:
                await self._wait(retry)
                retry = min(LAST_RETRY, retry * 2)

    async def _stay(self) -> None:
        """Look at a provider that works, until it doesn't."""
        member = self._member
        while member.ready:
            if await self._wait(min(WATCH_SECONDS, max(0.0, member.list_due - now()))):
                # The answer that it was woken for goes first, and what ends close together is one look.
                await asyncio.sleep(LOOK_SECONDS)
            if member.ready:
                await self._managed(self._list if now() >= member.list_due else self._look)

    async def _wait(self, seconds: float) -> bool:
        """Until the member is woken or the time is over; whether it was woken."""
        wake = self._member.wake
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await wake.wait()
        was_set = wake.is_set()
        wake.clear()
        return was_set

    async def _managed(self, action: Callable[[], Awaitable[None]]) -> bool:
        """Whether ``action`` went well; if not, the provider is taken out."""
        reason = None
        try:
            await action()
        except ImageRouterError as error:
            reason = error.message
        except TimeoutError:
            reason = "does not answer"
        except ANYTHING:
            reason = "failed unexpectedly; the server's log says more"
            if not is_being_cancelled():
                log.exception("provider.failed", provider=self._member.name)
        if is_being_cancelled():
            # An adapter may have made something else of it.
            raise asyncio.CancelledError
        self._member.tried.set()
        if reason is not None:
            self.take_out(reason)
        return reason is None

    async def _start(self) -> None:
        async with asyncio.timeout(START_SECONDS):
            await self._member.provider.start()
        await self._list()

    async def _list(self) -> None:
        member = self._member
        async with asyncio.timeout(ANSWER_SECONDS):
            models = checked_models(member.name, await member.provider.models())
        is_news = models != member.models
        member.found(models, now())
        try:
            await self._look()
        finally:
            # What is loaded has a say in which model is the default.
            if is_news:
                self._listed()
        await self._list_extras()

    async def _list_extras(self) -> None:
        """No job depends on them: if it fails, those that were known stay."""
        member = self._member
        try:
            async with asyncio.timeout(EXTRAS_SECONDS):
                member.extras = checked_extras(member.name, await member.provider.extras())
        except ANYTHING as error:
            if is_being_cancelled():
                raise asyncio.CancelledError from None
            log.warning("provider.extras_failed", provider=member.name, reason=str(error) or type(error).__name__)

    async def _look(self) -> None:
        member = self._member
        async with asyncio.timeout(ANSWER_SECONDS):
            member.status = checked_status(member.name, await member.provider.status())
        status = member.status
        if not status.ready:
            raise ProviderUnavailableError(status.detail or "not ready")
        if is_being_cancelled():
            # An adapter has swallowed it, and the slot may be somebody else's by now.
            return
        self._scheduler.observe(member.name, status.resident, status.running + status.queued)
        if not member.ready:
            self.put_in()
