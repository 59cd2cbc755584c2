"""What the server knows of each sender: its settings, its jobs, and whether it looks at pictures on the way.

A sender is an API key, or, where none is needed, an address: behind one proxy without keys all are the same.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from litestar import Request

from imagerouter.dialects.a1111.progress import Course, Stops

MOST = 1000
"""Senders that are remembered; beyond it, those without a job are forgotten, the one not seen for longest first."""
MOST_FINISHED = 16
"""Task ids of each that are remembered when they are done (``modules/progress.py``: ``finished_tasks``)."""
LONGEST_NAME = 200


def name_of(task: object) -> str:
    """A client's name for a job, as it is remembered; empty for none, and for what is no name."""
    return task if isinstance(task, str) and len(task) <= LONGEST_NAME else ""


@dataclass(slots=True, eq=False)
class Work:
    """A job under way, and how to end it."""

    course: Course
    stop: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Sender:
    settings: dict[str, Any] = field(default_factory=dict)
    wants_previews: bool = False
    """Whether it has asked how far its jobs are without refusing the picture."""
    stops: Stops = field(default_factory=Stops)
    jobs: list[Work] = field(default_factory=list)
    """Oldest first."""
    finished: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_FINISHED))

    @contextmanager
    def working(self, course: Course) -> Iterator[Work]:
        """The job is one of the sender's until this ends."""
        work = Work(course)
        if not self.jobs:
            self.stops = Stops()
        self.jobs.append(work)
        try:
            yield work
        finally:
            self.jobs.remove(work)
            if course.task:
                self.finished.append(course.task)

    @property
    def current(self) -> Course | None:
        """The job that a question without a name is about: the oldest that doesn't wait, else the oldest."""
        courses = [work.course for work in self.jobs]
        return next((course for course in courses if not course.waits), courses[0] if courses else None)

    def task(self, name: str) -> Course | None:
        return next((work.course for work in self.jobs if name and work.course.task == name), None)


class Senders:
    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], Sender] = OrderedDict()

    def of(self, request: Request[Any, Any, Any]) -> Sender:
        """Whoever has sent this."""
        name: str | None = request.auth.key
        address = request.client.host if request.client is not None else ""
        key = ("address", address) if name is None else ("key", name)
        sender = self._known.setdefault(key, Sender())
        self._known.move_to_end(key)
        if len(self._known) > MOST:
            idle = next((known for known, other in self._known.items() if not other.jobs and known != key), None)
            if idle is not None:
                del self._known[idle]
        return sender
