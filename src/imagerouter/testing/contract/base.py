"""What the groups of contract tests share: the fixtures that an adapter overrides, and a recorder.

Only ``provider`` has to be overridden. What an adapter's backend can't offer is skipped, with the reason.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from imagerouter.parameters import Descriptor
from imagerouter.provider import Model, Provider
from imagerouter.types import ImageRequest, Operation, Progress

AnyProvider = Provider[Any]

SAMPLES: dict[str, Any] = {
    "negative_prompt": "fog",
    "steps": 3,
    "cfg_scale": 5.0,
    "guidance": 3.5,
    "sampler": "euler",
    "scheduler": "normal",
    "clip_skip": 2,
    "vae": "contract-vae",
    "background": "opaque",
    "quality": "high",
    "style": "vivid",
    "partial_images": 1,
}
"""A value for each parameter that can be set without anything else, to see whether it is ignored."""


@pytest.mark.asyncio
class ContractBase:
    """Fixtures of the contract."""

    parameters: ClassVar[dict[str, Any]] = {}
    """Sent with every request, for example ``{"steps": 2}`` to be quick."""
    reports_progress: ClassVar[bool] = True
    """Whether the backend says how far it is."""
    reports_residency: ClassVar[bool] = True
    """Whether the backend says which models are loaded."""

    @pytest_asyncio.fixture
    async def provider(self) -> AsyncIterator[AnyProvider]:
        """The provider under test, started. Close it after the ``yield``."""
        pytest.fail("a subclass of ProviderContract has to override the fixture `provider`")
        yield

    @pytest_asyncio.fixture
    async def model(self, provider: AnyProvider) -> Model:
        """The model that is asked for pictures: the first one by default."""
        return (await provider.models())[0]

    @pytest_asyncio.fixture
    async def spare(self, provider: AnyProvider) -> AsyncIterator[AnyProvider]:
        """Another provider on the same backend, not started yet."""
        spare = type(provider)(provider.name, provider.config)
        yield spare
        await spare.aclose()

    @pytest.fixture
    def unreachable_provider(self) -> AnyProvider:
        """A provider, not started, whose backend isn't there: a port that nobody listens on."""
        pytest.skip("this adapter offers no `unreachable_provider`")

    @pytest.fixture
    def garbled_provider(self) -> AnyProvider:
        """A provider, not started, whose backend answers generation with something that isn't a picture."""
        pytest.skip("this adapter offers no `garbled_provider`")

    @pytest.fixture
    def slow_request(self, model: Model) -> ImageRequest:
        """A request that is still running well after its first progress."""
        limit = model.parameters.get("steps", Descriptor(type="range")).max or 0
        return self.ask(model, steps=int(min(40, limit))) if limit > 1 else self.ask(model)

    @pytest.fixture
    def interruptions(self) -> Callable[[], int]:
        """Counts the jobs that the backend has been told to stop so far."""
        pytest.skip("this adapter offers no `interruptions`, so what its backend was told isn't checked")

    async def until_running(self) -> None:
        """Wait until the backend is at work on a request. Only asked for where there is no progress."""
        pytest.skip("without progress this adapter has to override `until_running`")

    def ask(self, model: Model, /, **changes: Any) -> ImageRequest:
        """A small request for ``model``."""
        fields: dict[str, Any] = {"model": model.id, "prompt": "a lighthouse at dusk", "seed": 1234}
        return ImageRequest(**(fields | self.parameters | changes))


class Recorder:
    """A progress sink that notes what it is told, on which thread, and whether the loop turns in between."""

    def __init__(self) -> None:
        self.progress: list[Progress] = []
        self.threads: set[int] = set()
        self.turned: list[bool] = []
        """For each call but the first: did the event loop turn since the call before?"""
        self.on_step: Callable[[], object] | None = None
        """Called once, inside the sink, at the first sign of a step that isn't the last one."""
        self._loop = asyncio.get_running_loop()
        self._turned = True

    def __call__(self, progress: Progress) -> None:
        self.threads.add(threading.get_ident())
        if self.progress:
            self.turned.append(self._turned)
        self._turned = False
        self._loop.call_soon_threadsafe(self._turn)
        self.progress.append(progress)
        if self.on_step and progress.stage == "render" and progress.step < progress.steps:
            on_step, self.on_step = self.on_step, None
            on_step()

    def _turn(self) -> None:
        self._turned = True

    @property
    def steps(self) -> list[Progress]:
        return [progress for progress in self.progress if progress.stage == "render" and progress.steps]


_ours: ContextVar[bool] = ContextVar("_ours", default=False)


class TaskWatch:
    """Knows the tasks that a provider starts, and no others: a test's backend may live on the same loop."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    def __enter__(self) -> TaskWatch:
        loop = asyncio.get_running_loop()
        self._before = loop.get_task_factory()
        self._token = _ours.set(True)
        loop.set_task_factory(self._make)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().set_task_factory(self._before)
        _ours.reset(self._token)

    def _make(self, loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **options)
        if _ours.get():
            self._tasks.append(task)
        return task

    async def left(self) -> list[str]:
        """Names of the provider's tasks that are still there, after a few turns for those just cancelled."""
        for _ in range(10):
            await asyncio.sleep(0)
        return [repr(task.get_coro()) for task in self._tasks if not task.done()]


def can(model: Model, operation: Operation) -> None:
    """Skip unless ``model`` offers ``operation``."""
    if operation not in model.operations:
        pytest.skip(f"model {model.id!r} doesn't offer {operation}")


def honours(model: Model, *names: str) -> None:
    """Skip unless ``model`` declares the parameters ``names``."""
    if missing := set(names) - model.parameters.keys():
        pytest.skip(f"model {model.id!r} doesn't honour {', '.join(sorted(missing))}")
