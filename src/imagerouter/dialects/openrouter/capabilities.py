"""What a model takes, in OpenRouter's three kinds of descriptors: ``enum``, ``range`` and ``boolean``.

A parameter that isn't there is not honoured; ``boolean`` says no more than that it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from imagerouter.config import Limits
from imagerouter.openai.sizes import TIERS
from imagerouter.parameters import Descriptor
from imagerouter.provider import Model

Capability = dict[str, Any]

YES: Capability = {"type": "boolean"}
RATIOS = (
    "1:1 1:2 1:4 1:8 2:1 2:3 2.35:1 3:2 3:4 4:1 4:3 4:5 5:2 5:4 5:7 7:5 8:1 9:16 16:9 9:19.5 19.5:9 9:20 20:9 9:21 "
    "21:9 auto"
).split()
"""Those that OpenRouter's clients know; any other one from 1:16 to 16:1 is taken as well."""
MOST_PICTURES = 16
_NAMES = {"images": "input_references"}


def capabilities(model: Model, limits: Limits) -> dict[str, Capability]:
    """Everything that a request for this model may hold, by name."""
    declared = {_NAMES.get(name, name): _capability(told) for name, told in model.parameters.items()}
    if "images" in model.parameters:
        declared["input_references"] = _range(0, MOST_PICTURES)
    return {**_sizes(model, limits), **declared, **_everywhere(limits)}


def union(several: Iterable[Mapping[str, Capability]]) -> dict[str, Capability]:
    """What at least one of several targets takes."""
    found: dict[str, Capability] = {}
    for each in several:
        for name, told in each.items():
            found[name] = _either(found[name], told) if name in found else told
    return found


def _capability(told: Descriptor) -> Capability:
    if told.type == "range" and told.min is not None and told.max is not None:
        return _range(told.min, told.max)
    if told.type == "enum" and told.values:
        return _enum(told.values)
    return YES


def _range(least: float, most: float) -> Capability:
    return {"type": "range", "min": least, "max": most}


def _enum(values: Iterable[str]) -> Capability:
    return {"type": "enum", "values": list(values)}


def _sizes(model: Model, limits: Limits) -> dict[str, Capability]:
    if not {"width", "height"} <= model.parameters.keys():
        return {}
    sides = [model.parameters[name] for name in ("width", "height")]
    fitting = [
        name
        for name, side in TIERS.items()
        if side**2 <= limits.max_pixels and side <= limits.max_side and not any(told.refusal(side) for told in sides)
    ]
    tiers = {"resolution": _enum(fitting)} if fitting else {}
    return {"size": YES, **tiers, "aspect_ratio": _enum(RATIOS)}


def _everywhere(limits: Limits) -> dict[str, Capability]:
    """What imagerouter does itself, whoever draws."""
    return {
        "n": _range(1, limits.max_n),
        "output_format": _enum(("png", "jpeg", "webp")),
        "output_compression": _range(0, 100),
    }


def _either(one: Capability, other: Capability) -> Capability:
    match one, other:
        case {"type": "range"}, {"type": "range"}:
            return _range(min(one["min"], other["min"]), max(one["max"], other["max"]))
        case {"type": "enum"}, {"type": "enum"}:
            return _enum(dict.fromkeys((*one["values"], *other["values"])))
    return YES
