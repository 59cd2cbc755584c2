"""One thread per device, shared by every provider on it: drawing two at once on one device gains nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ClassVar, TypeVar

from imagerouter_diffusers import devices
from imagerouter_diffusers.residency import Residents

T = TypeVar("T")
_CANCEL_SECONDS = 30.0
"""How long a cancelled request waits for its work to stop; one step can be slow on a CPU."""


class Worker:
    """The thread of one device, and what is loaded there."""

    _of_device: ClassVar[dict[str, Worker]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, device: str) -> None:
        self.device = device
        self.residents = Residents(device)
        self.running = 0
        self.submitted = 0
        self._budgets: dict[object, int | None] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"diffusers-{device}")

    @classmethod
    def acquire(cls, device: str, holder: object, budget: int | None) -> Worker:
        """The device's worker, which lives until its last holder has released it."""
        with cls._lock:
            worker = cls._of_device.get(device) or cls._of_device.setdefault(device, cls(device))
            worker._budgets[holder] = budget
            worker._agree_on_budget()
            return worker

    def release(self, holder: object) -> None:
        with self._lock:
            self._budgets.pop(holder, None)
            if self._budgets:
                self._agree_on_budget()
                return
            self._of_device.pop(self.device, None)
        self._thread.submit(self.residents.evict_idle)
        self._thread.shutdown(wait=False)

    def _agree_on_budget(self) -> None:
        given = [budget for budget in self._budgets.values() if budget is not None]
        self.residents.budget = min(given) if given else None

    @property
    def queued(self) -> int:
        return max(0, self.submitted - self.running)

    async def run(self, work: Callable[[], T], stop: Callable[[], None] = lambda: None) -> T:
        """Do ``work`` on the thread. When cancelled, ``stop`` it and wait, bounded, until it has ended."""
        self._count(submitted=1)
        future = self._thread.submit(self._counted, work)
        future.add_done_callback(self._finished)
        waiting = asyncio.wrap_future(future)
        # Where nobody waits any longer, a failure isn't worth a line in the log.
        waiting.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            stop()
            if not future.cancel():
                await asyncio.wait({waiting}, timeout=_CANCEL_SECONDS)
            raise

    def _counted(self, work: Callable[[], T]) -> T:
        self._count(running=1)
        try:
            return work()
        finally:
            self._count(running=-1)

    def _finished(self, _: Future[T]) -> None:
        self._count(submitted=-1)

    def _count(self, submitted: int = 0, running: int = 0) -> None:
        with self._lock:
            self.submitted += submitted
            self.running += running


async def resolve_device(device: str) -> tuple[str, str | None]:
    """The device's real name, and why it can't be used. On a thread: importing torch takes seconds."""

    def look() -> tuple[str, str | None]:
        name = devices.resolve(device)
        return name, devices.missing(name)

    return await asyncio.to_thread(look)
