"""The size of a job's pictures on a target, from what the client, the configuration and the model say. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from imagerouter.provider import Model

if TYPE_CHECKING:
    from imagerouter.jobs import Job, Target

LONGEST_SIDE = 2**16
"""Where a model declares no limit."""


def size_for(job: Job, target: Target) -> tuple[int, int] | None:
    """The size of the job's pictures on ``target``, or ``None`` if nobody says anything about it.

    Forced sides come first, then the client's size, then its ratio, then the defaults. A ratio keeps the area
    of the default size, or of the model's native one; a side that nobody gives follows from the ratio.
    """
    if "width" in job.params or "height" in job.params:
        said = job.params
    else:
        said = target.defaults if job.aspect_ratio is None else {}
    width = target.params.get("width") or said.get("width")
    height = target.params.get("height") or said.get("height")
    if width and height:
        return width, height
    ratio = job.aspect_ratio or _native_ratio(target.model)
    if width:
        return width, _fit(width / ratio, "height", target.model)
    if height:
        return _fit(height * ratio, "width", target.model), height
    return None if job.aspect_ratio is None else _shaped(ratio, target)


def _native_ratio(model: Model) -> float:
    # An adapter that knows no size may well report zeros; that should not end the planning of every job.
    return model.width / model.height if model.width > 0 < model.height else 1.0


def _shaped(ratio: float, target: Target) -> tuple[int, int]:
    """A size in the given ratio, grown or shrunk into the ranges that the model declares."""
    model, native = target.model, _native_ratio(target.model)
    usual_width, usual_height = target.defaults.get("width"), target.defaults.get("height")
    wide = usual_width or (usual_height or model.height or 1) * native
    height = (wide * (usual_height or wide / native) / ratio) ** 0.5
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
