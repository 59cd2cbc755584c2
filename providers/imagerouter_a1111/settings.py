"""The settings of a server that our jobs change for their time, and how its owner gets them back.

``override_settings`` are the server's own settings (the ones on its Settings page), set for one job. What becomes of
them afterwards is the client's choice (``override_settings_restore_afterwards``), and costs more or less:

- AUTOMATIC1111 and reForge put the settings back and leave the weights where they are, which is free. So they are told
  to. But they forget those that the owner has never saved (``processing.py``: ``if k in opts.data``); the first job
  that changes a setting is therefore looked after.
- SD.Next swaps the checkpoint back after every job, Forge unloads it. So they are told to leave all as it is, and the
  settings are given back when nothing has been drawn for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imagerouter import ImageRouterError
from imagerouter.logs import get_logger
from imagerouter.names import base
from imagerouter_a1111.api import Api
from imagerouter_a1111.checkpoints import denotes_same
from imagerouter_a1111.recipe import Stock

log = get_logger(__name__)

IDLE_SECONDS = 30.0
"""Without a job, until a server that can't do it for free gets its settings back."""
_CHECKPOINT = "sd_model_checkpoint"
_MODULES = "forge_additional_modules"
"""Names of files, which Forge makes paths of."""


@dataclass(frozen=True)
class Overrides:
    """What goes into one request."""

    values: Mapping[str, Any]
    restore: bool


@dataclass
class Debt:
    """What the owner is to be given back. It outlives a connection that was lost."""

    owners: dict[str, Any] = field(default_factory=dict)
    """All settings as they were before the first of our jobs."""
    left: dict[str, list[Any]] = field(default_factory=dict)
    """What our jobs have, or may have, left changed: all values that they have sent."""


class Settings:
    """The settings of one server."""

    def __init__(self, name: str, api: Api, debt: Debt, *, keep: bool) -> None:
        """:param keep: whether the owner gets his settings back."""
        self._name = name
        self._api = api
        self._keep = keep
        self._debt = debt
        self._proven: set[str] = set()
        """Those that the server puts back itself, as was seen."""
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None
        self._giving: asyncio.Task[None] | None = None
        self._door = asyncio.Lock()
        self._has_failed = False
        """Whether they couldn't be given back, and no job has changed anything since."""
        self._closed = False

    def restores(self, stock: Stock) -> bool:
        """Whether the server itself puts settings back."""
        return self._keep and stock.dialect.restores == "lazily"

    @property
    def owed(self) -> dict[str, Any]:
        """Settings as their owner has them, of those that our jobs may have left changed."""
        owners = self._debt.owners
        return {key: owners[key] for key in _known(self._debt.left, owners) if key != _CHECKPOINT}

    async def begin(self, wanted: Mapping[str, Any], stock: Stock) -> Overrides:
        """What to send for a job that wants these settings. Each call that doesn't raise needs an `end`."""
        self._running += 1
        self._rest()
        try:
            async with self._door:
                return await self._overrides(dict(wanted), stock)
        except BaseException:
            self._running -= 1
            self._wait(stock)
            raise

    async def _overrides(self, wanted: dict[str, Any], stock: Stock) -> Overrides:
        if not stock.dialect.has_settings:
            return Overrides({}, restore=False)
        if self.restores(stock):
            if self._running == 1:  # rather than when there is nothing to do, which may never come
                await self._settle(stock)
            new = {key: value for key, value in wanted.items() if key not in self._proven}
            await self._note(new, stock)
        else:
            await self._catch_up(stock)
            await self._note(wanted, stock)
        # What an earlier job has left changed would hold for this one, too.
        return Overrides({**self.owed, **wanted}, restore=self.restores(stock))

    async def _catch_up(self, stock: Stock) -> None:
        """What the owner has changed since our last job is what he is given back after the next one."""
        if not self._keep or not self._debt.left or self._running > 1:
            return
        try:
            now = await self._read(stock)
        except ImageRouterError:
            return
        for key in _known(self._debt.left, now):
            if not any(_same(key, now[key], value, stock) for value in self._debt.left[key]):
                self._debt.owners[key] = now[key]

    async def _note(self, sent: Mapping[str, Any], stock: Stock) -> None:
        """Remember what was there before, and that these may stay changed."""
        if sent and not self._debt.left:
            self._debt.owners = await self._read(stock)
        for key, value in sent.items():
            values = self._debt.left.setdefault(key, [])
            if value not in values:
                values.append(value)

    def end(self, overrides: Overrides, stock: Stock, *, drawn: bool) -> bool:
        """The job is over. Whether it is time to `give_back`.

        :param drawn: whether the job came as far as to use the settings.
        """
        self._running -= 1
        self._has_failed = False
        if overrides.restore and drawn:
            # Once for each setting: the server either knows how to put it back, or has it stored from now on.
            self._proven |= overrides.values.keys()
        self._wait(stock)
        return self.restores(stock) and bool(self._debt.left) and not self._running

    def resume(self, stock: Stock) -> None:
        """There may be something to give back from before the connection was lost."""
        self._wait(stock)

    def _wait(self, stock: Stock) -> None:
        """Give the settings back in a while, where that isn't done at once."""
        if self._keep and not self.restores(stock) and self._debt.left and not self._running and not self._closed:
            self._rest()
            self._timer = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._start_giving, stock)

    def _rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _start_giving(self, stock: Stock) -> None:
        self._giving = asyncio.create_task(self.give_back(stock))

    async def give_back(self, stock: Stock) -> None:
        """Put back what our jobs have left changed, unless the owner has changed it himself since."""
        async with self._door:
            if not self._running:
                await self._settle(stock)

    async def _settle(self, stock: Stock) -> None:
        if self._has_failed or not self._debt.left:
            return
        try:
            await self._return(stock)
        except ImageRouterError as error:
            # Nothing is forgotten: the next job says itself what they are to be, and its end is the next chance.
            self._has_failed = True
            log.warning("a1111.settings_kept", provider=self._name, reason=error.message)
        else:
            self._debt.owners, self._debt.left = {}, {}

    async def aclose(self, stock: Stock | None) -> None:
        self._closed = True
        self._rest()
        if self._giving is not None:
            await asyncio.wait([self._giving])
        if self._keep and stock is not None:
            self._running = 0
            await self.give_back(stock)

    async def _return(self, stock: Stock) -> None:
        now, owners = await self._read(stock), self._debt.owners
        changed = {
            key: owners[key]
            for key in _known(self._debt.left, owners, now)
            if any(_same(key, now[key], value, stock) for value in self._debt.left[key])
            and not _same(key, now[key], owners[key], stock)
        }
        if changed.get(_CHECKPOINT, "") in (None, ""):
            changed.pop(_CHECKPOINT, None)  # none was chosen: there is nothing to go back to
        if changed:
            log.info("a1111.settings_returned", provider=self._name, settings=sorted(changed))
            await self._api.post("sdapi/v1/options", changed)

    async def _read(self, stock: Stock) -> dict[str, Any]:
        found = await self._api.get("sdapi/v1/options")
        return {**stock.defaults, **found} if isinstance(found, dict) else {}


def _known(keys: Iterable[str], *tables: Mapping[str, Any]) -> list[str]:
    return [key for key in keys if all(key in table for table in tables)]


def _same(key: str, one: Any, other: Any, stock: Stock) -> bool:
    if key == _CHECKPOINT:
        return denotes_same(str(one), str(other), stock.checkpoints)
    if key == _MODULES and isinstance(one, list) and isinstance(other, list):
        return [base(str(each)) for each in one] == [base(str(each)) for each in other]
    return bool(one == other)
