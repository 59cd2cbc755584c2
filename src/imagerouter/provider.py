"""The contract between the core and an adapter: all that the author of a provider has to read.

An adapter is an importable package with one `Provider` subclass, named in the entry-point group
``imagerouter.providers``. Test it with `imagerouter.testing.ProviderContract`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from imagerouter.errors import MisconfiguredError
from imagerouter.parameters import Descriptor
from imagerouter.routing.prices import FREE, AnyPrice
from imagerouter.routing.rules import Rule
from imagerouter.types import ImageRequest, Images, Operation, ProgressSink, Tier
from imagerouter.units import Seconds


class ProviderConfig(BaseModel):
    """Keys that every provider has in YAML; an adapter's own ``Config`` adds to them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=1, ge=1, le=1024, description="Jobs that run on it at the same time.")
    timeout: Seconds = Field(default=600.0, description="How long one job may take, model load included.")
    price: AnyPrice = Field(default=FREE, description="US dollars for each image, or `{request, image, megapixel}`.")
    rules: list[Rule] = Field(default=[], description="Rules for requests on it; the first match counts.")


class Reproducible(msgspec.Struct, frozen=True, kw_only=True):
    """What is proven about a model's pictures being those that other backends draw (docs/parity.md)."""

    profile: str
    """Which models can be compared at all, and in what: a key of `imagerouter.parity.profile.PROFILES`."""
    dtype: str = ""
    """What the network computes in: ``fp32``, ``fp16`` or ``bf16``; empty where that isn't known."""
    vae: str = ""
    """What stands in for the checkpoint's own VAE, where the backend's owner has set something."""
    tiers: dict[str, Tier] = {}
    """Features that this backend does better or worse than the profile says, by the names that it has for them."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model of a provider, with what it can do."""

    id: str
    """The native name: exactly the string that comes back as `ImageRequest.model`."""
    name: str | None = None
    """The public name to offer it under; by default the file stem of ``id``."""
    operations: frozenset[Operation] = frozenset({Operation.GENERATE})
    parameters: dict[str, Descriptor] = {}
    """Canonical parameters that this model honours, with their limits. What isn't here is ignored."""
    options: frozenset[str] = frozenset()
    """Keys that it takes in ``provider.options``, as far as that can be told beforehand."""
    width: int = 1024
    """Native size in pixels, used when the client gives none, or only an aspect ratio."""
    height: int = 1024
    size_multiple: int = 8
    """Sizes derived from an aspect ratio are rounded to it."""
    description: str = ""
    created: int = 0
    """Unix time of the file, where it is known."""
    sha256: str = ""
    """Of the file, in lower-case hexadecimal digits, the first eight or more of them, where it is known."""
    file_size: int = 0
    """Bytes, where it is known. Files of one name whose hash or size differs are different models."""
    parity: Reproducible | None = None
    """Nothing is proven where it is missing."""
    is_demo: bool = False
    """Comes with the software for a first try: the default model only where there is no other."""
    problem: str = ""
    """Why it can't be used although it is there, in plain words. Requests for it are refused with this reason."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """One snapshot of a provider, other people's work on the same backend included."""

    ready: bool
    detail: str = ""
    """Why it isn't ready, in plain words."""
    running: int = 0
    queued: int = 0
    resident: frozenset[str] = frozenset()
    """Native names of the models that are loaded now."""


class Extras(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider has beside its models: names as `Provider.generate` takes them, for clients to choose from."""

    loras: tuple[str, ...] = ()
    """For `Lora.name`. Of files, as `imagerouter.names.short` spells them: one LoRA has one name on all providers."""
    upscalers: tuple[str, ...] = ()
    """For `Hires.upscaler`."""
    vaes: tuple[str, ...] = ()
    """For `ImageRequest.vae`."""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one parameter in a workflow."""

    parameter: str
    places: tuple[str, ...] = ()
    """Where it is written, in the backend's own terms; none if it can't be."""
    source: str = ""
    """Who says so: the configuration, the workflow itself, or the adapter's own rules."""
    detail: str = ""
    """Its limits and default, or why it can't be written anywhere."""


C = TypeVar("C", bound=ProviderConfig)


class Provider(ABC, Generic[C]):
    """One configured backend.

    Life: ``__init__`` (pure, no I/O) → `start` → any number of `models`, `status`, `generate` → `aclose`.
    Methods may be called concurrently, `generate` at most ``config.concurrency`` times at once.
    """

    Config: ClassVar[type[ProviderConfig]] = ProviderConfig
    ModelConfig: ClassVar[type[BaseModel] | None] = None
    """What defines one model in YAML, where that can be done: the items of ``Config.models``. The same keys may
    stand in a target (``models.NAME.targets[]``), and then define its model."""
    requires: ClassVar[tuple[str, ...]] = ()
    """Modules that it imports late and can't do without; the user is told which one isn't installed."""

    def __init__(self, name: str, config: C) -> None:
        self.name = name
        self.config = config

    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        """Backends of this type that are here without any configuration: provider name → its YAML keys.

        Asked only when the server runs with no configuration file. Must answer within two seconds.
        """
        return {}

    async def start(self) -> None:
        """Get ready. Raises `ProviderUnavailableError` if the backend isn't there (yet).

        Called again after a failure, and when a backend that was lost is looked for again.
        """

    @abstractmethod
    async def models(self) -> list[Model]:
        """The models that this backend has now. Cheap enough to be asked every minute."""

    @abstractmethod
    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        """Draw ``request.n`` images.

        Cancelling the task cancels the job: stop the backend's work for *this* job (shielded and bounded in
        time), then let `asyncio.CancelledError` out. Raises a class of `imagerouter.errors`, never a foreign one.
        """

    async def extras(self) -> Extras:
        """What it has beside its models. Asked after each look at them; if this fails, they are there all the same."""
        return Extras()

    async def status(self) -> Status:
        """The backend's state; by default ready if `models` answers."""
        await self.models()
        return Status(ready=True)

    async def inspect(self, workflow: Path) -> list[Binding]:  # noqa: ARG002 - what it could be done with
        """What each parameter would become in a workflow file. Only for backends that run workflows."""
        raise MisconfiguredError(f"provider `{self.name}` runs no workflows")

    async def aclose(self) -> None:
        """Give everything back. May be called twice, and after a `start` that failed."""
