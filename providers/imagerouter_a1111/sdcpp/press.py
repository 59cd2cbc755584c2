"""One job of stable-diffusion.cpp's own API: handed over, asked about until it has ended, cancelled if need be.

A job has an id and a place in the queue, and its result stays for ten minutes (``examples/server/async_jobs.h``); so
nothing is lost with a connection. How far a drawing is, it doesn't tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imagerouter import (
    GenerationError,
    Image,
    ImageRouterError,
    OutOfMemoryError,
    ProgressSink,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
)
from imagerouter.http import presentable
from imagerouter.tasks import Background
from imagerouter_a1111.api import Api, json_of
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.failures import failed
from imagerouter_a1111.jobs import Job, Jobs, Look
from imagerouter_a1111.recipe import Drawn, Order, Stock
from imagerouter_a1111.sdcpp.payload import payload
from imagerouter_a1111.telling import Teller

STOP_SECONDS = 10.0
"""For a cancelled job to stop, before its slot is given to the next one anyway."""
POLL_SHARE = 0.1
"""Of the time that a job takes already: how long until it is asked about again. So short ones aren't made longer."""
POLL_LEAST = 0.05
GONE_SECONDS = 5.0
"""For a server that can't be reached any more to come back; one that is started anew has forgotten its jobs."""
SILENT_SECONDS = 60.0
"""For one that can be reached to answer: drawing may take all the processors there are."""
MOST = 8
"""Images in one job where the server doesn't say: more aren't drawn (``SDGenerationParams::resolve``)."""

_ID = re.compile(r"[A-Za-z0-9_-]+")
_OUT_OF_MEMORY = re.compile(r"out of ?memory", re.IGNORECASE)


class _Picture(msgspec.Struct):
    index: int
    b64_json: str


class _Result(msgspec.Struct):
    images: list[_Picture]


class _Failure(msgspec.Struct):
    message: str = ""


class _State(msgspec.Struct):
    """What is told of a job (``make_async_job_json``)."""

    status: str
    queue_position: int = 0
    """Counted from 1 among those that wait, hence the number of jobs before it with the one that is drawn."""
    result: _Result | None = None
    error: _Failure | None = None


@dataclass
class _Work:
    """One job that is under way."""

    order: Order
    stock: Stock
    seeds: range
    job: Job
    id: str = ""
    """The server's; empty until it has told."""
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    has_been_told: bool = False
    """Whether the server knows that it is to stop."""
    silent_since: float | None = None


class NativePress:
    def __init__(self, name: str, config: A1111Config, api: Api, jobs: Jobs) -> None:
        self._name = name
        self._config = config
        self._api = api
        self._jobs = jobs
        self._background = Background(STOP_SECONDS)

    async def run(self, order: Order, stock: Stock, seeds: range, progress: ProgressSink) -> Drawn:
        most = _most(stock)
        at_once = min(most, len(seeds))
        teller = Teller(progress, count=len(seeds), at_once=at_once, steps=order.steps, is_loaded=True)
        images: list[Image] = []
        for start in range(0, len(seeds), most):
            work = _Work(order, stock, seeds[start : start + most], await self._jobs.begin(stock))
            images += await self._draw(work, teller, start / len(seeds))
        teller.finish()
        return Drawn(tuple(images))

    async def aclose(self) -> None:
        await self._background.aclose()

    async def _draw(self, work: _Work, teller: Teller, fraction: float) -> list[Image]:
        living = self._background.start(self._live(work, teller, fraction))
        try:
            return await asyncio.shield(living)
        except asyncio.CancelledError:
            work.stopping.set()
            living.add_done_callback(_listen)
            await asyncio.wait([living], timeout=STOP_SECONDS)
            raise

    async def _live(self, work: _Work, teller: Teller, fraction: float) -> list[Image]:
        """The whole life of a job, whoever waits for it."""
        try:
            work.id = await self._submit(work)
            state = await self._outcome(work, teller, fraction)
        finally:
            self._jobs.end(work.job)
        if state.status != "completed":
            raise self._failure(state)
        return self._pictures(state, len(work.seeds))

    async def _submit(self, work: _Work) -> str:
        """If the answer is lost, so is the job: the server lists none, and it may be drawn for nobody."""
        body = payload(work.order, work.seeds, keep_metadata=self._config.keep_metadata)
        answer = await self._api.exchange("sdcpp/v1/img_gen", body)
        if not answer.is_success:
            raise failed(self._name, answer, work.order)
        found = json_of(answer)
        told = found.get("id") if isinstance(found, dict) else None
        if not isinstance(told, str) or not _ID.fullmatch(told):
            raise ProviderResponseError(f"provider `{self._name}` doesn't tell which job it has made")
        return told

    async def _outcome(self, work: _Work, teller: Teller, fraction: float) -> _State:
        """Ask until the job has come to its end."""
        since, is_drawn = _now(), False
        while True:
            await _pause(work, since)
            state = await self._seen(work)
            if state is None:
                continue
            if state.status not in ("queued", "generating"):
                return state
            work.job.ahead = state.queue_position
            if state.status == "generating" and not is_drawn:
                since, is_drawn, work.job.seen_running = _now(), True, True
            if not work.stopping.is_set():
                teller.tell(Look(ours=True, fraction=fraction) if is_drawn else Look(ahead=state.queue_position))

    async def _seen(self, work: _Work) -> _State | None:
        """How a job is; ``None`` while the server can't be asked, which takes nothing from the job."""
        try:
            state = await self._look(work)
        except ProviderRejectedError as error:
            raise ProviderResponseError(f"provider `{self._name}` has lost the job") from error
        except ProviderError as error:
            if work.silent_since is None:
                work.silent_since = _now()
            patience = SILENT_SECONDS if isinstance(error, ProviderTimeoutError) else GONE_SECONDS
            if _now() - work.silent_since >= patience:
                raise
            return None
        work.silent_since = None
        return state

    async def _look(self, work: _Work) -> _State:
        path = f"sdcpp/v1/jobs/{work.id}"
        if work.stopping.is_set() and not work.has_been_told:
            # Refused if it is being drawn already, as far as the server can't stop that.
            with contextlib.suppress(ProviderRejectedError):
                await self._api.post(f"{path}/cancel")
            work.has_been_told = True
        found = await self._api.get(path)
        try:
            return msgspec.convert(found, _State)
        except msgspec.ValidationError as error:
            raise ProviderResponseError(f"provider `{self._name}` tells of a job what can't be understood") from error

    def _failure(self, state: _State) -> ImageRouterError:
        if state.status == "cancelled":
            return ProviderBusyError(f"provider `{self._name}`: somebody has cancelled the job")
        words = state.error.message if state.error is not None else ""
        if _OUT_OF_MEMORY.search(words):
            return OutOfMemoryError(f"provider `{self._name}` has too little memory for this request")
        return GenerationError(f"provider `{self._name}` failed to draw it: {presentable(words) or state.status}")

    def _pictures(self, state: _State, count: int) -> list[Image]:
        listed = sorted(state.result.images if state.result is not None else [], key=lambda picture: picture.index)
        if len(listed) != count:
            raise ProviderResponseError(f"provider `{self._name}` returned {len(listed)} images instead of {count}")
        images = [Image(b64=picture.b64_json.encode("ascii", "replace")) for picture in listed]
        if not all(image.media_type.startswith("image/") for image in images):
            raise ProviderResponseError(f"provider `{self._name}` returned something that is not a picture")
        return images


def _most(stock: Stock) -> int:
    limits: Any = stock.capabilities.get("limits")
    most = limits.get("max_batch_count") if isinstance(limits, dict) else None
    return most if isinstance(most, int) and most > 0 else MOST


async def _pause(work: _Work, since: float) -> None:
    """Until the next question; a cancellation doesn't wait for it."""
    seconds = min(max(POLL_LEAST, (_now() - since) * POLL_SHARE), work.stock.dialect.poll_seconds)
    if work.has_been_told or work.silent_since is not None:
        await asyncio.sleep(seconds)
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await work.stopping.wait()


def _listen(living: asyncio.Task[list[Image]]) -> None:
    """Nobody else hears of its failure, which asyncio would complain about."""
    if not living.cancelled():
        living.exception()


def _now() -> float:
    return asyncio.get_running_loop().time()
