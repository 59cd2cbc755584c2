"""One provider as the fleet knows it: what it has, how it does, and whom its failures count against. No I/O."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from imagerouter.config import BreakerSettings, ProviderEntry
from imagerouter.errors import (
    ConfigError,
    ImageRouterError,
    MisconfiguredError,
    ModelNotFoundError,
    ProviderUnavailableError,
)
from imagerouter.fleet.breaker import Breaker
from imagerouter.logs import get_logger
from imagerouter.provider import Extras, Model, Provider, ProviderConfig, Status
from imagerouter.registry import provider_class
from imagerouter.routing.refusals import Snapshot

log = get_logger(__name__)

LIST_SECONDS = 60.0
"""Between two looks at which models a provider has."""


@dataclass(slots=True, eq=False)
class Member:
    """Times are the event loop's, in seconds."""

    name: str
    type: str
    provider: Provider[Any]
    config: ProviderConfig
    """As the file says now: its price and rules may be newer than those that ``provider`` was made with."""
    breaker: Breaker
    ready: bool = False
    tried: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the first attempt to start it is over, well or badly."""
    detail: str = "starting"
    status: Status = field(default_factory=lambda: Status(ready=False, detail="starting"))
    models: tuple[Model, ...] = ()
    extras: Extras = field(default_factory=Extras)
    targets: dict[str, Breaker] = field(default_factory=dict)
    """The breakers of the models whose last job failed, by native name."""
    listed: float = -math.inf
    """When it last told its models."""
    last_error: str | None = None
    last_failed: float | None = None
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def list_due(self) -> float:
        """When to ask for its models again: once a minute, and before one that failed is tried again."""
        cooled = (breaker.half_opens for breaker in self.targets.values())
        return min([self.listed + LIST_SECONDS, *(end for end in cooled if end is not None and end > self.listed)])

    def snapshot(self, now: float) -> Snapshot:
        blocked = {native: breaker.why(now) for native, breaker in self.targets.items() if not breaker.admits(now)}
        reason = "" if self.ready else self.reason(now)
        return Snapshot(self.type, self.ready, reason, self.status.resident, self.config.rules, blocked)

    def reason(self, now: float) -> str:
        """Why it takes no jobs, in plain words; empty if it does."""
        return self.breaker.why(now) if self.breaker.state(now) == "open" else self.detail

    def blocked(self, native: str, now: float) -> str | None:
        """Why one of its models gets no job now; ``None`` if it may get one."""
        if not self.ready:
            return self.reason(now)
        breaker = self.targets.get(native)
        return None if breaker is None or breaker.admits(now) else breaker.why(now)

    def attempt(self, native: str, now: float) -> AbstractContextManager[None]:
        """Around a job on one of its models that isn't `blocked`: only one at a time tries one that is half-open."""
        breaker = self.targets.get(native)
        return nullcontext() if breaker is None or not breaker.try_out(now) else self._trial(native, breaker)

    @contextmanager
    def _trial(self, native: str, breaker: Breaker) -> Iterator[None]:
        log.info("breaker.half_open", target=f"{self.name}/{native}", reason=breaker.reason)
        try:
            yield
        finally:
            breaker.tried()

    def found(self, models: tuple[Model, ...], now: float) -> None:
        """Note the models that it has told; what was known of others is forgotten."""
        self.models, self.listed = models, now
        natives = {model.id for model in models}
        self.targets = {native: breaker for native, breaker in self.targets.items() if native in natives}

    def succeeded(self, native: str) -> bool:
        """A job got its pictures; whether that closed the provider's own breaker."""
        breaker = self.targets.pop(native, None)
        if breaker is not None and breaker.succeeded():
            log.info("breaker.closed", target=f"{self.name}/{native}")
        if not self.breaker.succeeded():
            return False
        log.info("breaker.closed", provider=self.name)
        return True

    def failed(self, native: str, error: ImageRouterError, now: float) -> str | None:
        """Note a failed job; the reason if the provider has to be taken out for it."""
        if error.blames is None:
            return None
        self.last_error, self.last_failed = error.message, now
        if error.blames == "target":
            self._blame(native, error, now)
        elif self.ready:
            # What fails while it is out was begun before, and says nothing new.
            if self.breaker.failed(now, error.message):
                _log_open(self.breaker, now, provider=self.name)
                return self.breaker.history
            if isinstance(error, ProviderUnavailableError):
                return error.message
        return None

    def _blame(self, native: str, error: ImageRouterError, now: float) -> None:
        if isinstance(error, ModelNotFoundError):
            self.listed = -math.inf
        if all(model.id != native for model in self.models):
            return
        breaker = self.targets.setdefault(native, Breaker(self.breaker.settings))
        # Nothing but a change on the provider makes these go away.
        is_proof = isinstance(error, ModelNotFoundError | MisconfiguredError)
        if breaker.failed(now, error.message, is_proof=is_proof):
            _log_open(breaker, now, target=f"{self.name}/{native}")

    def keeps(self, entry: ProviderEntry) -> bool:
        """Whether its provider does under ``entry`` what it does now; price and rules aren't its to know."""
        core = {"price": entry.config.price, "rules": entry.config.rules}
        return self.type == entry.type and self.config.model_copy(update=core) == entry.config

    def adopt(self, entry: ProviderEntry, settings: BreakerSettings) -> None:
        """Go on under a configuration that it `keeps`."""
        self.config = entry.config
        for breaker in (self.breaker, *self.targets.values()):
            breaker.settings = settings


def construct(name: str, entry: ProviderEntry, settings: BreakerSettings) -> Member:
    """A member that hasn't been started. Raises `ConfigError` if its adapter can't be had or doesn't take the keys."""
    try:
        provider = provider_class(entry.type)(name, entry.config)
    except Exception as error:
        raise ConfigError([f"providers.{name}: {str(error) or type(error).__name__}"]) from error
    return Member(name, entry.type, provider, entry.config, Breaker(settings))


def _log_open(breaker: Breaker, now: float, **what: str) -> None:
    log.warning(
        "breaker.open",
        **what,
        reason=breaker.reason,
        failures=breaker.failures,
        seconds=breaker.seconds(now),
    )
