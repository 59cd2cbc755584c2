"""One request: n graphs, n jobs, n pictures, and nothing left behind in the server's queue and history."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from typing import Any
from uuid import uuid4

import msgspec
import structlog

from imagerouter import (
    Image,
    ImageRequest,
    ImageRouterError,
    Images,
    Progress,
    ProgressSink,
    ProviderResponseError,
)
from imagerouter.images import dimensions
from imagerouter_comfyui.api import Api, FileRef, PromptRejectedError
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.failures import failed, rejected
from imagerouter_comfyui.jobs import STOP_SECONDS, Jobs
from imagerouter_comfyui.metadata import stripped
from imagerouter_comfyui.recipe import Built, Recipe, Sources
from imagerouter_comfyui.residency import Residency, loaders_of
from imagerouter_comfyui.uploads import upload_all
from imagerouter_comfyui.watch import Failed, Watch

log = structlog.get_logger(__name__)

HISTORY_RETRIES = (0.05, 0.2, 0.8)
"""Seconds. A server writes a job's history up to a second after it has told that the job succeeded."""


class Background:
    """Work that nobody waits for, until the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def aclose(self) -> None:
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()


class Easel:
    """Draws requests on one server."""

    def __init__(self, name: str, config: ComfyConfig, api: Api, jobs: Jobs, residency: Residency) -> None:
        self._name = name
        self._config = config
        self._api = api
        self._jobs = jobs
        self._residency = residency
        self._background = Background()

    async def aclose(self) -> None:
        await self._background.aclose()

    async def draw(self, request: ImageRequest, recipe: Recipe, progress: ProgressSink) -> Images:
        sources = await upload_all(self._api, self._config.folder, request, recipe)
        builts = self._graphs(request, recipe, sources)
        watches: list[Watch] = []
        fetching: list[asyncio.Task[Image]] = []
        try:
            for index, built in enumerate(builts):
                watches.append(await self._submit(request, built, _for_image(progress, index)))
                watches[-1].is_next = index == 0
            for place in range(request.n):
                await self._finish(request, recipe, progress, watches, place)
                fetching.append(self._background.start(self._picture(watches[place])))
                for task in fetching:
                    if task.done():
                        task.result()  # the others needn't be drawn if one can't be had
            images = [await task for task in fetching]
        except BaseException:
            for task in fetching:
                task.cancel()
            await self._stop(watches)
            raise
        finally:
            self._clean_up(watches)
        return Images(
            images=tuple(images),
            ignored=builts[0].ignored & request.parameters,
            applied=builts[0].applied,
            load_seconds=sum(watch.load_seconds for watch in watches),
        )

    def _graphs(self, request: ImageRequest, recipe: Recipe, sources: Sources) -> list[Built]:
        """One graph per image: in a batch the server would draw the others from the first one's noise."""
        token = uuid4().hex[:16]
        builts = []
        for index in range(request.n):
            prefix = f"{self._config.folder}/{token}_{index}"
            built = recipe.build(request, replace(sources, seed=request.seed_of(index), prefix=prefix))
            builts.append(over_websocket(built) if self._config.transfer == "websocket" else built)
        return builts

    async def _submit(self, request: ImageRequest, built: Built, tell: Callable[[Progress], None]) -> Watch:
        extra = {"preview_method": "auto" if request.partial_images else "none"}
        # Shielded: a job that the server takes while its client goes away has to be found to be stopped.
        work = self._background.start(self._jobs.submit(built, extra, tell))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([self._background.start(self._stop_when_known(work))], timeout=STOP_SECONDS)
            raise
        except PromptRejectedError as error:
            raise rejected(self._name, error.error, built, request) from None
        except Failed as end:
            raise failed(self._name, end, built, request) from None

    async def _stop_when_known(self, work: asyncio.Task[Watch]) -> None:
        """A loading server may take long to answer; until it has, nobody knows what to cancel."""
        await asyncio.wait([work])
        if not work.cancelled() and work.exception() is None:
            await self._jobs.stop([work.result()])
            self._clean_up([work.result()])

    async def _finish(
        self, request: ImageRequest, recipe: Recipe, progress: ProgressSink, watches: list[Watch], place: int
    ) -> None:
        watch = watches[place]
        watch.is_next = True
        await self._ended(request, recipe, watch)
        if watch.orphaned and self._config.transfer == "websocket" and not watch.frames:
            # The picture went to a connection that is gone, but the server still has it: it is sent again at once.
            self._clean_up([watch])
            watches[place] = watch = await self._submit(request, watch.built, _for_image(progress, place))
            await self._ended(request, recipe, watch)

    async def _ended(self, request: ImageRequest, recipe: Recipe, watch: Watch) -> None:
        try:
            await self._jobs.finish(watch)
            self._note_files(recipe, watch)
        except Failed as end:
            self._note_files(recipe, watch)
            error = failed(self._name, end, watch.built, request)
            log.warning("comfyui.job_failed", provider=self._name, reason=error.message, node=end.data.get("node_type"))
            raise error from None

    def _note_files(self, recipe: Recipe, watch: Watch) -> None:
        """Whatever came of it, a job that has begun leaves its models loaded."""
        if watch.started or watch.failure is None:
            loaders = loaders_of(watch.built.graph, recipe.files)
            cached = None if watch.cached is None else loaders <= watch.cached
            self._residency.ran(recipe.files, watch.finished_at, cached=cached)

    async def _stop(self, watches: list[Watch]) -> None:
        """Goes on in the background if the task is cancelled a second time."""
        if any(not watch.done for watch in watches):
            await asyncio.wait([self._background.start(self._jobs.stop(watches))], timeout=STOP_SECONDS)

    def _clean_up(self, watches: Iterable[Watch]) -> None:
        watches = list(watches)
        for watch in watches:
            watch.hush()
        if watches:
            self._background.start(self._forget(watches))

    async def _forget(self, watches: list[Watch]) -> None:
        try:
            if not self._config.keep_history:
                await self._jobs.settled(watches)
                await self._api.forget([watch.prompt_id for watch in watches])
        except ImageRouterError as error:
            log.info("comfyui.history_kept", provider=self._name, reason=error.message)
        finally:
            self._jobs.release(watches)

    async def _picture(self, watch: Watch) -> Image:
        data = await self._data(watch)
        image = Image(data=data if self._config.keep_metadata else stripped(data))
        if image.media_type == "application/octet-stream" or dimensions(image) is None:
            raise ProviderResponseError(f"provider `{self._name}` returned something that is not a picture")
        return image

    async def _data(self, watch: Watch) -> bytes:
        for delay in (0.0, *HISTORY_RETRIES):
            if (found := _first(watch)) is not None:
                return found if isinstance(found, bytes) else await self._api.view(found)
            await asyncio.sleep(delay)
            await self._jobs.recall(watch)
        raise ProviderResponseError(f"provider `{self._name}` finished the job without a picture")


def over_websocket(built: Built) -> Built:
    """The same graph with results that are sent and not saved."""
    graph = dict(built.graph)
    for node in built.outputs:
        if "images" in graph[node]["inputs"]:
            graph[node] = {"class_type": "SaveImageWebsocket", "inputs": {"images": graph[node]["inputs"]["images"]}}
    return replace(built, graph=graph)


def _first(watch: Watch) -> bytes | FileRef | None:
    for node in watch.built.outputs:
        if frames := watch.frames.get(node):
            return frames[0]
        if files := watch.files.get(node):
            return files[0]
    return None


def _for_image(progress: ProgressSink, index: int) -> Callable[[Progress], None]:
    return lambda seen: progress(msgspec.structs.replace(seen, image_index=index))
