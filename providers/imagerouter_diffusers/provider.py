"""The adapter: models of this machine, drawn on its own device."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import Any

import msgspec

from imagerouter import (
    Extras,
    GenerationError,
    Image,
    ImageRequest,
    Images,
    Model,
    ModelNotFoundError,
    Progress,
    ProgressSink,
    Provider,
    ProviderRejectedError,
    ProviderUnavailableError,
    Status,
)
from imagerouter_diffusers import capabilities, devices, inputs, loading, render, settings, vocabulary
from imagerouter_diffusers.config import DiffusersConfig, ModelSource
from imagerouter_diffusers.discovery import Library, Source, log, scan
from imagerouter_diffusers.failures import Cancelled, translate
from imagerouter_diffusers.traits import Traits, traits_of
from imagerouter_diffusers.worker import Worker, resolve_device


class DiffusersProvider(Provider[DiffusersConfig]):
    """Any `DiffusionPipeline`, one worker thread per device."""

    Config = DiffusersConfig
    ModelConfig = ModelSource

    def __init__(self, name: str, config: DiffusersConfig) -> None:
        super().__init__(name, config)
        self._worker: Worker | None = None
        self._library = Library({}, {}, {})
        self._known: dict[str, tuple[Source, Traits, Model]] = {}
        self._jobs: set[render.Job] = set()

    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        return {} if _not_installed() else {"local": {}}

    async def start(self) -> None:
        if self._worker is not None:
            return
        if missing := _not_installed():
            raise ProviderUnavailableError(f"{missing} isn't installed: pip install 'imagerouter[diffusers]'")
        device, why_not = await resolve_device(self.config.device)
        if why_not is not None:
            raise ProviderUnavailableError(f"device `{self.config.device}` can't be used: {why_not}")
        self._worker = Worker.acquire(device, self, self.config.memory)
        await self._scan()

    async def models(self) -> list[Model]:
        await self._scan()
        return [model for _, _, model in self._known.values()]

    async def extras(self) -> Extras:
        return Extras(loras=tuple(self._library.loras), vaes=tuple(self._library.vaes))

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        if self._worker is None:
            raise ProviderUnavailableError("this provider isn't started")
        if request.model not in self._known:
            await self._scan()
        if request.model not in self._known:
            raise ModelNotFoundError(f"there is no model `{request.model}` here", param="model")
        if self._known[request.model][0].path is None:
            await self._download(request.model, progress)
        source, traits, model = self._known[request.model]
        if request.operation not in model.operations:
            raise ProviderRejectedError(f"model `{model.id}` can't {request.operation}", param=_cause(request))
        notes: tuple[str, ...] = ()
        if (words := vocabulary.of(source.path)) is not None:
            request, notes = await asyncio.to_thread(words.understood, request)
        report = _Report(progress)
        used = settings.settle(request, source, traits)
        job = render.Job(request, source, traits, used, self._library, self.config, report)
        self._jobs.add(job)
        try:
            residents = self._worker.residents
            rendered = await self._worker.run(lambda: render.render(job, residents), job.cancelled.set)
        except Cancelled:
            raise asyncio.CancelledError from None
        finally:
            self._jobs.discard(job)
            report.close()
        return msgspec.structs.replace(await self._finish(request, used, model, rendered), notes=notes)

    async def _download(self, model: str, progress: ProgressSink) -> None:
        """On a thread of its own: the device has better to do meanwhile. What is loaded half is resumed later."""
        source = self._known[model][0]
        progress(Progress(stage="load"))
        try:
            await asyncio.to_thread(loading.download, source)
        except Exception as error:
            raise translate(error, f"model `{model}` can't be downloaded") from error
        await self._scan()
        if self._known[model][0].path is None:
            raise GenerationError(f"model `{model}` isn't a diffusers pipeline")

    async def _finish(
        self, request: ImageRequest, used: settings.Settings, model: Model, rendered: render.Rendered
    ) -> Images:
        files = await asyncio.to_thread(lambda: [inputs.to_png(picture) for picture in rendered.pictures])
        declared = frozenset(model.parameters)
        return Images(
            images=tuple(Image(data=file, media_type="image/png") for file in files),
            ignored=settings.ignored(request, used, declared),
            applied=settings.applied(request, used, declared, rendered.pictures[0].size),
            load_seconds=rendered.load_seconds,
        )

    async def status(self) -> Status:
        if self._worker is None:
            return Status(ready=False, detail="not started")
        loaded = self._worker.residents.keys()
        return Status(
            ready=True,
            detail="; ".join(self._library.problems),
            running=self._worker.running,
            queued=self._worker.queued,
            resident=frozenset(
                name for name, (source, _, _) in self._known.items() if render.key_of(source, self.config) in loaded
            ),
        )

    async def aclose(self) -> None:
        for job in self._jobs:
            job.cancelled.set()
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.release(self)

    async def _scan(self) -> None:
        """On a thread: folders may be large, and on a network."""
        self._library, self._known = await asyncio.to_thread(self._look)

    def _look(self) -> tuple[Library, dict[str, tuple[Source, Traits, Model]]]:
        library = scan(self.config)
        for problem in library.problems:
            if problem not in self._library.problems:
                log.warning("model_unavailable", provider=self.name, problem=problem)
        device = self._worker.device if self._worker is not None else devices.resolve(self.config.device)
        known: dict[str, tuple[Source, Traits, Model]] = {}
        names: set[str | None] = set()
        for name, source in library.models.items():
            traits = traits_of(source)
            if traits is None or not capabilities.is_offered(source, traits):
                continue
            model = capabilities.describe(source, traits, library, self.config, device)
            if model.name in names:
                # Two repositories of one name: the second is offered under its whole id.
                model = msgspec.structs.replace(model, name=model.id)
            names.add(model.name)
            known[name] = (source, traits, model)
        return library, known


def _cause(request: ImageRequest) -> str:
    return "mask" if request.mask is not None else "images" if request.images else "prompt"


def _not_installed() -> str | None:
    """The first library that is missing; nothing is imported to find out."""
    return next((name for name in ("torch", "diffusers", "transformers") if find_spec(name) is None), None)


class _Report:
    """Carries progress from the worker's thread to the event loop, until it is closed."""

    def __init__(self, sink: ProgressSink) -> None:
        self._sink: ProgressSink | None = sink
        self._loop = asyncio.get_running_loop()

    def __call__(self, progress: Progress) -> None:
        self._loop.call_soon_threadsafe(self._deliver, progress)

    def _deliver(self, progress: Progress) -> None:
        if self._sink is not None:
            self._sink(progress)

    def close(self) -> None:
        self._sink = None
