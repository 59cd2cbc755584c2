"""A job: one request on its way through the house, and what came of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec

from imagerouter.parity.verdict import UNPROVEN, Verdict
from imagerouter.provider import Model
from imagerouter.routing.prices import FREE, Price
from imagerouter.sizing import size_for
from imagerouter.types import Image, ImageRequest, Operation, Parity

REQUEST_FIELDS = frozenset(ImageRequest.__struct_fields__)


class MaxPrice(msgspec.Struct, frozen=True, kw_only=True):
    """The most that pictures may cost, in US dollars."""

    image: float | None = None
    """One image."""
    request: float | None = None
    """The whole request."""


Sort = Literal["price", "latency", "throughput"]
"""Cheapest first, done soonest first (waiting and loading included), or fastest renderer first."""


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's ``provider`` object: which providers may serve this request."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    sort: Sort | None = None
    max_price: MaxPrice | None = None
    options: dict[str, dict[str, Any]] = {}
    """Extra keys per provider name or type, handed to that adapter untouched."""


class Origin(msgspec.Struct, frozen=True):
    """Who sent a request, as far as rules and shares depend on it."""

    key: str | None = None
    """Name of the API key; ``None`` where none is needed."""
    headers: Mapping[str, str] = {}
    """By lower-case name."""
    priority: int = 0
    """The key's."""


@dataclass(frozen=True)
class Target:
    """One (provider, model) that can serve a public model name."""

    provider: str
    model: Model
    defaults: dict[str, Any] = field(default_factory=dict)
    """Used where the client says nothing: the file's ``defaults`` and ``models.X.defaults``."""
    params: dict[str, Any] = field(default_factory=dict)
    """Forced on this target; they win over the client's."""
    order: int = 0
    """Those of a higher order are for when those of a lower one can't serve."""
    weight: float = 1.0
    """How many times faster than it is it counts when targets are compared."""
    price: Price = FREE

    @cached_property
    def name(self) -> str:
        """``desk/sdxl``: the way to pin exactly this target, and how it is called in logs."""
        return f"{self.provider}/{self.model.id}"


class Job(msgspec.Struct, frozen=True):
    """A request in canonical terms, before a target is chosen.

    ``params`` holds only what the client said, under canonical names: strings, numbers, tuples of `Lora` and
    `Image`, never ``None``.
    """

    prompt: str
    params: dict[str, Any] = {}
    model: str | None = None
    models: tuple[str, ...] = ()
    """Models to fall back to, in this order, when ``model`` can't be served."""
    n: int = 1
    seed: int = msgspec.field(default_factory=lambda: secrets.randbits(32))
    aspect_ratio: float | None = None
    """Width divided by height, where the client gave a ratio and no size."""
    partial_images: int = 0
    strict: bool = False
    """Refuse rather than ignore what a target can't honour."""
    preferences: Preferences = Preferences()
    priority: int | None = None
    """From -3 to 3; the key's own by default, and never above it."""
    queue_timeout: float | None = None
    """Seconds within which it has to start, where the client wants it sooner than ``limits.queue_timeout``."""
    origin: Origin = Origin()
    id: str = msgspec.field(default_factory=lambda: f"img_{secrets.token_hex(12)}")

    @property
    def asked(self) -> tuple[str | None, ...]:
        """The models that it asks for, in its order; ``None`` stands for the default one."""
        return self.models if self.model is None and self.models else (self.model, *self.models)

    @property
    def urgency(self) -> int:
        """The priority that it gets: a key's is the highest that its requests may have."""
        if self.origin.key is None:
            return self.priority or 0
        return self.origin.priority if self.priority is None else min(self.priority, self.origin.priority)

    def on(self, target: Target) -> Placement:
        """The job as ``target`` would draw it."""
        params, size = {**target.defaults, **self.params, **target.params}, size_for(self, target)
        if size is None:
            return Placement(self, target, params, (target.model.width, target.model.height))
        params["width"], params["height"] = size
        return Placement(self, target, params, size)

    def seed_of(self, index: int) -> int:
        """The seed of image ``index`` (from 0), unless the target forces another."""
        return (self.seed + index) % 2**32


class Placement(msgspec.Struct, frozen=True, eq=False):
    """A job on one target: the parameters that it has there, and what follows from them."""

    job: Job
    target: Target
    params: dict[str, Any]
    """Defaults < client < forced, with the size that they make."""
    size: tuple[int, int]
    """Width and height of one image; the model's own where nobody says anything, which may be unknown: 0."""

    @property
    def said(self) -> frozenset[str]:
        """Names of what is set, by anybody; the core draws the seed."""
        drawn = ("seed", "partial_images") if self.job.partial_images else ("seed",)
        return frozenset((*self.params, *drawn))

    @property
    def seed(self) -> int:
        """Of the first image."""
        return int(self.params.get("seed", self.job.seed))

    @property
    def megapixels(self) -> float:
        """Of one image."""
        width, height = self.size
        return width * height / 1e6

    @property
    def price(self) -> float:
        """What the whole request costs, in US dollars."""
        return self.target.price.of_request(self.job.n, self.megapixels)

    @property
    def ignored(self) -> frozenset[str]:
        """What the client set and the target can't honour, or is forced to do otherwise."""
        job, known, params = self.job, self.target.model.parameters, self.params
        ignored = {name for name, value in job.params.items() if name not in known or params[name] != value}
        if "parity" in ignored and self._keeps_parity(params["parity"]):
            ignored.remove("parity")
        if job.aspect_ratio is not None:
            rounding = self.target.model.size_multiple * (1 + job.aspect_ratio)
            is_off = abs(params["width"] - params["height"] * job.aspect_ratio) > rounding
            if is_off or not {"width", "height"} <= known.keys():
                ignored.add("aspect_ratio")
        return frozenset(ignored)

    def _keeps_parity(self, wanted: Parity) -> bool:
        """The core sees to it, as far as the model is one that can be compared."""
        is_asked = self.job.params["parity"] == wanted
        return is_asked and (self.target.model.parity is not None or wanted is Parity.OFF)

    def request(self, provider_type: str) -> ImageRequest:
        """What the adapter gets to see."""
        job, options = self.job, self.job.preferences.options
        params = {"prompt": job.prompt, "seed": job.seed, **self.params}
        return ImageRequest(
            **{name: value for name, value in params.items() if name in REQUEST_FIELDS},
            model=self.target.model.id,
            n=job.n,
            partial_images=job.partial_images,
            options={**options.get(provider_type, {}), **options.get(self.target.provider, {})},
        )


def operation_of(job: Job) -> Operation:
    if job.params.get("mask") is not None:
        return Operation.INPAINT
    return Operation.EDIT if job.params.get("images") else Operation.GENERATE


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try on one target, as it is told to the client. Times are in milliseconds."""

    provider: str
    target: str
    ok: bool
    ms: float
    """From the start of the attempt to its end."""
    queue_ms: float = 0.0
    """Waiting before it."""
    reason: str | None = None
    code: str | None = None
    images: tuple[int, ...] = ()
    """Which images it was about, where a request was spread over several providers."""


class Outcome(msgspec.Struct, frozen=True):
    """What a job brought: its pictures and how they came about. Times are in milliseconds."""

    job: Job
    model: str
    target: Target
    images: tuple[Image, ...]
    seed: int
    """Of the first image, as the provider was asked for it."""
    applied: dict[str, Any]
    ignored: frozenset[str]
    attempts: tuple[Attempt, ...]
    queue_ms: float
    load_ms: float
    render_ms: float
    total_ms: float
    lost_ms: float = 0.0
    """In attempts that failed."""
    cost: float = 0.0
    """US dollars, by the prices of the configuration."""
    verdict: Verdict = UNPROVEN
    """Whether other backends would draw the same pictures."""
    notes: tuple[str, ...] = ()
    """What the provider has to say about them."""

    def seed_of(self, index: int) -> int | None:
        """The seed of image ``index`` (from 0); ``None`` where the provider goes by none, and it would promise much."""
        if "seed" in self.ignored or "seed" not in self.target.model.parameters:
            return None
        return (self.seed + index) % 2**32

    @property
    def overhead_ms(self) -> float:
        """What imagerouter itself cost: all time that was neither waiting, loading, rendering nor failing."""
        return max(0.0, self.total_ms - self.queue_ms - self.load_ms - self.render_ms - self.lost_ms)
