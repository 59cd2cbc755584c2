"""What is told of a call while it is being drawn, in the order in which it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

from imagerouter.dispatching.trying import ProgressListener
from imagerouter.jobs import Outcome
from imagerouter.openai import Call
from imagerouter.types import Progress

Draw = Callable[[Call, ProgressListener], Awaitable[Outcome]]
"""`Engine.run`, or something around it."""


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture on the way, one of those that the client has asked for."""

    progress: Progress
    number: int
    """From 0, for each image."""


@dataclass(frozen=True, slots=True)
class Step:
    """A sign of life. ``provider`` is ``None`` while the job waits for one."""

    provider: str | None
    progress: Progress


class Previews:
    """Picks the previews that a client gets: ``wanted`` of them per image, spread over the run."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._sent: dict[int, int] = {}

    def due(self, progress: Progress) -> int | None:
        """The number (from 0) under which this preview is to be sent, or ``None`` if it isn't its turn."""
        image = progress.image_index or 0
        number = self._sent.get(image, 0)
        if progress.preview is None or number >= self._wanted:
            return None
        if progress.fraction < (number + 1) / (self._wanted + 1):
            return None
        self._sent[image] = number + 1
        return number


async def news(call: Call, draw: Draw) -> AsyncGenerator[Preview | Step | Outcome, None]:
    """Previews and steps, as far as the call asks for them, and the outcome at the end.

    Closing the iterator early cancels the work. Raises `ImageRouterError`.
    """
    coming: asyncio.Queue[Preview | Step | None] = asyncio.Queue()
    previews = Previews(call.job.partial_images)

    def listen(provider: str | None, progress: Progress) -> None:
        # Only what will be sent is kept: a reader may be slow, and there may be many steps.
        if (number := previews.due(progress)) is not None:
            coming.put_nowait(Preview(progress, number))
        if call.delivery.progress:
            coming.put_nowait(Step(provider, progress))

    work = asyncio.ensure_future(draw(call, listen))
    work.add_done_callback(lambda _: coming.put_nowait(None))
    try:
        while (item := await coming.get()) is not None:
            yield item
        yield work.result()
    finally:
        # A loop that ends closes this one and who iterates over it at once, so that neither must wait for nothing.
        if work.cancel():
            await asyncio.wait([work])
