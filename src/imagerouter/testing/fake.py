"""A complete provider that needs no backend: draws in memory, does what it is told, and remembers all of it.

Usable in YAML as ``type: "imagerouter.testing:FakeProvider"``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, ClassVar, Literal

import msgspec
import pybase64
from pydantic import Field, field_validator

from imagerouter import errors
from imagerouter.parameters import IMAGE, STRING, Descriptor, between, one_of
from imagerouter.provider import Extras, Model, Provider, ProviderConfig, Reproducible, Status
from imagerouter.testing.drawing import draw
from imagerouter.types import Image, ImageRequest, Images, Operation, Progress, ProgressSink

PARAMETERS: dict[str, Descriptor] = {
    "negative_prompt": STRING,
    "steps": between(1, 150, default=4),
    "cfg_scale": between(0, 30, default=7),
    "seed": between(0, 2**32 - 1),
    "sampler": one_of(["euler", "euler_ancestral", "dpmpp_2m"], default="euler"),
    "scheduler": one_of(["normal", "karras"], default="normal"),
    "strength": between(0, 1, default=0.75),
    "images": IMAGE,
    "mask": IMAGE,
    "width": between(8, 4096),
    "height": between(8, 4096),
    "partial_images": between(0, 3, default=0),
}
"""What it honours: each of them changes the picture, `partial_images` apart."""

Occasion = Literal["start", "models", "extras", "generate", "status"]


class FakeConfig(ProviderConfig):
    """How the fake behaves."""

    models: tuple[str, ...] = Field(default=("fake",), min_length=1, description="Native names.")
    operations: frozenset[Operation] = frozenset(Operation)
    parameters: frozenset[str] = frozenset(PARAMETERS)
    """Those of `PARAMETERS` that it declares; the rest come back as ignored."""
    loras: tuple[str, ...] = Field(default=(), description="Listed, but no LoRA changes a picture.")
    upscalers: tuple[str, ...] = ()
    vaes: tuple[str, ...] = ()
    parity: dict[str, Any] | None = None
    """What each model declares as `Reproducible`."""
    sha256: str = ""
    """Of each model."""
    hand: str = Field(default="", description="Fakes of another hand draw other pictures.")
    width: int = 64
    height: int = 64
    steps: int = Field(default=4, ge=1, description="Used when the request says none.")
    delivers: Literal["png", "base64"] = "png"
    batched: bool = Field(default=True, description="Whether progress is about all n images at once.")
    gated: bool = Field(default=False, description="Whether jobs wait after their first step for `release`.")
    memory: int = Field(default=1, ge=1, description="Models that are resident at the same time.")
    load_seconds: float = Field(default=0, ge=0)
    step_seconds: float = Field(default=0, ge=0)
    fail: str | None = Field(default=None, description="Name of a class in imagerouter.errors.")
    fail_on: Occasion = "generate"
    fail_times: int | None = Field(default=None, ge=0, description="Then it works; null = fails for ever.")

    @field_validator("fail")
    @classmethod
    def _is_an_error(cls, name: str | None) -> str | None:
        known = getattr(errors, name or "", None)
        takes_a_message = isinstance(known, type) and issubclass(known, errors.ImageRouterError)
        if name is not None and (not takes_a_message or known is errors.ConfigError):
            raise ValueError(f"no error class named {name!r} in imagerouter.errors")
        return name

    @field_validator("parameters")
    @classmethod
    def _are_known(cls, names: frozenset[str]) -> frozenset[str]:
        if unknown := names - frozenset(PARAMETERS):
            raise ValueError(f"the fake can't honour {', '.join(sorted(unknown))}")
        return names


@dataclass
class Call:
    """One call of `FakeProvider.generate` and what became of it."""

    request: ImageRequest
    outcome: Literal["running", "held", "done", "failed", "cancelled"] = "running"
    _gate: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class FakeProvider(Provider[FakeConfig]):
    """A provider in memory. Its attributes are for assertions; `gated` and `down` may be set at any time."""

    Config: ClassVar[type[ProviderConfig]] = FakeConfig

    def __init__(self, name: str = "fake", config: FakeConfig | None = None) -> None:
        super().__init__(name, config or FakeConfig())
        self.calls: list[Call] = []
        self.loads: list[str] = []
        """Models in the order in which they were loaded."""
        self.resident: list[str] = []
        """Models that are loaded now, the most recently used one last."""
        self.most_running = 0
        self.started = self.closed = 0
        self.gated = self.config.gated
        self.down: str | None = None
        """While set, the backend can't be reached; the text is the reason."""
        self._failures: dict[str, tuple[Callable[[], Exception], int | None]] = {}
        self._changed = asyncio.Event()
        if self.config.fail:
            error_class = getattr(errors, self.config.fail)
            self.fail_with(
                lambda: error_class(f"provider {name!r} was told to fail"),
                times=self.config.fail_times,
                on=self.config.fail_on,
            )

    # What a test tells it

    def fail_with(
        self,
        error: Callable[[], Exception] | Exception,
        *,
        times: int | None = None,
        on: Occasion = "generate",
    ) -> None:
        """Fail the next ``times`` calls (``None``: all) of the method ``on``; with 0 it works again."""
        self._failures[on] = ((lambda: error) if isinstance(error, Exception) else error, times)

    def release(self, count: int | None = None) -> None:
        """Let the ``count`` jobs that are held longest (``None``: all) run to their end."""
        for call in self._held()[:count]:
            call.outcome = "running"
            call._gate.set()

    # What a test asks it

    async def held(self, count: int = 1) -> list[ImageRequest]:
        """Wait until at least ``count`` jobs are held at the gate; their requests, oldest first."""
        await self.until(lambda: len(self._held()) >= count)
        return [call.request for call in self._held()]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is asked again whenever something happens here."""
        while not condition():
            await self._changed.wait()

    @property
    def running(self) -> int:
        return sum(call.outcome in ("running", "held") for call in self.calls)

    @property
    def requests(self) -> list[ImageRequest]:
        return [call.request for call in self.calls]

    @property
    def outcomes(self) -> list[str]:
        return [call.outcome for call in self.calls]

    @property
    def cancelled(self) -> list[ImageRequest]:
        return [call.request for call in self.calls if call.outcome == "cancelled"]

    # The contract

    async def start(self) -> None:
        self._fail_if_told("start")
        self.started += 1

    async def models(self) -> list[Model]:
        self._fail_if_told("models")
        return [
            Model(
                id=name,
                operations=self.config.operations,
                parameters={key: PARAMETERS[key] for key in sorted(self.config.parameters)},
                width=self.config.width,
                height=self.config.height,
                description="A fake that draws coloured squares.",
                parity=msgspec.convert(self.config.parity, Reproducible | None),
                sha256=self.config.sha256,
            )
            for name in self.config.models
        ]

    async def extras(self) -> Extras:
        self._fail_if_told("extras")
        return Extras(loras=self.config.loras, upscalers=self.config.upscalers, vaes=self.config.vaes)

    async def status(self) -> Status:
        self._fail_if_told("status")
        return Status(ready=True, running=self.running, resident=frozenset(self.resident))

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        call = Call(request)
        self.calls.append(call)
        self.most_running = max(self.most_running, self.running)
        self._notify()
        try:
            images = await self._run(call, progress)
        except asyncio.CancelledError:
            call.outcome = "cancelled"
            raise
        except Exception:
            call.outcome = "failed"
            raise
        else:
            call.outcome = "done"
            return images
        finally:
            self._notify()

    async def aclose(self) -> None:
        self.closed += 1
        self.resident.clear()

    # How it works

    async def _run(self, call: Call, progress: ProgressSink) -> Images:
        request = call.request
        self._fail_if_told("generate")
        if request.model not in self.config.models:
            raise errors.ModelNotFoundError(f"provider {self.name!r} has no model {request.model!r}")
        load_seconds = await self._load(request.model, progress)
        in_turn: list[int | None] = [None] if self.config.batched else [*range(request.n)]
        for index in in_turn:
            await self._steps(call, progress, index)
        return Images(
            images=tuple(self._draw(request, index) for index in range(request.n)),
            ignored=request.parameters - self.config.parameters,
            applied=self._applied(request),
            load_seconds=load_seconds,
        )

    async def _load(self, model: str, progress: ProgressSink) -> float:
        if model in self.resident:
            self.resident.append(self.resident.pop(self.resident.index(model)))
            return 0
        progress(Progress(stage="load"))
        await asyncio.sleep(self.config.load_seconds)
        self.loads.append(model)
        self.resident = [*self.resident, model][-self.config.memory :]
        return self.config.load_seconds

    async def _steps(self, call: Call, progress: ProgressSink, index: int | None) -> None:
        steps = self._applied(call.request)["steps"]
        for step in range(1, steps + 1):
            await asyncio.sleep(self.config.step_seconds)
            preview = self._preview(call.request, index or 0, step) if step < steps else None
            progress(Progress(step=step, steps=steps, image_index=index, preview=preview))
            if step == 1 and not index:
                await self._pass_the_gate(call)

    async def _pass_the_gate(self, call: Call) -> None:
        if self.gated:
            call.outcome = "held"
            self._notify()
            await call._gate.wait()

    def _preview(self, request: ImageRequest, index: int, step: int) -> Image | None:
        if not request.partial_images or "partial_images" not in self.config.parameters:
            return None
        return Image(data=draw(self._fingerprint(request, index) + bytes([step % 256]), 16, 16))

    def _draw(self, request: ImageRequest, index: int) -> Image:
        applied = self._applied(request)
        file = draw(self._fingerprint(request, index), applied["width"], applied["height"])
        return Image(b64=pybase64.b64encode(file)) if self.config.delivers == "base64" else Image(data=file)

    def _applied(self, request: ImageRequest) -> dict[str, Any]:
        defaults = {"steps": self.config.steps, "width": self.config.width, "height": self.config.height}
        honoured = (request.parameters & self.config.parameters) - {"images", "mask", "partial_images"}
        return defaults | {"seed": request.seed} | {key: getattr(request, key) for key in sorted(honoured)}

    def _fingerprint(self, request: ImageRequest, index: int) -> bytes:
        honours_seed = "seed" in self.config.parameters
        applied = self._applied(request) | {"seed": request.seed_of(index) if honours_seed else 0}
        pictures = [sha256(image.data).digest() for image in request.images if "images" in self.config.parameters]
        mask = sha256(request.mask.data).digest() if request.mask and "mask" in self.config.parameters else None
        return msgspec.json.encode([self.config.hand, request.model, request.prompt, applied, pictures, mask])

    def _fail_if_told(self, occasion: Occasion) -> None:
        if self.down is not None:
            raise errors.ProviderUnavailableError(f"provider {self.name!r} can't be reached: {self.down}")
        make_error, times = self._failures.get(occasion, (Exception, 0))
        if times == 0:
            return
        self._failures[occasion] = (make_error, None if times is None else times - 1)
        raise make_error()

    def _held(self) -> list[Call]:
        return [call for call in self.calls if call.outcome == "held"]

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
