"""Drawing one small set of requests on every target of a model, and comparing the pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import combinations
from typing import Any

from PIL import Image as Pillow
from PIL import ImageChops, ImageStat

from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.images import dimensions, png
from imagerouter.jobs import Target
from imagerouter.parity.measured import Measurement, fingerprint
from imagerouter.parity.profile import MULTIPLE, PROFILES
from imagerouter.routing.catalogue import PublicModel
from imagerouter.types import Image, Operation, Tier

EXACT_DB, CLOSE_DB = 60.0, 45.0
"""Peak signal-to-noise ratio from which pictures count as the same, and as nearly the same."""
SAME_DB = 99.0
"""Stands for no difference at all."""
BASE = "base"
"""The case that everything else is a change of; what draws it alike is taken for the same model."""
_PROMPT = "a red apple on a wooden table, soft light from a window"
_LONG = ", ".join(["an old stone house by the sea at dusk"] * 12)


@dataclass(frozen=True, slots=True)
class Case:
    """One request, and the feature of `imagerouter.parity.profile` that it is about."""

    feature: str
    fields: Mapping[str, Any]
    operation: Operation = Operation.GENERATE

    def fits(self, target: Target) -> bool:
        """Whether the target can do it, and takes each of its parameters."""
        known = target.model.parameters
        wanted = [(name, value) for name, value in self.fields.items() if name != "prompt"]
        is_taken = all(name in known and known[name].refusal(value) is None for name, value in wanted)
        return is_taken and self.operation in target.model.operations


CASES = (
    Case(BASE, {"sampler": "dpmpp_2m", "scheduler": "karras"}),
    *(
        Case(f"sampler.{name}", {"sampler": name, "scheduler": "karras"})
        for name in "euler heun dpm_2 lms euler_ancestral dpmpp_sde dpmpp_2m_sde".split()
    ),
    Case("sampler.ddim", {"sampler": "ddim", "scheduler": "ddim_uniform"}),
    *(Case(f"scheduler.{name}", {"sampler": "dpmpp_2m", "scheduler": name}) for name in ("normal", "exponential")),
    Case("clip_skip", {"clip_skip": 2}),
    Case("weights", {"prompt": "a (red:1.3) apple on a (wooden:0.7) table"}),
    Case("long_prompt", {"prompt": _LONG}),
    Case("edit", {"strength": 0.5}, Operation.EDIT),
    Case("inpaint", {"strength": 0.75}, Operation.INPAINT),
)


@dataclass(slots=True)
class Checked:
    """What was drawn for one model, and how far it agrees."""

    model: str
    targets: tuple[Target, ...]
    decibels: dict[str, dict[tuple[str, str], float]] = field(default_factory=dict)
    """Feature → pair of targets → peak signal-to-noise ratio."""
    failures: dict[tuple[str, str], str] = field(default_factory=dict)
    """(Feature, target) → why nothing was drawn."""

    def tier(self, feature: str, target: str) -> Tier | None:
        """By the target that agrees best with it; ``None`` where it wasn't compared with any."""
        found = [decibels for pair, decibels in self.decibels.get(feature, {}).items() if target in pair]
        return tier_of(max(found)) if found else None

    def first_like(self, target: str) -> str:
        """The first target that draws the base case as this one does, through others if need be."""
        like = {target}
        same = [pair for pair, decibels in self.decibels.get(BASE, {}).items() if decibels >= EXACT_DB]
        while more := {name for pair in same if like & set(pair) for name in pair} - like:
            like |= more
        return next(each.name for each in self.targets if each.name in like)

    def measurements(self, config: Config) -> dict[str, Measurement]:
        """What is to be kept, by target."""
        return {target.name: self._measurement(target, config) for target in self.targets}

    def _measurement(self, target: Target, config: Config) -> Measurement:
        model, known = target.model, target.model.parity
        assert known is not None
        # What the plain case says, it says of its sampler, its scheduler and the precision as well.
        plain = dict.fromkeys(("sampler.dpmpp_2m", "scheduler.karras", known.dtype or "dtype"), BASE)
        about = plain | {each.feature: each.feature for each in CASES if each.feature != BASE}
        tiers = {feature: self.tier(case, target.name) for feature, case in about.items()}
        return Measurement(
            provider=fingerprint(config.providers[target.provider]),
            version=PROFILES[known.profile].version,
            dtype=known.dtype,
            sha256=model.sha256,
            file_size=model.file_size,
            like=self.first_like(target.name),
            tiers={feature: tier for feature, tier in tiers.items() if tier is not None},
        )


def tier_of(decibels: float) -> Tier:
    if decibels >= EXACT_DB:
        return Tier.EXACT
    return Tier.CLOSE if decibels >= CLOSE_DB else Tier.NONE


def comparable(model: PublicModel) -> tuple[Target, ...]:
    """The targets of a model that say of themselves that they can be compared, those that can be used."""
    found = (each for each in model.targets if each.model.parity is not None and not each.model.problem)
    return tuple(each for each in found if each.model.parity and each.model.parity.profile in PROFILES)


async def check(
    engine: Engine,
    model: PublicModel,
    *,
    steps: int,
    size: int | None = None,
    tell: Callable[[str, str], None] = lambda *_: None,
) -> Checked:
    """Draw every case on every target, one at a time, and compare.

    :param size: pixels of a side; by default the model's own.
    :param tell: called with the feature and the target that come next.
    """
    checked = Checked(model.name, comparable(model))
    source: Image | None = None
    for case in CASES:
        drawn: dict[str, Image] = {}
        for target in checked.targets:
            if not case.fits(target):
                continue
            tell(case.feature, target.name)
            try:
                fields = {**_fields(target, steps, size), **case.fields}
                drawn[target.name] = await _draw(engine, fields, _inputs(case.operation, source))
            except ImageRouterError as error:
                checked.failures[case.feature, target.name] = error.message
        if case.feature == BASE:
            source = next(iter(drawn.values()), None)
        checked.decibels[case.feature] = compared(drawn)
    return checked


def _fields(target: Target, steps: int, size: int | None) -> dict[str, Any]:
    model = target.model
    sides = (size, size) if size else (model.width, model.height)
    width, height = (max(MULTIPLE, side // MULTIPLE * MULTIPLE) for side in sides)
    return {
        "model": target.name,
        "prompt": _PROMPT,
        "negative_prompt": "blurry",
        "seed": 20_260,
        "steps": steps,
        "width": width,
        "height": height,
        "cfg_scale": 7.0,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
        "parity": "best_effort",
        "output_format": "png",
        "provider": {"allow_fallbacks": False},
    }


def _inputs(operation: Operation, source: Image | None) -> dict[str, Image]:
    """The pictures that go with a case: what the base case gave, and a mask over its left half."""
    if operation is Operation.GENERATE or source is None:
        return {}
    if operation is Operation.EDIT:
        return {"images": source}
    width, height = dimensions(source) or (0, 0)
    mask = Pillow.new("L", (width, height))
    mask.paste(255, (0, 0, width // 2 // MULTIPLE * MULTIPLE or width // 2, height))
    return {"images": source, "mask": Image(data=png(mask))}


async def _draw(engine: Engine, fields: dict[str, Any], pictures: dict[str, Image]) -> Image:
    call = await engine.understand({**fields, **{name: name for name in pictures}}, pictures=pictures)
    return (await engine.run(call)).images[0]


def compared(drawn: Mapping[str, Image]) -> dict[tuple[str, str], float]:
    """Each pair's ratio in dB; of pictures of unlike sizes 0."""
    opened = {name: Pillow.open(BytesIO(image.data)).convert("RGB") for name, image in drawn.items()}
    return {pair: decibels(opened[pair[0]], opened[pair[1]]) for pair in combinations(opened, 2)}


def decibels(one: Pillow.Image, other: Pillow.Image) -> float:
    """Peak signal-to-noise ratio of two pictures of 8 bits a channel."""
    if one.size != other.size:
        return 0.0
    squares: Sequence[float] = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    mean = sum(squares) / (one.width * one.height * len(squares))
    return min(SAME_DB, 10 * math.log10(255**2 / mean)) if mean else SAME_DB
