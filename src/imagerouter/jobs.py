"""A job: one request on its way through the house, and what came of it."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imagerouter.provider import Model
from imagerouter.types import Hires, Image, ImageRequest, Lora

REQUEST_FIELDS = frozenset(ImageRequest.__struct_fields__)


class Preferences(msgspec.Struct, frozen=True, kw_only=True):
    """OpenRouter's ``provider`` object: which providers may serve this request."""

    order: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    allow_fallbacks: bool = True
    require_parameters: bool = False
    options: dict[str, dict[str, Any]] = {}
    """Extra keys per provider name or type, handed to that adapter untouched."""


@dataclass(frozen=True, slots=True)
class Target:
    """One (provider, model) that can serve a public model name."""

    provider: str
    model: Model
    defaults: dict[str, Any] = field(default_factory=dict)
    """Used where the client says nothing: the file's ``defaults`` and ``models.X.defaults``."""
    params: dict[str, Any] = field(default_factory=dict)
    """Forced on this target; they win over the client's."""

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
    id: str = field(default_factory=lambda: f"img_{secrets.token_hex(12)}")

    def params_for(self, target: Target) -> dict[str, Any]:
        """The request's parameters on one target: defaults < client < forced."""
        return {**target.defaults, **self.params, **target.params}

    def request_for(self, target: Target, provider_type: str) -> ImageRequest:
        """What the adapter of ``target`` gets to see."""
        params = self.params_for(target)
        params.setdefault("prompt", self.prompt)
        params.setdefault("seed", self.seed)
        width, height = params.get("width"), params.get("height")
        if self.aspect_ratio and not (width and height):
            width, height = size_for(self.aspect_ratio, target.model)
        options = {
            **self.preferences.options.get(provider_type, {}),
            **self.preferences.options.get(target.provider, {}),
        }
        kept = {name: coerce(name, value) for name, value in params.items() if name in REQUEST_FIELDS}
        kept.update(width=width, height=height)
        return ImageRequest(
            **kept, model=target.model.id, n=self.n, partial_images=self.partial_images, options=options
        )


def coerce(name: str, value: Any) -> Any:
    """Parameters from YAML arrive as plain lists and mappings; the request holds types."""
    if name == "loras" and isinstance(value, list | tuple):
        return tuple(item if isinstance(item, Lora) else msgspec.convert(item, Lora) for item in value)
    if name == "hires" and isinstance(value, dict):
        return msgspec.convert(value, Hires)
    return value


def size_for(aspect_ratio: float, model: Model) -> tuple[int, int]:
    """Width and height of about the model's native area in the given ratio, in multiples that it likes."""
    height = (model.width * model.height / aspect_ratio) ** 0.5
    step = model.size_multiple
    return (
        max(step, round(height * aspect_ratio / step) * step),
        max(step, round(height / step) * step),
    )


class Attempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One try on one target, as it is told to the client."""

    provider: str
    target: str
    ok: bool
    ms: float
    reason: str | None = None
    code: str | None = None


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

    @property
    def overhead_ms(self) -> float:
        """What imagerouter itself cost: all time that was neither waiting, loading nor rendering."""
        return max(0.0, self.total_ms - self.queue_ms - self.load_ms - self.render_ms)
