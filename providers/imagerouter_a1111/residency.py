"""Which checkpoint is loaded, as the server tells it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from imagerouter_a1111.api import Api
from imagerouter_a1111.checkpoints import meant
from imagerouter_a1111.recipe import Checkpoint, Recipe, Stock

FRESH_SECONDS = 2.0
"""After a job of ours its own answer tells what is loaded; there is no need to ask."""


class Residency:
    """The loaded checkpoint of one server."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._last: Checkpoint | None = None
        self._at = float("-inf")

    def ran(self, checkpoint: Checkpoint) -> None:
        """A job of ours was drawn with it."""
        self._last, self._at = checkpoint, _now()

    def holds(self, checkpoint: Checkpoint) -> bool:
        return self._last is not None and self._last.file == checkpoint.file

    async def look(self, stock: Stock) -> None:
        """Ask, unless it is known."""
        if _now() - self._at >= FRESH_SECONDS:
            self._last = await self._ask(stock)

    def models(self, recipes: Iterable[tuple[str, Recipe]]) -> frozenset[str]:
        return frozenset(name for name, recipe in recipes if self.holds(recipe.checkpoint))

    async def _ask(self, stock: Stock) -> Checkpoint | None:
        if not stock.dialect.has_settings:
            await self._api.get("sdapi/v1/options")  # only to hear that it is there: it has one, for good
            return stock.checkpoints[0] if stock.checkpoints else None
        if stock.dialect.name == "sdnext":
            found = await self._api.get("sdapi/v1/checkpoint", missing={})
            title = found.get("title") if isinstance(found, dict) else None
            return meant(title, stock.checkpoints) if isinstance(title, str) else None
        # The setting names the owner's choice; the hash is that of the weights that are loaded.
        found = await self._api.get("sdapi/v1/options")
        loaded = found.get("sd_checkpoint_hash") if isinstance(found, dict) else None
        if not isinstance(loaded, str) or not loaded:
            return self._last
        hashed = (one for one in stock.checkpoints if one.sha256)
        # One that is in no list has been hashed since: it may be the last one of ours, if that was not.
        last = self._last if self._last is not None and not self._last.sha256 else None
        return next((one for one in hashed if one.sha256.startswith(loaded)), last)


def _now() -> float:
    return asyncio.get_running_loop().time()
