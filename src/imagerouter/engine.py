"""The house without a door: configuration in, calls in, pictures out. The server and the CLI both stand on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from imagerouter.config import Config
from imagerouter.dispatching.dispatcher import Dispatcher
from imagerouter.dispatching.trying import ProgressListener
from imagerouter.embedding import request_of
from imagerouter.errors import ImageRouterError, InternalError, InvalidParameterError
from imagerouter.fetching import Find, fetch_all
from imagerouter.fleet.fleet import Fleet
from imagerouter.images import deliver
from imagerouter.inputs import prepared
from imagerouter.jobs import Job, Origin, Outcome
from imagerouter.logs import get_logger
from imagerouter.metrics import Metrics
from imagerouter.openai import Call, Delivery, Door, addresses, as_sent, interpret, response
from imagerouter.parity.measured import known
from imagerouter.routing.admission import Admission
from imagerouter.routing.catalogue import Catalogue
from imagerouter.scheduling.scheduler import Scheduler
from imagerouter.streaming import news
from imagerouter.types import Image

log = get_logger(__name__)

UNSEEN = Image(data=b"", media_type="image/png")
"""Stands for a picture that nobody has looked at."""
SAVE_SECONDS = 60.0
"""Between two looks at whether anything was learned that isn't saved yet."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What a new configuration changed: names of providers, and of keys that count only after a restart."""

    kept: tuple[str, ...]
    started: tuple[str, ...]
    stopped: tuple[str, ...]
    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]


class Engine:
    """Everything that is alive behind one configuration. Use as an async context manager."""

    def __init__(self, config: Config, *, costs_file: Path | None = None) -> None:
        """:param costs_file: where the learned costs outlive a restart; by default they don't."""
        limits = config.limits
        self.scheduler = Scheduler(limit=limits.queue, quantum=limits.quantum, wait_timeout=limits.queue_timeout)
        self.fleet = Fleet(config, self.scheduler)
        self.metrics = Metrics(self.scheduler, self.fleet)
        self.admission = Admission(config, self.fleet, self.scheduler, self.metrics)
        self.dispatcher = Dispatcher(self.admission, self.fleet, self.scheduler, self.metrics)
        self._costs_file = costs_file
        self._saving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if self._costs_file is not None:
            self.scheduler.costs.load(self._costs_file)
            self._saving = asyncio.create_task(self._save_regularly(self._costs_file), name="save costs")
        self.admission.measured = known(self.config)
        self.fleet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.fleet.aclose()
        finally:
            self.dispatcher.close()
            if self._costs_file is not None and self._saving is not None:
                self._saving.cancel()
                self._save(self._costs_file)

    @property
    def config(self) -> Config:
        return self.admission.config

    async def reload(self, config: Config) -> Reloaded:
        """Go over to another configuration. Jobs that run finish where they are; what waits is planned anew.

        Raises `ImageRouterError` if a provider of it can't be made, and then nothing has changed.
        """
        before, limits = self.config.server, config.limits
        changes = await self.fleet.reload(config)
        self.admission.config, self.admission.measured = config, known(config)
        self.scheduler.limit_to(limit=limits.queue, quantum=limits.quantum, wait_timeout=limits.queue_timeout)
        fixed = ("host", "port", "log_level", "log_format", "costs_file")
        needs_restart = tuple(
            f"server.{name}" for name in fixed if getattr(before, name) != getattr(config.server, name)
        )
        return Reloaded(changes.kept, changes.started, changes.stopped, changes.changed, needs_restart)

    async def _save_regularly(self, path: Path) -> None:
        """A process that is killed should not have learned in vain."""
        saved = self.scheduler.costs.jobs
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            if self.scheduler.costs.jobs != saved:
                saved = self.scheduler.costs.jobs
                self._save(path)

    def _save(self, path: Path) -> None:
        try:
            self.scheduler.costs.save(path)
        except OSError as failure:
            log.warning("costs.not_saved", path=str(path), reason=str(failure))

    @property
    def catalogue(self) -> Catalogue:
        return self.fleet.catalogue

    async def understand(
        self,
        fields: Mapping[str, Any],
        origin: Origin | None = None,
        *,
        door: Door = Door.GENERATION,
        pictures: Mapping[str, Image] | None = None,
        find: Find | None = None,
        names: Mapping[str, str] | None = None,
    ) -> Call:
        """The call that a body's fields make, with every picture fetched, checked and made plain.

        :param origin: who sends it.
        :param pictures: those that came as files, by the keys that stand for them in the fields.
        :param find: gives pictures at addresses that needn't be fetched.
        :param names: see `interpret`.

        Raises only subclasses of `InvalidRequestError`.
        """
        config, here, wanted = self.config, pictures or {}, addresses(fields)
        meant = partial(interpret, fields, config.limits, origin=origin, door=door, names=names)
        # Nothing is fetched for a request that is wrong anyway.
        call = meant(pictures={**here, **dict.fromkeys(wanted.values(), UNSEEN)} if wanted else here)
        try:
            if wanted:
                call = meant(pictures={**here, **await fetch_all(wanted, config.inputs, find)})
            if not call.job.params.keys() & {"images", "mask"}:
                return call
            return msgspec.structs.replace(call, job=await prepared(call.job, call.mask_channel))
        except InvalidParameterError as error:
            raise as_sent(error, call.names) from None

    async def admit(self, call: Call) -> None:
        """Raise at once what is known to keep the call from being served, before anything is queued."""
        try:
            await self.admission.patience(call.job)
            self.admission.admit(call.job, rehearsal=True)
        except ImageRouterError as error:
            self._count_failure(call.job, error)
            raise as_sent(error, call.names) from None

    async def run(self, call: Call, listen: ProgressListener | None = None) -> Outcome:
        """Draw the pictures of a call, in the format that it wants. Raises only `ImageRouterError`."""
        job = call.job
        try:
            done = await self._delivered(call.delivery, await self.dispatcher.run(job, listen))
        except ImageRouterError as error:
            self._count_failure(job, error)
            log.warning("image.failed", job=job.id, key=job.origin.key, code=error.code, reason=error.message)
            raise as_sent(error, call.names) from None
        except Exception:
            log.exception("image.defect", job=job.id)
            defect = InternalError("An internal error occurred; the server's log says more")
            self._count_failure(job, defect)
            raise defect from None
        self.metrics.done(done)
        log.info(
            "image.done",
            job=job.id,
            key=job.origin.key,
            model=done.model,
            target=done.target.name,
            n=job.n,
            attempts=len(done.attempts),
            queue_ms=round(done.queue_ms, 1),
            load_ms=round(done.load_ms, 1),
            render_ms=round(done.render_ms, 1),
            overhead_ms=round(done.overhead_ms, 1),
        )
        return done

    async def _delivered(self, wanted: Delivery, outcome: Outcome) -> Outcome:
        """The same with its pictures as the client wants them."""
        config, images = self.config, list[Image]()
        embeds = config.results.metadata == "embed" if wanted.embed is None else wanted.embed
        keep_texts = _keeps_texts(config, outcome)
        for index, image in enumerate(outcome.images):
            request = request_of(outcome, index) if embeds else None
            images.append(
                await deliver(image, wanted.output_format, wanted.compression, request=request, keep_texts=keep_texts)
            )
        return outcome if (*images,) == outcome.images else msgspec.structs.replace(outcome, images=(*images,))

    def _count_failure(self, job: Job, error: ImageRouterError) -> None:
        self.metrics.failed(error, job.asked[0])

    async def events(self, call: Call) -> AsyncGenerator[dict[str, Any], None]:
        """The same as the payloads of a stream: previews and progress on the way, then the pictures or an error.

        Closing the iterator early cancels the work.
        """
        try:
            async with aclosing(news(call, self.run)) as told:
                async for item in told:
                    for payload in response.payloads(item, call.delivery):
                        yield payload
        except ImageRouterError as error:
            yield response.failed(error)


def _keeps_texts(config: Config, outcome: Outcome) -> bool:
    """Whether everybody who drew it is configured to leave texts in files; one that is gone by now is not."""
    for attempt in outcome.attempts:
        if attempt.ok:
            entry = config.providers.get(attempt.provider)
            # Not `getattr`: pydantic takes microseconds to say that there is no such field.
            if entry is None or not vars(entry.config).get("keep_metadata"):
                return False
    return True
