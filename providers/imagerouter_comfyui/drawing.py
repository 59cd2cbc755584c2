"""One request: n graphs, n jobs, n pictures, and nothing left behind in the server's queue and history."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from secrets import token_hex

from msgspec.structs import replace

from imagerouter import (
    Image,
    ImageRequest,
    ImageRouterError,
    Images,
    ProgressSink,
    ProviderRejectedError,
    ProviderResponseError,
)
from imagerouter.images import dimensions
from imagerouter.logs import get_logger
from imagerouter.metadata import stripped
from imagerouter.tasks import Background
from imagerouter_comfyui.api import Api, FileRef, PromptRejectedError
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.failures import failed, rejected
from imagerouter_comfyui.jobs import STOP_SECONDS, Jobs
from imagerouter_comfyui.recipe import Built, Recipe, Sources
from imagerouter_comfyui.residency import Residency, loaders_of
from imagerouter_comfyui.schedules import bounded
from imagerouter_comfyui.uploads import upload_all
from imagerouter_comfyui.watch import Failed, Watch

log = get_logger(__name__)

FORGET_SECONDS = 0.05
"""Between the end of a job and its removal from the history: the answer to the client goes first."""
HISTORY_RETRIES = (0.05, 0.2, 0.8)
"""Seconds. A server writes a job's history up to a second after it has told that the job succeeded."""


class Easel:
    """Draws requests on one server."""

    def __init__(self, name: str, config: ComfyConfig, api: Api, jobs: Jobs, residency: Residency) -> None:
        self._name = name
        self._config = config
        self._api = api
        self._jobs = jobs
        self._residency = residency
        self._background = Background(STOP_SECONDS)
        self._ended: list[Watch] = []
        """Jobs that the server is to forget, all at once."""

    async def aclose(self) -> None:
        await self._background.aclose()

    async def draw(self, request: ImageRequest, recipe: Recipe, progress: ProgressSink) -> Images:
        _check_options(request, recipe)
        sources = await upload_all(self._api, self._config.folder, request, recipe)
        work = _Work(request, recipe, progress, self._graphs(request, recipe, sources))
        fetching: list[asyncio.Task[Image]] = []
        try:
            for place in range(request.n):
                work.watches.append(await self._submit(work, place))
            for place in range(request.n):
                await self._finish(work, place)
                fetching.append(self._background.start(self._picture(work.watches[place])))
                for task in fetching:
                    if task.done():
                        task.result()  # the others needn't be drawn if one can't be had
            images = [await task for task in fetching]
        except BaseException:
            for task in fetching:
                task.cancel()
            await self._stop(work.watches)
            raise
        finally:
            self._clean_up(work.watches)
        return Images(
            images=tuple(images),
            ignored=work.builts[0].ignored & request.parameters,
            applied=work.builts[0].applied,
            load_seconds=sum(watch.load_seconds for watch in work.watches),
        )

    def _graphs(self, request: ImageRequest, recipe: Recipe, sources: Sources) -> list[Built]:
        """One graph per image: in a batch the server would draw the others from the first one's noise."""
        token = token_hex(8)
        builts = []
        for index in range(request.n):
            prefix = f"{self._config.folder}/{token}_{index}"
            built = recipe.build(request, replace(sources, seed=request.seed_of(index), prefix=prefix))
            builts.append(bounded(built))
        return builts

    async def _submit(self, work: _Work, place: int, *, is_saved: bool = False) -> Watch:
        """:param is_saved: whether the server has to save the picture, even if pictures come over the websocket."""
        built, request = work.builts[place], work.request
        if self._config.transfer == "websocket" and not is_saved:
            built = over_websocket(built)
        extra = {"preview_method": "auto" if request.partial_images else "none"}
        # Shielded: a job that the server takes while its client goes away has to be found to be stopped.
        sending = self._background.start(self._jobs.submit(built, extra, work.progress, place))
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            await asyncio.wait([self._background.start(self._stop_when_known(sending))], timeout=STOP_SECONDS)
            raise
        except PromptRejectedError as error:
            raise rejected(self._name, error.error, built, request) from None
        except Failed as end:
            raise failed(self._name, end, built, request) from None

    async def _stop_when_known(self, sending: asyncio.Task[Watch]) -> None:
        """A loading server may take long to answer; until it has, nobody knows what to cancel."""
        await asyncio.wait([sending])
        if not sending.cancelled() and sending.exception() is None:
            await self._jobs.stop([sending.result()])
            self._clean_up([sending.result()])

    async def _finish(self, work: _Work, place: int) -> None:
        watch = work.watches[place]
        watch.is_next = True
        await self._end(work, watch)
        if watch.orphaned and self._config.transfer == "websocket" and not watch.frames:
            # The picture went to a connection that is gone. If the server still has it, saving it takes no time.
            self._clean_up([watch])
            work.watches[place] = watch = await self._submit(work, place, is_saved=True)
            await self._end(work, watch)

    async def _end(self, work: _Work, watch: Watch) -> None:
        try:
            await self._jobs.finish(watch)
        except Failed as end:
            error = failed(self._name, end, watch.built, work.request)
            log.warning("comfyui.job_failed", provider=self._name, reason=error.message, node=end.data.get("node_type"))
            raise error from None
        finally:
            self._note_files(work.recipe, watch)

    def _note_files(self, recipe: Recipe, watch: Watch) -> None:
        """Whatever came of it, a job that has begun leaves its models loaded."""
        if watch.finished_at:
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
        if self._config.keep_history:
            self._jobs.release(watches)
        elif watches:
            self._background.start(self._forget(watches))

    async def _forget(self, watches: list[Watch]) -> None:
        await self._jobs.settled(watches)
        self._ended += watches
        if len(self._ended) > len(watches):
            return  # whoever came first does it for all
        await asyncio.sleep(FORGET_SECONDS)
        ended, self._ended = self._ended, []
        try:
            await self._api.forget([watch.prompt_id for watch in ended])
        except ImageRouterError as error:
            log.info("comfyui.history_kept", provider=self._name, reason=error.message)
        finally:
            self._jobs.release(ended)

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


def _check_options(request: ImageRequest, recipe: Recipe) -> None:
    """An option is meant for this provider by name; one that has no effect would be a wish that is lost."""
    for word in request.options:
        if word not in recipe.options:
            taken = ", ".join(f"`{name}`" for name in sorted(recipe.options)) or "none"
            message = f"`{word[:40]}` is no option of `{request.model}`; it takes: {taken}"
            raise ProviderRejectedError(message, param=f"provider.options.{word[:40]}")


@dataclass(frozen=True, slots=True)
class _Work:
    """One request on its way."""

    request: ImageRequest
    recipe: Recipe
    progress: ProgressSink
    builts: list[Built]
    watches: list[Watch] = field(default_factory=list)


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
