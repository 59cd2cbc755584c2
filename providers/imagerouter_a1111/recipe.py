"""The shapes that the rooms of this adapter hand to each other: what a server has, a model, and an order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from imagerouter import Image, ImageRequest, Model, ProgressSink
from imagerouter.canvas import Size
from imagerouter.families import Traits
from imagerouter_a1111.config import A1111Model
from imagerouter_a1111.dialects import Dialect

if TYPE_CHECKING:
    from imagerouter_a1111.samplers import Samplers


@dataclass(frozen=True)
class Checkpoint:
    """One row of ``/sdapi/v1/sd-models``."""

    title: str
    """Unique; ends with the short hash in brackets once that is known."""
    name: str
    """``model_name``: what the server accepts for it, without ending."""
    file: str
    """Its file relative to the folder of checkpoints, with ``/``; the native id of the model."""
    hash: str = ""
    """The first ten digits of ``sha256``."""
    sha256: str = ""
    """Both are empty until the server has hashed the file, at the first load."""


@dataclass(frozen=True)
class Sampler:
    """How the server writes a canonical sampler, or a pair of sampler and scheduler."""

    label: str
    scheduler: str | None = None
    """What goes into the field or the setting for the scheduler; ``None`` where ``label`` says it all."""


@dataclass(frozen=True)
class Stock:
    """One look at a server."""

    dialect: Dialect
    fields: frozenset[str]
    """Fields that its requests have (both routes together); empty where it doesn't describe them."""
    routes: frozenset[str]
    """Paths that it serves; empty where it doesn't tell."""
    settings: Mapping[str, Any]
    """``/sdapi/v1/options``, as its owner has them, when they were last read; ``defaults`` included."""
    checkpoints: tuple[Checkpoint, ...] = ()
    samplers: tuple[Mapping[str, Any], ...] = ()
    """Rows of ``/sdapi/v1/samplers``: ``name``, ``aliases``, ``options``."""
    schedulers: tuple[Mapping[str, Any], ...] = ()
    """Rows of ``/sdapi/v1/schedulers``: ``name``, ``label``, ``aliases``; empty before 1.9."""
    vaes: tuple[str, ...] = ()
    """Names that `Dialect.vae_setting` takes: VAEs, and with Forge text encoders too."""
    loras: Mapping[str, str] = field(default_factory=dict)
    """Every name by which a LoRA may be asked for → the name that the server takes (for sd.cpp its path)."""
    upscalers: tuple[str, ...] = ()
    """For a second pass, ``Latent`` and its like included."""
    scripts: frozenset[str] = frozenset()
    """Scripts that can be given with ``alwayson_scripts``, in lower case."""
    styles: frozenset[str] | None = None
    """Names of ``/sdapi/v1/prompt-styles``; ``None`` where the server doesn't tell."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Settings that the server has, but doesn't list before they are changed for the first time."""
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    """sd.cpp: ``/sdcpp/v1/capabilities``."""
    dtype: str = ""
    """What it computes in: ``fp32``, ``fp16`` or ``bf16``; empty where that isn't known."""

    @cached_property
    def choices(self) -> Samplers:
        """`samplers` and `schedulers` in canonical names."""
        from imagerouter_a1111.samplers import Samplers

        return Samplers(self)

    @property
    def has_task_ids(self) -> bool:
        """Whether a job can be found again by the id that we gave it. Without its user interface a server has none."""
        return self.dialect.has_task_ids and "/internal/progress" in self.routes and "force_task_id" in self.fields

    def knows_setting(self, name: str) -> bool:
        """A setting that isn't known makes the whole request fail (``opts.set`` raises ``KeyError``)."""
        return name in self.settings


@dataclass(frozen=True)
class Recipe:
    """A model, and how it is drawn."""

    model: Model
    checkpoint: Checkpoint
    entry: A1111Model
    traits: Traits


@dataclass(frozen=True)
class SecondPass:
    """A1111's "hires fix"; sizes in pixels of the canvas."""

    width: int
    height: int
    steps: int
    strength: float
    upscaler: str
    """As the server spells it."""


class Order(msgspec.Struct, frozen=True):
    """A request with nothing left open, in the server's own names. Made by `orders.settle`."""

    request: ImageRequest
    recipe: Recipe
    size: Size
    """Of the picture that is delivered (second pass included not), and of the canvas that is drawn."""
    steps: int
    cfg_scale: float
    guidance: float | None
    sampler: Sampler
    strength: float | None
    """``None`` for text to image."""
    clip_skip: int | None
    """``None``: not said by anybody; the owner's setting stays."""
    vae: str | None
    loras: tuple[tuple[str, float], ...]
    """Names as the server takes them, and weights."""
    hires: SecondPass | None
    picture: str | None = None
    """Base64 of the input picture, of the canvas's size."""
    mask: str | None = None
    """Base64 of a grey PNG of the canvas's size, white where to repaint."""
    options: Mapping[str, Any] = {}
    """Checked ``provider.options``: further fields of the server's request."""
    ignored: frozenset[str] = frozenset()
    applied: Mapping[str, Any] = {}


class Drawn(msgspec.Struct, frozen=True):
    """What one job of the server made."""

    images: tuple[Image, ...]
    """In the order of their seeds; of the canvas's size."""
    load_seconds: float = 0.0


class Press(Protocol):
    """How a server is made to draw: the family's common routes, or stable-diffusion.cpp's own."""

    async def run(self, order: Order, stock: Stock, seeds: range, progress: ProgressSink) -> Drawn:
        """Draw one image per seed. Cancelling the call stops the job, if it can be told from other people's.

        Raises classes of `imagerouter.errors`.
        """
        ...

    async def aclose(self) -> None:
        """Wait, within bounds, for what goes on in the background."""
        ...
