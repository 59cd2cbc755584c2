"""The engine in this process, for programs that run an event loop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from contextvars import Context
from pathlib import Path
from types import TracebackType
from typing import Any, Self, Unpack

import msgspec

from imagerouter.client.parameters import Parameters, body_of
from imagerouter.client.pictures import PictureLike
from imagerouter.client.results import Event, Result, events_of
from imagerouter.client.threads import refuse_forks
from imagerouter.config import Config
from imagerouter.config.loader import resolve
from imagerouter.dispatching.trying import ProgressListener
from imagerouter.engine import Engine
from imagerouter.errors import InvalidParameterError
from imagerouter.images import in_worker
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, Door, describe
from imagerouter.routing.explain import explained, question
from imagerouter.streaming import news

ConfigLike = str | os.PathLike[str] | Mapping[str, Any] | Config | None

_FOREIGN = "an AsyncClient belongs to the event loop of its first call; for use from anywhere there is Client"


class AsyncClient:
    """Draws pictures in this process, with everything that a server of the same configuration does but its door.

    ``async with AsyncClient() as client`` starts the providers and stops them at the end; without ``with``, the first
    call starts them and `aclose` stops them. All calls belong to the event loop of the first one. Cancelling the task
    that awaits a call stops its work on the backend.

    API keys, dialects and ``server`` of the configuration are about servers, and have no effect here; what a provider
    takes for a job is learned anew by each client.
    """

    def __init__(self, config: ConfigLike = None) -> None:
        """:param config: a file, what such a file would say as a mapping, or a `Config`; by default what
        ``imagerouter serve`` would use: ``./imagerouter.yaml``, then that of the user, then the backends that are
        found on this machine.
        """
        self._config = _given(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Task[Engine] | None = None
        self._closing = asyncio.Lock()
        self._is_closed = False
        self._work: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        try:
            await self._opened()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def generate(
        self,
        prompt: str,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> Result:
        """Draw ``n`` pictures of ``prompt``, starting from ``images`` if there are any.

        Raises `ImageRouterError`, with the same words as over HTTP.
        """
        return await self._draw(Door.GENERATION, {"prompt": prompt, "images": images, "mask": mask, **parameters})

    async def edit(
        self,
        images: PictureLike | Sequence[PictureLike],
        prompt: str,
        *,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> Result:
        """Draw ``images`` anew as ``prompt`` says.

        :param mask: what is transparent in it is repainted, or, if nothing is, what is white.
        """
        return await self._draw(Door.EDIT, {"prompt": prompt, "images": images, "mask": mask, **parameters})

    async def vary(self, image: PictureLike, *, prompt: str | None = None, **parameters: Unpack[Parameters]) -> Result:
        """Draw pictures like another one."""
        return await self._draw(Door.VARIATION, {"prompt": prompt, "images": image, **parameters})

    async def stream(
        self,
        /,
        prompt: str,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        partial_images: int = 0,
        stream_progress: bool = True,
        **parameters: Unpack[Parameters],
    ) -> AsyncGenerator[Event, None]:
        """`generate`, with what happens on the way: previews, progress, and at the end each finished picture.

        Closing the iterator, as `contextlib.aclosing` does, stops the work.

        :param partial_images: previews of each picture, 0 to 3.
        """
        told = {"partial_images": partial_images, "stream_progress": stream_progress}
        fields = {"prompt": prompt, "images": images, "mask": mask, **told, **parameters}
        call = await self._understood(Door.GENERATION, fields)
        async with aclosing(news(call, self._drawn)) as pieces:
            async for piece in pieces:
                for event in events_of(piece, call):
                    yield event

    async def models(self) -> list[dict[str, Any]]:
        """The models that can be used, as ``GET /v1/models`` lists them."""
        engine = await self._opened()
        snapshots = engine.fleet.snapshots
        listed: list[dict[str, Any]] = msgspec.to_builtins(
            [describe(each, snapshots) for each in engine.catalogue.models]
        )
        return listed

    async def route(
        self,
        /,
        prompt: str | None = None,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> dict[str, Any]:
        """What would become of a request, as ``POST /v1/route`` tells it; nothing is drawn. Times in seconds."""
        engine = await self._opened()
        given = {"prompt": prompt, "images": images, "mask": mask, **parameters}
        fields, pictures = await in_worker(body_of, given)
        return explained(engine, question(engine, fields, pictures))

    async def aclose(self) -> None:
        """Stop what is being drawn, then the providers. What waits for a picture gets a `RuntimeError`."""
        if self._loop not in (None, asyncio.get_running_loop()):
            raise RuntimeError(_FOREIGN)
        self._is_closed = True
        async with self._closing:
            opening, self._opening = self._opening, None
            work = self._work if opening is None else {*self._work, opening}
            for task in work:
                task.cancel()
            if work:
                await asyncio.wait(work)
            if opening is not None and _is_open(opening):
                await opening.result().__aexit__(None, None, None)

    async def _draw(self, door: Door, given: Mapping[str, Any]) -> Result:
        if given.get("stream"):
            raise InvalidParameterError("`stream`: the client's method `stream` gives events", param="stream")
        call = await self._understood(door, given)
        return Result.of(await asyncio.create_task(self._drawn(call)), call)

    async def _understood(self, door: Door, given: Mapping[str, Any]) -> Call:
        engine = await self._opened()
        fields, pictures = await in_worker(body_of, given)
        return await engine.understand(fields, door=door, pictures=pictures)

    async def _drawn(self, call: Call, listen: ProgressListener | None = None) -> Outcome:
        """`Engine.run` in a task that nobody else has a part in, so that `aclose` may cancel it."""
        engine, task = await self._opened(), asyncio.current_task()
        assert task is not None
        self._work.add(task)
        try:
            return await engine.run(call, listen)
        except asyncio.CancelledError:
            if self._is_closed:
                raise RuntimeError("the client was closed before the picture was done") from None
            raise
        finally:
            self._work.discard(task)

    async def _opened(self) -> Engine:
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise RuntimeError(_FOREIGN)
        if self._is_closed:
            raise RuntimeError("the client is closed")
        if self._opening is None or (self._opening.done() and not _is_open(self._opening)):
            refuse_forks()
            self._loop = loop
            # What it starts outlives the call that comes first, and has no part in its context.
            self._opening = asyncio.create_task(_started(self._config), context=Context())
        try:
            return await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            if self._is_closed:
                raise RuntimeError("the client is closed") from None
            raise


def _given(config: ConfigLike) -> Path | Mapping[str, Any] | Config | None:
    if isinstance(config, str | os.PathLike):
        return Path(config)
    if config is None or isinstance(config, Mapping | Config):
        return config
    kinds = "the path of a file, what such a file would say as a mapping, or a `Config`"
    raise TypeError(f"a configuration is {kinds}, not {type(config).__name__}")


def _is_open(opening: asyncio.Task[Engine]) -> bool:
    return opening.done() and not opening.cancelled() and opening.exception() is None


async def _started(config: Path | Mapping[str, Any] | Config | None) -> Engine:
    """An engine whose providers have all been tried once."""
    # In a thread, with a loop of its own: reading takes a while, and importing an adapter even longer.
    engine = Engine(await asyncio.to_thread(lambda: asyncio.run(resolve(config))))
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(engine)
        await engine.fleet.settled()
        stack.pop_all()
    return engine
