"""The live providers: what they have and whether they take jobs, from the configuration's first load to its last."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from imagerouter.clock import now
from imagerouter.config import Config
from imagerouter.errors import ImageRouterError, ProviderUnavailableError
from imagerouter.fleet.member import Member, construct
from imagerouter.fleet.watch import Watch
from imagerouter.guard import ANYTHING, is_being_cancelled
from imagerouter.jobs import Target
from imagerouter.logs import get_logger
from imagerouter.provider import Extras
from imagerouter.routing.catalogue import Catalogue, build
from imagerouter.routing.refusals import Snapshot
from imagerouter.scheduling.scheduler import Scheduler

log = get_logger(__name__)

CLOSE_SECONDS = 10.0
"""For a provider to give everything back."""
LOOK_AGAIN_SECONDS = 3.0
"""Between two looks at all models because of unknown names, and for such a look to take."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What a reload did, by the providers' names."""

    kept: tuple[str, ...] = ()
    started: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


class Fleet:
    """Owns every provider from start to `aclose`, and keeps the catalogue and the scheduler's slots up to date."""

    def __init__(self, config: Config, scheduler: Scheduler) -> None:
        self._config = config
        self._scheduler = scheduler
        self.catalogue = Catalogue()
        self.generation = 0
        """How often the configuration has been reloaded."""
        self.members = {name: construct(name, entry, config.breaker) for name, entry in config.providers.items()}
        self._watches: dict[Member, Watch] = {}
        self._retiring: dict[Member, asyncio.Task[None]] = {}
        self._warned: frozenset[str] = frozenset()
        self._looking: asyncio.Task[None] | None = None
        self._looked = 0.0

    def start(self) -> None:
        """Start all providers in the background; a dead one keeps nobody waiting."""
        self._rebuild()
        for member in self.members.values():
            self._begin(member)

    async def settled(self) -> None:
        """Wait until each provider has started, or has failed to once."""
        await asyncio.gather(*(member.tried.wait() for member in self.members.values()))

    async def one_more_settled(self) -> None:
        """Wait until another provider has started, or has failed to."""
        untried = [member for member in self.members.values() if not member.tried.is_set()]
        waits = [asyncio.create_task(member.tried.wait()) for member in untried]
        try:
            if waits:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    @property
    def is_settled(self) -> bool:
        return not [name for name, member in self.members.items() if not member.tried.is_set()]

    async def look_again(self) -> None:
        """Ask all providers for their models, since somebody wants one that nobody has; not too often, nor too long."""
        if self._looking is None or (self._looking.done() and now() - self._looked >= LOOK_AGAIN_SECONDS):
            self._looked = now()
            self._looking = asyncio.create_task(self._list_all(), name="look again")
        await asyncio.wait([self._looking], timeout=LOOK_AGAIN_SECONDS)

    async def _list_all(self) -> None:
        await asyncio.gather(*(watch.list_models() for watch in self._watches.values()))

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        moment = now()
        return {name: member.snapshot(moment) for name, member in self.members.items()}

    @property
    def extras(self) -> Extras:
        """Of all providers together, each name once."""
        each = [member.extras for member in self.members.values()]
        return Extras(
            loras=_together(one.loras for one in each),
            upscalers=_together(one.upscalers for one in each),
            vaes=_together(one.vaes for one in each),
        )

    @property
    def ready(self) -> bool:
        return any(member.ready for member in self.members.values())

    # Jobs

    def blocked(self, target: Target, now: float) -> str | None:
        """Why ``target`` gets no job now, in plain words; ``None`` if it may get one."""
        member = self.members.get(target.provider)
        return "is not configured any more" if member is None else member.blocked(target.model.id, now)

    def succeeded(self, target: Target) -> None:
        """A job got its pictures there."""
        member = self.members.get(target.provider)
        if member is None or not member.tried.is_set():
            # A job of a previous configuration says nothing about this one's.
            return
        if member.succeeded(target.model.id) and member.ready:
            self._watches[member].put_in()
        # What is resident may have changed.
        member.wake.set()

    def failed(self, target: Target, error: ImageRouterError) -> None:
        """A job failed there. A provider that can't be reached gets no further one until it answers again."""
        member = self.members.get(target.provider)
        if member is None or not member.tried.is_set():
            return
        reason = member.failed(target.model.id, error, now())
        if reason is not None:
            self._watches[member].take_out(reason)
        # Only its status tells a slow job from a provider that hangs.
        member.wake.set()

    # The configuration

    async def reload(self, config: Config) -> Changes:
        """Go on under another configuration. Providers of the same type and keys are kept as they are.

        Those that are gone or changed get no new job; they are closed when their running jobs are done, and only
        then does a changed one start anew. Raises `ConfigError` if a provider can't be made: then nothing changes.
        """
        before, kept, made = self.members, [], {}
        try:
            for name, entry in config.providers.items():
                if name in before and before[name].keeps(entry):
                    kept.append(name)
                else:
                    made[name] = construct(name, entry, config.breaker)
        except BaseException:
            await asyncio.gather(*(self._close(member) for member in made.values()))
            raise
        for name in kept:
            before[name].adopt(config.providers[name], config.breaker)
        self._config, self.generation = config, self.generation + 1
        self.members = {name: made.get(name) or before[name] for name in config.providers}
        for name, member in before.items():
            if name not in kept:
                self._retire(member, made.get(name))
        self._rebuild(anew=True)
        for member in made.values():
            self._begin(member)
        return Changes(
            kept=tuple(kept),
            started=tuple(name for name in made if name not in before),
            stopped=tuple(name for name in before if name not in self.members),
            changed=tuple(name for name in made if name in before),
        )

    def _retire(self, member: Member, successor: Member | None) -> None:
        if successor is None:
            gone = f"provider `{member.name}` is not configured any more"
            self._scheduler.close(member.name, lambda: ProviderUnavailableError(gone))
        else:
            # Its models are known until it says otherwise, and jobs that wait for it go on waiting.
            successor.models, successor.extras = member.models, member.extras
            if member.ready:
                self._scheduler.open(member.name, 0)
        member.ready = False
        member.tried.set()
        watch = self._watches.pop(member)
        watch.cancel()
        ending = self._dismiss(member, watch)
        self._retiring[member] = asyncio.create_task(ending, name=f"retire {member.name}")

    async def _dismiss(self, member: Member, watch: Watch) -> None:
        await watch.ended()
        await self._scheduler.idle(member.name)
        await self._close(member)
        del self._retiring[member]
        if member.name not in self.members:
            self._scheduler.forget(member.name)
        log.info("provider.retired", provider=member.name)

    async def aclose(self) -> None:
        members = [*self.members.values(), *self._retiring]
        if self._looking is not None:
            self._looking.cancel()
        for task in self._retiring.values():
            task.cancel()
        for watch in self._watches.values():
            watch.cancel()
        await asyncio.gather(*self._retiring.values(), return_exceptions=True)
        await asyncio.gather(*(watch.ended() for watch in self._watches.values()))
        await asyncio.gather(*(self._close(member) for member in members))

    async def _close(self, member: Member) -> None:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await member.provider.aclose()
        except ANYTHING:
            if is_being_cancelled():
                raise asyncio.CancelledError from None
            log.warning("provider.close_failed", provider=member.name, exc_info=True)

    def _begin(self, member: Member) -> None:
        before = [task for retired, task in self._retiring.items() if retired.name == member.name]
        if before:
            member.detail = "waiting for jobs of its previous configuration"
        watch = self._watches[member] = Watch(member, self._scheduler, self._rebuild)
        watch.begin(before)

    def _rebuild(self, *, anew: bool = False) -> None:
        """:param anew: whether another default model may be better now."""
        self.catalogue = build(
            self._config,
            {member.name: member.models for member in self.members.values()},
            # While providers are still starting, which of them comes first is chance.
            previous_default=None if anew or not self.is_settled else self.catalogue.default,
            loaded={member.name: member.status.resident for member in self.members.values()},
        )
        for warning in self.catalogue.warnings:
            if warning not in self._warned:
                log.warning("catalogue.warning", reason=warning)
        self._warned = frozenset(self.catalogue.warnings)


def _together(lists: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(lists)))
