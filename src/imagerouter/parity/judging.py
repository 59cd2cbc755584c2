"""How near a request's pictures are to those of other backends, and by which key that holds. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from imagerouter import names
from imagerouter.images import dimensions
from imagerouter.jobs import Target
from imagerouter.parity import prompts
from imagerouter.parity.measured import Measured
from imagerouter.parity.profile import MULTIPLE, PROFILES, why
from imagerouter.parity.verdict import OFF, UNPROVEN, Verdict, worst
from imagerouter.provider import Model, Reproducible
from imagerouter.routing.identity import difference
from imagerouter.types import ImageRequest, Operation, Parity, Tier

_PLAIN = frozenset({"fp32"})
_UNSURE = ("sampler.", "scheduler.", "ignored.")
"""Features that are exact only where somebody says so."""
_INDIFFERENT = frozenset({"background", "partial_images", "quality", "style"})
"""Parameters that change no picture of the models in question."""
_KEY_DIGITS = 16
_HASH_DIGITS = 10
"""Of a file; some backends tell no more."""


def judge(
    request: ImageRequest,
    target: Target,
    siblings: Sequence[Target],
    *,
    applied: Mapping[str, Any] | None = None,
    measured: Measured | None = None,
) -> Verdict:
    """What can be promised of ``request`` on ``target``.

    :param siblings: all targets of the public model, which may know more of the file than this one.
    :param applied: what the backend says that it used; before it has drawn, the model's own defaults are expected.
    """
    known = target.model.parity
    if request.parity is Parity.OFF:
        return OFF
    if known is None or known.profile not in PROFILES:
        return UNPROVEN
    found = measured.tiers_of(target) if measured is not None else {}
    tiers = {**PROFILES[known.profile].tiers, **known.tiers, **found}
    judged = [(feature, _tier(tiers, feature)) for feature in features(request, target.model, known, applied or {})]
    tier = worst([each for _, each in judged])
    # What is worst is told first.
    faults = [why(feature) for wanted in (Tier.NONE, Tier.CLOSE) for feature, each in judged if each is wanted]
    reasons = tuple(dict.fromkeys(reason for _, reason in faults))
    key = None if tier is Tier.NONE else key_of(target, siblings, vae=request.vae, measured=measured)
    return Verdict(tier, key, reasons, faults[0][0] if faults else None)


def _tier(tiers: Mapping[str, Tier], feature: str) -> Tier:
    return tiers.get(feature, Tier.NONE if feature.startswith(_UNSURE) else Tier.EXACT)


def features(request: ImageRequest, model: Model, known: Reproducible, applied: Mapping[str, Any]) -> Iterator[str]:
    """What of a request matters for its picture being the same elsewhere."""

    def used(name: str) -> Any:
        value = applied.get(name)
        value = getattr(request, name) if value is None else value
        descriptor = model.parameters.get(name)
        return value if value is not None or descriptor is None else descriptor.default

    sampler, scheduler, steps = used("sampler"), used("scheduler"), used("steps")
    for kind, name in (("sampler", sampler), ("scheduler", scheduler)):
        if name is not None:
            yield f"{kind}.{name}"
            if request.operation is not Operation.GENERATE:
                yield f"{request.operation}.{name}"
    if scheduler == "normal" and steps is not None and steps % 2:
        yield "odd_steps"
    if (cfg_scale := used("cfg_scale")) is not None and cfg_scale < 1:
        yield "cfg_below_1"
    if any(side % MULTIPLE for side in _sides(request, model, applied)):
        yield "size"
    yield from _means(request)
    yield from (f"ignored.{name}" for name in request.parameters - model.parameters.keys() - _INDIFFERENT)
    yield from dict.fromkeys((*prompts.features(request.prompt), *prompts.features(request.negative_prompt or "")))
    if known.dtype not in _PLAIN:
        yield known.dtype or "dtype"


def _sides(request: ImageRequest, model: Model, applied: Mapping[str, Any]) -> tuple[int, int]:
    """Of one image, in pixels; an edit without a size keeps that of its input."""
    usual = (dimensions(request.images[0]) if request.images else None) or (model.width, model.height)
    width, height = (applied.get(name) or getattr(request, name) for name in ("width", "height"))
    return width or usual[0], height or usual[1]


def _means(request: ImageRequest) -> Iterator[str]:
    """What a request brings besides its prompt and numbers."""
    if request.operation is not Operation.GENERATE:
        yield str(request.operation)
    for name in ("hires", "loras", "vae", "options"):
        if getattr(request, name):
            yield name
    if request.clip_skip is not None and request.clip_skip > 1:
        yield "clip_skip"


def key_of(
    target: Target, siblings: Sequence[Target], *, vae: str | None = None, measured: Measured | None = None
) -> str:
    """The reproducibility key: of targets that share it, a request's pictures are promised to be the same.

    It is made of the profile and its version, the checkpoint, the VAE and the precision; targets that were measured
    to draw the same share the key of the first of them.
    """
    first = measured.first_like(target, siblings) if measured is not None else target
    known = first.model.parity
    assert known is not None
    parts = (
        known.profile,
        PROFILES[known.profile].version,
        _checkpoint(first, siblings),
        names.stem(vae or known.vae).casefold(),
        known.dtype or first.name,
    )
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:_KEY_DIGITS]


def _checkpoint(target: Target, siblings: Sequence[Target]) -> str:
    """What tells the file from others: its hash, which a sibling of the same size may know, its size, or its place."""
    model = target.model
    for each in (target, *siblings):
        known = each.model
        is_same = known is model or (0 < model.file_size == known.file_size and difference(known, model) is None)
        if is_same and len(known.sha256) >= _HASH_DIGITS:
            return known.sha256[:_HASH_DIGITS].casefold()
    if model.file_size:
        return f"{names.stem(model.id).casefold()} {model.file_size}"
    return target.name
