"""An event loop in a thread of its own, for callers that have none, or one that must not be waited in."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import Future, wait
from functools import cache, partial
from threading import RLock, Thread, get_ident
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE_SECONDS = 10.0
"""For work that is being cancelled to end."""


@cache
def owner() -> int:
    """The process that has used a client first."""
    return os.getpid()


def refuse_forks() -> None:
    """Raise `RuntimeError` in a fork of a process that has used a client.

    No thread goes along there, and neither does what a GPU holds: whoever waited for them would wait for ever.
    """
    if owner() != os.getpid():
        raise RuntimeError("imagerouter can't be used in a fork of a process that has used it; start that by `spawn`")


class LoopThread:
    """Runs coroutines, for any number of threads at once. It ends with the process, whether it was stopped or not."""

    is_ending = False
    """Whether nothing more is to be begun."""

    def __init__(self) -> None:
        refuse_forks()
        started: Future[asyncio.AbstractEventLoop] = Future()
        self._thread = Thread(target=_run, args=(started,), name="imagerouter", daemon=True)
        self._thread.start()
        self._loop = started.result()
        self._order = RLock()
        """What is begun comes before the loop's end, or is refused. Garbage may be collected while it is held."""

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. What interrupts the caller cancels it, and waits until it has ended."""
        begun: list[asyncio.Task[T]] = []
        result: Future[T] = Future()

        def begin() -> None:
            begun.append(self._loop.create_task(work))
            begun[0].add_done_callback(partial(_hand_over, result))

        def cancel() -> None:
            begun[0].cancel()

        try:
            with self._order:
                self._refuse()
                self._loop.call_soon_threadsafe(begin)
        except RuntimeError:
            work.close()
            raise
        try:
            return result.result()
        finally:
            if not result.done():
                self._loop.call_soon_threadsafe(cancel)
                wait([result], PATIENCE_SECONDS)

    def end(self, events: AsyncGenerator[Any, None]) -> None:
        """Close what may be garbage, and so be collected in any thread, in a fork, and at the very end."""
        if self.is_ending or owner() != os.getpid():
            return
        if self._thread.ident == get_ident():
            self.begin(events.aclose())
        else:
            self.wait(events.aclose())

    def _refuse(self) -> None:
        refuse_forks()
        if self.is_ending:
            raise RuntimeError("the client is closed")
        if self._thread.ident == get_ident():
            raise RuntimeError("a Client can't be used in its own event loop")

    def begin(self, work: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Start ``work`` and go on."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """End the thread, once it has nothing left to do."""
        with self._order:
            self.is_ending = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        if self._thread.ident != get_ident():
            self._thread.join()


def _run(started: Future[asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        started.set_result(loop)
        loop.run_forever()


def _hand_over(result: Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        result.set_exception(RuntimeError("the client was closed before the work was done"))
    elif (error := task.exception()) is not None:
        result.set_exception(error)
    else:
        result.set_result(task.result())
