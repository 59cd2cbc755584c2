"""The live providers: started in the background, watched, taken out when they fail and back in when they return."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from imagerouter.catalogue import Catalogue, build
from imagerouter.config import Config
from imagerouter.errors import ImageRouterError, ProviderUnavailableError
from imagerouter.guard import checked_models, checked_status, is_being_cancelled
from imagerouter.provider import Model, Provider, Status
from imagerouter.registry import provider_class
from imagerouter.routing import Snapshot
from imagerouter.scheduler import Scheduler

log = structlog.get_logger(__name__)

WATCH_SECONDS = 10.0
"""Between two looks at a provider's status."""
LIST_SECONDS = 60.0
"""Between two looks at which models it has."""
LOOK_SECONDS = 0.05
"""Between the end of a job and the look at what it has left loaded."""
FIRST_RETRY, LAST_RETRY = 0.5, 30.0
"""Seconds between attempts to start a provider that isn't there, doubled each time."""
START_SECONDS = 120.0
"""For a provider to start: importing torch from a slow disk takes most of a minute."""
ANSWER_SECONDS = 20.0
"""For a provider to list its models, or to tell its status."""
CLOSE_SECONDS = 10.0


@dataclass(slots=True, eq=False)
class Member:
    """One provider, with what is known of it."""

    name: str
    type: str
    provider: Provider[Any]
    ready: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first attempt to start it is over, well or badly."""
    detail: str = "starting"
    status: Status = field(default_factory=lambda: Status(ready=False, detail="starting"))
    models: tuple[Model, ...] = ()
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.type, self.ready, self.detail, self.status.resident)


class Fleet:
    """Owns every provider from start to `aclose`, and keeps the catalogue and the scheduler's slots up to date."""

    def __init__(self, config: Config, scheduler: Scheduler) -> None:
        self._config = config
        self._scheduler = scheduler
        self.catalogue = Catalogue()
        self.members = {
            name: Member(name, entry.type, provider_class(entry.type)(name, entry.config))
            for name, entry in config.providers.items()
        }
        self._watchers: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start all providers in the background; a dead one keeps nobody waiting."""
        self._rebuild()
        self._watchers = [
            asyncio.create_task(self._watch(member), name=f"watch {member.name}") for member in self.members.values()
        ]

    async def settled(self) -> None:
        """Wait until each provider has started, or has failed to once."""
        await asyncio.gather(*(member.tried.wait() for member in self.members.values()))

    @property
    def is_settled(self) -> bool:
        return all(member.tried.is_set() for member in self.members.values())

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        return {name: member.snapshot for name, member in self.members.items()}

    @property
    def ready(self) -> bool:
        return any(member.ready for member in self.members.values())

    def used(self, name: str) -> None:
        """A job has just run there: look at once, since what is resident may have changed."""
        self.members[name].wake.set()

    def lost(self, name: str, reason: str) -> None:
        """A request found the provider unreachable: no further job until it answers again."""
        member = self.members[name]
        if member.ready:
            self._take_out(member, reason)
            member.wake.set()

    async def aclose(self) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        await asyncio.gather(*(self._close(member) for member in self.members.values()))

    async def _close(self, member: Member) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await member.provider.aclose()
        except Exception:
            log.warning("provider.close_failed", provider=member.name, exc_info=True)

    async def _watch(self, member: Member) -> None:
        retry = FIRST_RETRY
        while True:
            if await self._manage(member, self._start):
                retry = FIRST_RETRY
                await self._stay(member)
            else:
                await _wait(member.wake, retry)
                retry = min(LAST_RETRY, retry * 2)

    async def _stay(self, member: Member) -> None:
        """Watch a provider that works, until it doesn't."""
        listed = asyncio.get_running_loop().time()
        while member.ready:
            if await _wait(member.wake, WATCH_SECONDS):
                # The answer that it was woken for goes first, and what ends close together is one look.
                await asyncio.sleep(LOOK_SECONDS)
            is_due = asyncio.get_running_loop().time() - listed >= LIST_SECONDS
            if member.ready:
                await self._manage(member, self._list if is_due else self._look)
            if is_due:
                listed = asyncio.get_running_loop().time()

    async def _manage(self, member: Member, action: Callable[[Member], Any]) -> bool:
        """Whether ``action`` went well; if not, the provider is taken out."""
        try:
            await action(member)
        except ImageRouterError as error:
            self._take_out(member, error.message)
        except TimeoutError:
            self._take_out(member, "does not answer")
        except (Exception, asyncio.CancelledError):
            if is_being_cancelled():
                raise
            log.exception("provider.failed", provider=member.name)
            self._take_out(member, "failed unexpectedly; the server's log says more")
        else:
            return True
        finally:
            member.tried.set()
        return False

    async def _start(self, member: Member) -> None:
        async with asyncio.timeout(START_SECONDS):
            await member.provider.start()
        await self._list(member)

    async def _list(self, member: Member) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            models = checked_models(member.name, await member.provider.models())
        if models != member.models:
            member.models = models
            self._rebuild()
        await self._look(member)

    async def _look(self, member: Member) -> None:
        async with asyncio.timeout(ANSWER_SECONDS):
            member.status = checked_status(member.name, await member.provider.status())
        if not member.status.ready:
            raise ProviderUnavailableError(member.status.detail or "not ready")
        status = member.status
        self._scheduler.observe(member.name, status.resident, status.running + status.queued)
        if not member.ready:
            member.ready, member.detail = True, ""
            self._scheduler.open(member.name, member.provider.config.concurrency)
            log.info("provider.ready", provider=member.name, type=member.type, models=len(member.models))

    def _take_out(self, member: Member, reason: str) -> None:
        if member.ready or reason != member.detail:
            log.warning("provider.not_ready", provider=member.name, reason=reason)
        member.ready, member.detail = False, reason
        self._scheduler.close(member.name, lambda: ProviderUnavailableError(f"provider `{member.name}`: {reason}"))

    def _rebuild(self) -> None:
        self.catalogue = build(
            self._config,
            {member.name: member.models for member in self.members.values()},
            self.catalogue.default,
        )


async def _wait(wake: asyncio.Event, seconds: float) -> bool:
    """Until ``wake`` is set or the time is over; whether it was set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await wake.wait()
    was_set = wake.is_set()
    wake.clear()
    return was_set
