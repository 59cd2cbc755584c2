"""What a workflow's parameters take: the limits of the inputs that they are written into."""

from __future__ import annotations

from typing import Any

from imagerouter import IMAGE, OBJECT, STRING, Descriptor, between, one_of
from imagerouter.parameters import DECLARABLE
from imagerouter_comfyui.bind.inserts import Inserts
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Target, Targets

UINT32 = 2**32 - 1
_LARGEST = 1e6
_CLIP_LAYERS = 12


def descriptors(survey: Survey, bindings: dict[str, Targets], into: Inserts) -> dict[str, Descriptor]:
    found = {name: _descriptor(survey, name, targets) for name, targets in bindings.items() if name in DECLARABLE}
    if any(name.startswith("hires.") for name in bindings):
        found["hires"] = OBJECT
    if into.model is not None:
        found["loras"] = OBJECT
    if into.clip is not None and "clip_skip" not in found:
        found["clip_skip"] = between(1, _CLIP_LAYERS, 1)
    if into.vae is not None and "vae" not in found:
        found["vae"] = STRING
    # Previews come from the server, whatever the graph.
    return {"partial_images": between(0, 3, 0), **found}


def default(survey: Survey, target: Target) -> Any:
    """The workflow's own value, in the parameter's unit; ``None`` where it is computed."""
    value = survey.value(target.place)
    if target.rule is not None and target.rule.map:
        return next((key for key, mapped in target.rule.map.items() if mapped == value), None)
    if target.input is not None and target.input.type in ("INT", "FLOAT"):
        # Servers take numbers as text, too.
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (value / target.factor if target.factor != 1.0 else value) if number else None
    return value


def _descriptor(survey: Survey, name: str, targets: Targets) -> Descriptor:
    if name in ("images", "mask"):
        return IMAGE
    if name in ("negative_prompt", "vae"):
        # Files go by several names: whether a server has one is told when it is asked for.
        return STRING
    if name == "seed":
        return between(0, UINT32)
    own = [target for target in targets if not target.derived] or list(targets)
    bare = _enum(own) if own[0].input is not None and own[0].input.type == "COMBO" else _range(name, own)
    usual = default(survey, own[0])
    return bare if usual is None or bare.refusal(usual) else _with_default(bare, usual)


def _with_default(bare: Descriptor, value: Any) -> Descriptor:
    plain = int(value) if isinstance(value, float) and value.is_integer() and bare.type == "range" else value
    return Descriptor(type=bare.type, min=bare.min, max=bare.max, values=bare.values, default=plain)


def _enum(targets: list[Target]) -> Descriptor:
    """The choices that every target has."""
    choices = [
        [*(target.rule.map if target.rule else ()), *((target.input.options or ()) if target.input else ())]
        for target in targets
    ]
    return one_of(dict.fromkeys(value for value in choices[0] if all(value in other for other in choices)))


def _range(name: str, targets: list[Target]) -> Descriptor:
    rule, given = targets[0].rule, targets[0].input
    if rule is not None and rule.map:
        numbers = (
            given is not None and given.type in ("INT", "FLOAT") and name not in ("quality", "style", "background")
        )
        return between(*_span(name, targets)) if numbers else one_of(rule.map)
    if given is None or given.type not in ("INT", "FLOAT"):
        return STRING
    return between(*_span(name, targets))


def _span(name: str, targets: list[Target]) -> tuple[float, float]:
    low, high = (0.0, 1.0) if name == "strength" else (-_LARGEST, _LARGEST)
    for target in targets:
        if target.input is not None:
            ends = (target.input.min, target.input.max)
            least, most = ends if target.factor > 0 else ends[::-1]
            low = low if least is None else max(low, least / target.factor)
            high = high if most is None else min(high, most / target.factor)
    return low, max(low, high)
