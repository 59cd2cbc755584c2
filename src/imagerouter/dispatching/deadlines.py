"""Timeouts by the hundred, of which hardly any is reached."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType

from imagerouter.clock import now


class Deadlines:
    """What `asyncio.timeout` does, with one timer for all that are open: that takes a third of the CPU time."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._next = math.inf
        """By the loop's clock: when the timer looks at them. What was due then may be over."""
        self._timer: asyncio.TimerHandle | None = None

    def within(self, seconds: float) -> Deadline:
        """To be used by ``with``, which raises `TimeoutError` if what is in it takes longer."""
        return Deadline(self, seconds)

    def add(self, deadline: Deadline) -> None:
        self._open.add(deadline)
        if deadline.when < self._next:
            self._look_at(deadline.when)

    def drop(self, deadline: Deadline) -> None:
        self._open.discard(deadline)

    def close(self) -> None:
        """When none is open any more: a loop that goes on needn't hold on to them."""
        if self._timer is not None:
            self._timer.cancel()
        self._next, self._timer = math.inf, None

    def _look_at(self, when: float) -> None:
        self.close()
        self._next, self._timer = when, asyncio.get_running_loop().call_at(when, self._look)

    def _look(self) -> None:
        moment = now()
        for deadline in [each for each in self._open if each.when <= moment]:
            self._open.discard(deadline)
            deadline.pass_by()
        self.close()
        when = min((each.when for each in self._open), default=math.inf)
        if when < math.inf:
            self._look_at(when)


class Deadline:
    """One of them, for the task that enters it."""

    __slots__ = ("_all", "_before", "_seconds", "_task", "has_passed", "when")

    _task: asyncio.Task[object]
    _before: int

    def __init__(self, all_of_them: Deadlines, seconds: float) -> None:
        self._all = all_of_them
        self._seconds = seconds
        self.has_passed = False
        self.when = math.inf
        """By the loop's clock."""

    def __enter__(self) -> Deadline:
        task = asyncio.current_task()
        assert task is not None
        self._task, self._before = task, task.cancelling()
        self.when = now() + self._seconds
        self._all.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._all.drop(self)
        if self.has_passed and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def pass_by(self) -> None:
        self.has_passed = True
        self._task.cancel()
