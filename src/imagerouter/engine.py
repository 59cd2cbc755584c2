"""The house without a door: configuration in, calls in, pictures out. The server and the CLI both stand on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from imagerouter.catalogue import Catalogue
from imagerouter.config import Config
from imagerouter.dispatch import Dispatcher, ProgressListener
from imagerouter.errors import ImageRouterError, InternalError
from imagerouter.fleet import Fleet
from imagerouter.images import deliver
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, response
from imagerouter.scheduler import Scheduler
from imagerouter.types import Progress

log = structlog.get_logger(__name__)


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


class Engine:
    """Everything that is alive behind one configuration. Use as an async context manager."""

    def __init__(self, config: Config, *, costs_file: Path | None = None) -> None:
        """:param costs_file: where the learned costs outlive a restart; by default they don't."""
        limits = config.limits
        self.config = config
        self.scheduler = Scheduler(limit=limits.queue, quantum=limits.quantum, wait_timeout=limits.queue_timeout)
        self._costs_file = costs_file
        self.fleet = Fleet(config, self.scheduler)
        self._dispatcher = Dispatcher(self.fleet, self.scheduler, limits)

    async def __aenter__(self) -> Self:
        if self._costs_file is not None:
            self.scheduler.costs.load(self._costs_file)
        self.fleet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.fleet.aclose()
        if self._costs_file is not None:
            try:
                self.scheduler.costs.save(self._costs_file)
            except OSError as failure:
                log.warning("costs.not_saved", path=str(self._costs_file), reason=str(failure))

    @property
    def catalogue(self) -> Catalogue:
        return self.fleet.catalogue

    async def admit(self, call: Call) -> None:
        """Raise at once what is known to keep the call from being served, before anything is queued."""
        await self._dispatcher.admit(call.job)

    async def run(self, call: Call, listen: ProgressListener = lambda *_: None) -> Outcome:
        """Draw the pictures of a call, in the format that it wants. Raises only `ImageRouterError`."""
        try:
            outcome = await self._dispatcher.run(call.job, listen)
            wanted = call.delivery
            images = [await deliver(image, wanted.output_format, wanted.compression) for image in outcome.images]
        except ImageRouterError as error:
            log.warning("image.failed", job=call.job.id, code=error.code, reason=error.message)
            raise
        except Exception:
            log.exception("image.defect", job=call.job.id)
            raise InternalError("An internal error occurred; the server's log says more") from None
        done = replace(outcome, images=tuple(images))
        log.info(
            "image.done",
            job=done.job.id,
            model=done.model,
            target=done.target.name,
            n=len(images),
            attempts=len(done.attempts),
            queue_ms=round(done.queue_ms, 1),
            load_ms=round(done.load_ms, 1),
            render_ms=round(done.render_ms, 1),
            overhead_ms=round(done.overhead_ms, 1),
        )
        return done

    async def events(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """The same as the payloads of a stream: previews and progress on the way, then the pictures or an error.

        Closing the iterator early cancels the work.
        """
        news: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        previews = Previews(call.job.partial_images)

        def listen(provider: str | None, progress: Progress) -> None:
            # Only what will be sent is kept: a reader may be slow, and there may be many steps.
            if (number := previews.due(progress)) is not None:
                news.put_nowait(response.partial(progress, number))
            if call.delivery.progress:
                news.put_nowait(response.progressed(provider, progress))

        work = asyncio.create_task(self.run(call, listen))
        work.add_done_callback(lambda _: news.put_nowait(None))
        try:
            while (payload := await news.get()) is not None:
                yield payload
            for payload in response.completed(work.result(), call.delivery):
                yield payload
        except ImageRouterError as error:
            yield response.failed(error)
        finally:
            work.cancel()
            await asyncio.wait([work])
