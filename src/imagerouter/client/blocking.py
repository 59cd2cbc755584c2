"""The engine in this process, for programs that run no event loop, and for notebooks."""

from __future__ import annotations

import os
import weakref
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, main_thread
from types import TracebackType
from typing import Any, Self, Unpack

from imagerouter.client.asynchronous import AsyncClient, ConfigLike
from imagerouter.client.parameters import Parameters
from imagerouter.client.pictures import PictureLike
from imagerouter.client.results import Event, Result
from imagerouter.client.threads import PATIENCE_SECONDS, LoopThread, owner


class Client:
    """`AsyncClient` without ``await``: its event loop runs in a thread of its own, from the first call to `close`.

    Any number of threads may use one client at once, and so may a notebook, whose own loop has no part in it.
    KeyboardInterrupt stops the work on the backend. A process that ends closes its clients. In a fork of a process
    that has used one, every call raises `RuntimeError`.
    """

    def __init__(self, config: ConfigLike = None) -> None:
        """:param config: see `AsyncClient`."""
        self._client = AsyncClient(config)
        self._thread: LoopThread | None = None
        self._lock = Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        try:
            self._running().wait(self._client.__aenter__())
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def generate(
        self,
        prompt: str,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> Result:
        """See `AsyncClient.generate`."""
        return self._running().wait(self._client.generate(prompt, images=images, mask=mask, **parameters))

    def edit(
        self,
        images: PictureLike | Sequence[PictureLike],
        prompt: str,
        *,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> Result:
        """See `AsyncClient.edit`."""
        return self._running().wait(self._client.edit(images, prompt, mask=mask, **parameters))

    def vary(self, image: PictureLike, *, prompt: str | None = None, **parameters: Unpack[Parameters]) -> Result:
        """See `AsyncClient.vary`."""
        return self._running().wait(self._client.vary(image, prompt=prompt, **parameters))

    def stream(
        self,
        prompt: str,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        partial_images: int = 0,
        stream_progress: bool = True,
        **parameters: Unpack[Parameters],
    ) -> Generator[Event, None, None]:
        """See `AsyncClient.stream`. Leaving the loop over it stops the work."""
        thread = self._running()
        events = self._client.stream(
            prompt,
            images=images,
            mask=mask,
            partial_images=partial_images,
            stream_progress=stream_progress,
            **parameters,
        )
        try:
            while (event := thread.wait(_next(events))) is not None:
                yield event
        finally:
            thread.end(events)

    def models(self) -> list[dict[str, Any]]:
        """See `AsyncClient.models`."""
        return self._running().wait(self._client.models())

    def route(
        self,
        prompt: str | None = None,
        *,
        images: PictureLike | Sequence[PictureLike] | None = None,
        mask: PictureLike | None = None,
        **parameters: Unpack[Parameters],
    ) -> dict[str, Any]:
        """See `AsyncClient.route`."""
        return self._running().wait(self._client.route(prompt, images=images, mask=mask, **parameters))

    def close(self) -> None:
        """Stop what is being drawn, then the providers. Threads that wait for a picture get a `RuntimeError`."""
        with self._lock:
            thread, self._thread, self._is_closed = self._thread, None, True
        if thread is not None and owner() == os.getpid():
            self._forgotten.detach()
            try:
                thread.wait(self._client.aclose())
            finally:
                thread.stop()

    def _running(self) -> LoopThread:
        with self._lock:
            if self._is_closed:
                raise RuntimeError("the client is closed")
            if self._thread is None:
                self._thread = LoopThread()
                self._forgotten = weakref.finalize(self, _close, self._client, self._thread)
            return self._thread


async def _next(events: Any) -> Event | None:
    event: Event | None = await anext(events, None)
    return event


def _close(client: AsyncClient, thread: LoopThread) -> None:
    """For a client that nobody has closed, when nobody has it any more, or the process ends."""
    if owner() != os.getpid():
        return
    closed: Future[None] = thread.begin(client.aclose())
    if main_thread().is_alive():
        closed.add_done_callback(lambda _: thread.stop())
    else:
        # No new thread can be had any more, so not everything may come to its end; the loop's thread just goes.
        thread.is_ending = True
        with suppress(Exception):
            closed.result(PATIENCE_SECONDS)
