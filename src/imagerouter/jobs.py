"""A job: one request on its way through the house, and what came of it."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from imagerouter.provider import Model
from imagerouter.routing.prices import FREE, Price
from imagerouter.types import Image, ImageRequest, Operation

REQUEST_FIELDS = frozenset(ImageRequest.__struct_fields__)
LONGEST_SIDE = 2**16
"""Where a model declares no limit."""


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


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent a request, as far as rules and shares depend on it."""

    key: str | None = None
    """Name of the API key; ``None`` where none is needed."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    priority: int = 0
    """The key's."""


@dataclass(frozen=True, slots=True)
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

    @property
    def name(self) -> str:
        """``desk/sdxl``: the way to pin exactly this target, and how it is called in logs."""
        return f"{self.provider}/{self.model.id}"


@dataclass(frozen=True, slots=True)
class Job:
    """A request in canonical terms, before a target is chosen.

    ``params`` holds only what the client said, under canonical names: strings, numbers, tuples of `Lora` and
    `Image`, never ``None``.
    """

    prompt: str
    params: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    models: tuple[str, ...] = ()
    """Models to fall back to, in this order, when ``model`` can't be served."""
    n: int = 1
    seed: int = field(default_factory=lambda: secrets.randbits(32))
    aspect_ratio: float | None = None
    """Width divided by height, where the client gave a ratio and no size."""
    partial_images: int = 0
    strict: bool = False
    """Refuse rather than ignore what a target can't honour."""
    preferences: Preferences = field(default_factory=Preferences)
    priority: int | None = None
    """From -3 to 3; the key's own by default, and never above it."""
    queue_timeout: float | None = None
    """Seconds within which it has to start, where the client wants it sooner than ``limits.queue_timeout``."""
    origin: Origin = field(default_factory=Origin)
    id: str = field(default_factory=lambda: f"img_{secrets.token_hex(12)}")

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

    def size_on(self, target: Target) -> tuple[int, int]:
        """Width and height of one image there; the model's own where nobody says anything, which may be unknown: 0."""
        params = self.params_for(target)
        return params.get("width", target.model.width), params.get("height", target.model.height)

    def megapixels_on(self, target: Target) -> float:
        """Of one image."""
        width, height = self.size_on(target)
        return width * height / 1e6

    def price_on(self, target: Target) -> float:
        """What the whole request costs there, in US dollars."""
        return target.price.of_request(self.n, self.megapixels_on(target))

    def seed_of(self, index: int) -> int:
        """The seed of image ``index`` (from 0), unless the target forces another."""
        return (self.seed + index) % 2**32

    def params_for(self, target: Target) -> dict[str, Any]:
        """The request's parameters on one target: defaults < client < forced, with the size that they make."""
        params = {**target.defaults, **self.params, **target.params}
        if (size := size_for(self, target)) is not None:
            params["width"], params["height"] = size
        return params

    def ignored_on(self, target: Target) -> frozenset[str]:
        """What the client set and ``target`` can't honour, or is forced to do otherwise."""
        known, params = target.model.parameters, self.params_for(target)
        ignored = {name for name, value in self.params.items() if name not in known or params[name] != value}
        if self.aspect_ratio is not None:
            rounding = target.model.size_multiple * (1 + self.aspect_ratio)
            is_off = abs(params["width"] - params["height"] * self.aspect_ratio) > rounding
            if is_off or not {"width", "height"} <= known.keys():
                ignored.add("aspect_ratio")
        return frozenset(ignored)

    def request_for(self, target: Target, provider_type: str) -> ImageRequest:
        """What the adapter of ``target`` gets to see."""
        params = self.params_for(target)
        params.setdefault("prompt", self.prompt)
        params.setdefault("seed", self.seed)
        options = {
            **self.preferences.options.get(provider_type, {}),
            **self.preferences.options.get(target.provider, {}),
        }
        kept = {name: value for name, value in params.items() if name in REQUEST_FIELDS}
        return ImageRequest(
            **kept, model=target.model.id, n=self.n, partial_images=self.partial_images, options=options
        )


def operation_of(job: Job) -> Operation:
    if job.params.get("mask") is not None:
        return Operation.INPAINT
    return Operation.EDIT if job.params.get("images") else Operation.GENERATE


def size_for(job: Job, target: Target) -> tuple[int, int] | None:
    """The size of the job's pictures on ``target``, or ``None`` if nobody says anything about it.

    Forced sides come first, then the client's size, then its ratio, then the defaults. A ratio keeps the area
    of the default size, or of the model's native one; a side that nobody gives follows from the ratio.
    """
    model = target.model
    ratio = job.aspect_ratio or _native_ratio(model)
    if "width" in job.params or "height" in job.params:
        width, height = _sides(job.params)
    elif job.aspect_ratio is not None:
        width, height = None, None
    else:
        width, height = _sides(target.defaults)
    forced = _sides(target.params)
    width, height = forced[0] or width, forced[1] or height
    if width or height:
        width = width or _fit((height or 0) * ratio, "width", model)
        return width, height or _fit(width / ratio, "height", model)
    return None if job.aspect_ratio is None else _shaped(ratio, target)


def _sides(params: Mapping[str, Any]) -> tuple[int | None, int | None]:
    return params.get("width"), params.get("height")


def _native_ratio(model: Model) -> float:
    # An adapter that knows no size may well report zeros; that should not end the planning of every job.
    return model.width / model.height if model.width > 0 < model.height else 1.0


def _shaped(ratio: float, target: Target) -> tuple[int, int]:
    """A size in the given ratio, grown or shrunk into the ranges that the model declares."""
    model = target.model
    usual, native = _sides(target.defaults), _native_ratio(model)
    wide = usual[0] or (usual[1] or model.height or 1) * native
    height = (wide * (usual[1] or wide / native) / ratio) ** 0.5
    width = height * ratio
    (least_wide, most_wide), (least_high, most_high) = _range("width", model), _range("height", model)
    scale = min(max(1, least_wide / width, least_high / height), most_wide / width, most_high / height)
    return _fit(width * scale, "width", model), _fit(height * scale, "height", model)


def _fit(pixels: float, name: str, model: Model) -> int:
    """The nearest multiple that the model likes, within the range that it declares for that side."""
    least, most = _range(name, model)
    step = model.size_multiple
    return max(1, min(max(round(pixels / step), math.ceil(least / step)), int(most // step))) * step


def _range(name: str, model: Model) -> tuple[float, float]:
    descriptor = model.parameters.get(name)
    if descriptor is None:
        return 1, LONGEST_SIDE
    return descriptor.min or 1, descriptor.max or LONGEST_SIDE


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job brought: its pictures and how they came about. Times are in milliseconds."""

    job: Job
    model: str
    target: Target
    images: tuple[Image, ...]
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

    def seed_of(self, index: int) -> int:
        """The seed of image ``index`` (from 0)."""
        seed = self.job.params_for(self.target).get("seed", self.job.seed)
        return int((seed + index) % 2**32)

    @property
    def overhead_ms(self) -> float:
        """What imagerouter itself cost: all time that was neither waiting, loading, rendering nor failing."""
        return max(0.0, self.total_ms - self.queue_ms - self.load_ms - self.render_ms - self.lost_ms)
