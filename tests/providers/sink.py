"""Where the tests of the adapters let progress go."""

import asyncio
from collections.abc import Callable

from imagerouter import Progress


class Sink(list[Progress]):
    """Progress, and a way to wait for some of it."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        self._changed.set()

    async def until(self, condition: Callable[[Progress], bool]) -> None:
        while not any(condition(progress) for progress in self):
            self._changed.clear()
            await self._changed.wait()
