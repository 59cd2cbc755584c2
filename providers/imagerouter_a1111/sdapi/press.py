"""One job of the common routes: sent, watched, stopped if need be, and looked after when its answer gets lost.

Such a request is answered when its pictures are there, and not a byte earlier. The server goes on drawing when its
client is gone, and it can only be told to stop whatever it is doing (``/sdapi/v1/interrupt``): hence the looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

from imagerouter import (
    ImageRouterError,
    ProgressSink,
    ProviderBusyError,
    ProviderError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.http import Answer
from imagerouter.logs import get_logger
from imagerouter.tasks import Background
from imagerouter_a1111.api import Api
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.failures import failed
from imagerouter_a1111.jobs import Job, Jobs, Look
from imagerouter_a1111.pace import Pace
from imagerouter_a1111.recipe import Drawn, Order, Stock
from imagerouter_a1111.residency import Residency
from imagerouter_a1111.sdapi.answers import Told, is_checkpoint, read
from imagerouter_a1111.sdapi.payload import batch, payload, route, settings
from imagerouter_a1111.settings import Overrides, Settings
from imagerouter_a1111.telling import Teller

log = get_logger(__name__)

STOP_SECONDS = 10.0
"""For a cancelled job to stop, before its slot is given to the next one anyway."""
SOON = 0.4
"""Of the usual time between two looks: while a job is to be stopped, or its load to be measured."""
CLOSE_SECONDS = 4.0
"""For jobs to stop when the provider is closed, and then for the settings to go back."""
QUIET_LOOKS = 3
"""Looks that find an idle server until a job counts as over: between two jobs it is idle, too."""
SILENT_LOOKS = 5
"""Looks in a row that may fail, until nobody can tell any more what became of a job."""
HAND_SECONDS = 0.1
"""A job that was over sooner can't have been stopped by hand: nobody is asked whether it was."""
_GATEWAYS = (502, 504, 524)
"""Answers of a proxy that has given up waiting, while the server behind it goes on drawing."""


class WrongCheckpointError(ProviderResponseError):
    """The server has drawn with another checkpoint than was asked for, which it does rather than fail."""


@dataclass
class _Work:
    """One request to the server that is under way."""

    order: Order
    stock: Stock
    seeds: range
    job: Job
    overrides: Overrides
    load_seconds: float = 0.0
    seconds: float = 0.0
    """Between the request and its answer."""

    @property
    def soon(self) -> float:
        return SOON * self.stock.dialect.poll_seconds


class SdapiPress:
    def __init__(
        self, name: str, config: A1111Config, api: Api, *, jobs: Jobs, residency: Residency, settings: Settings
    ) -> None:
        self._name = name
        self._config = config
        self._api = api
        self._jobs = jobs
        self._residency = residency
        self._settings = settings
        self._pace = Pace()
        self._background = Background(CLOSE_SECONDS)
        self._alive: dict[asyncio.Task[Answer], _Work] = {}
        self._stock: Stock | None = None

    async def run(self, order: Order, stock: Stock, seeds: range, progress: ProgressSink) -> Drawn:
        try:
            return await self._draw(order, stock, seeds, progress)
        except _LostError as lost:
            # The server has been asked: nothing of it is drawn any more. So it isn't drawn twice.
            log.warning("a1111.answer_lost", provider=self._name, reason=lost.message)
            return await self._draw(order, stock, seeds, progress)

    async def _draw(self, order: Order, stock: Stock, seeds: range, progress: ProgressSink) -> Drawn:
        work = await self._begin(order, stock, seeds)
        living = self._background.start(self._live(work))
        self._alive[living] = work
        living.add_done_callback(self._dead)
        is_loaded = self._residency.holds(order.recipe.checkpoint)
        at_once = batch(len(seeds), self._config, stock)
        teller = Teller(
            progress,
            count=len(seeds),
            at_once=at_once,
            steps=order.steps,
            is_loaded=is_loaded,
            counts_images=stock.dialect.progress_of == "image",
        )
        watching = self._background.start(self._watch(work, teller, is_loaded=is_loaded))
        try:
            answer = await asyncio.shield(living)
        except asyncio.CancelledError:
            if living.cancelled():
                raise ProviderUnavailableError(f"provider `{self._name}` was closed") from None
            watching.cancel()
            await asyncio.wait([self._background.start(self._stop(work, living))], timeout=STOP_SECONDS)
            raise
        finally:
            watching.cancel()
        told = await self._judged(work, answer)
        teller.finish()
        return Drawn(told.images, work.load_seconds)

    async def aclose(self) -> None:
        for living, work in self._alive.items():
            self._background.start(self._stop(work, living))
        await self._background.aclose()
        with contextlib.suppress(TimeoutError):  # the server goes on with it all the same
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._settings.aclose(self._stock)

    def _dead(self, living: asyncio.Task[Answer]) -> None:
        """Whoever waited for it may have gone: then nobody else asks how it ended."""
        self._alive.pop(living, None)
        if not living.cancelled():
            living.exception()

    # Sending

    async def _begin(self, order: Order, stock: Stock, seeds: range) -> _Work:
        self._stock = stock
        wanted = settings(order, stock, self._config)
        await self._pace.turn(route(order), stock)
        job = await self._jobs.begin(stock)
        try:
            overrides = await self._settings.begin(wanted, stock)
        except BaseException:
            self._jobs.end(job)
            raise
        return _Work(order, stock, seeds, job, overrides)

    async def _live(self, work: _Work) -> Answer:
        """The whole life of the job, whoever waits for it."""
        drawn = False
        sent = asyncio.get_running_loop().time()
        try:
            alone = work.stock.dialect.closes_connections
            answer = await self._api.exchange(route(work.order), self._body(work), alone=alone)
            work.seconds = asyncio.get_running_loop().time() - sent
            drawn = answer.is_success
            if answer.status_code in _GATEWAYS:
                await self._outlive(work)
        except (ProviderResponseError, ProviderTimeoutError) as lost:
            await self._outlive(work)
            raise _LostError(lost.message) from lost
        else:
            return answer
        finally:
            self._jobs.end(work.job)
            if self._settings.end(work.overrides, work.stock, drawn=drawn):
                self._background.start(self._settings.give_back(work.stock))

    def _body(self, work: _Work) -> dict[str, Any]:
        return payload(
            work.order,
            work.stock,
            work.seeds,
            task_id=work.job.task_id,
            overrides=work.overrides.values,
            restore=work.overrides.restore,
            config=self._config,
        )

    async def _outlive(self, work: _Work) -> None:
        """The answer will never come: wait until the server has done with the job, and hurry it."""
        quiet = silent = 0
        while quiet < QUIET_LOOKS:
            try:
                if (await self._jobs.look(work.job, work.stock)).done:
                    return
                # A task that has failed is said to run, or to wait, for ever.
                quiet = 0 if await self._jobs.busy(work.stock) else quiet + 1
                silent = 0
            except ProviderUnavailableError:
                message = f"provider `{self._name}` has stopped while it was drawing"
                raise ProviderUnavailableError(message) from None
            except ProviderError:
                silent += 1
                if silent > SILENT_LOOKS:
                    raise
            await self._hurry(work)
            await asyncio.sleep(work.soon)

    # Watching

    async def _watch(self, work: _Work, teller: Teller, *, is_loaded: bool) -> None:
        """Tell how far it is, until somebody cancels this."""
        started = asyncio.get_running_loop().time()
        wants_preview = work.order.request.partial_images > 0
        begun = is_loaded
        while True:
            await asyncio.sleep(work.stock.dialect.poll_seconds if begun else work.soon)
            look = await self._glance(work, preview=wants_preview and begun)
            if look.ahead is not None:
                started = asyncio.get_running_loop().time()
            if look.ours and not begun:
                work.load_seconds = asyncio.get_running_loop().time() - started
                begun = look.fraction > 0 or look.step > 0
            teller.tell(look)

    async def _glance(self, work: _Work, *, preview: bool = False) -> Look:
        try:
            return await self._jobs.look(work.job, work.stock, preview=preview)
        except ImageRouterError:
            return Look()  # a server that loads a model doesn't answer for seconds

    # Stopping

    async def _stop(self, work: _Work, living: asyncio.Task[Answer]) -> None:
        """A job that waits can't be taken back: it is stopped as soon as it runs."""
        while not living.done():
            await self._hurry(work)
            await asyncio.wait([living], timeout=work.soon)

    async def _hurry(self, work: _Work) -> None:
        try:
            await self._jobs.interrupt(work.job, work.stock)
        except ImageRouterError as error:
            log.info("a1111.interrupt_failed", provider=self._name, reason=error.message)

    # Judging

    async def _judged(self, work: _Work, answer: Answer) -> Told:
        if work.job.told_to_stop and answer.is_success:  # but nobody has cancelled it
            raise ProviderUnavailableError(f"provider `{self._name}` was closed")
        if not answer.is_success:
            raise failed(self._name, answer, work.order)
        could_be = work.job.seen_running or work.seconds > HAND_SECONDS
        if could_be and not self._jobs.count and await self._was_interrupted(work):
            raise ProviderBusyError(f"provider `{self._name}`: somebody has interrupted the job")
        told = read(answer, count=len(work.seeds), provider=self._name)
        if is_checkpoint(told, work.order.recipe.checkpoint) is False:
            raise WrongCheckpointError(f"provider `{self._name}` drew with another checkpoint (`{told.checkpoint}`)")
        self._residency.ran(work.order.recipe.checkpoint)
        return told

    async def _was_interrupted(self, work: _Work) -> bool:
        try:
            return await self._jobs.was_interrupted(work.stock)
        except ImageRouterError:
            return False


class _LostError(ProviderResponseError):
    """The answer got lost, and the server has nothing more to do with the job."""
