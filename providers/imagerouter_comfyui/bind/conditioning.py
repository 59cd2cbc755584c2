"""From a sampler to the texts that guide it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from imagerouter_comfyui.bind.survey import Socket, Survey
from imagerouter_comfyui.graph import Place

Role = Literal["positive", "negative"]

_ENTRIES: dict[Role, tuple[str, ...]] = {"positive": ("positive", "conditioning", "cond1"), "negative": ("negative",)}
_ZEROED = "ConditioningZeroOut"


@dataclass(frozen=True)
class Texts:
    places: tuple[Place, ...] = ()
    reason: str = ""
    """Why there are none."""


def guide(survey: Survey, sampler: str) -> str:
    """The node that has the conditioning and, mostly, the strength of guidance: the guider or the sampler itself."""
    return next((node for node in survey.walk([sampler], "GUIDER") if _entry(survey, node, "positive")), sampler)


def texts(survey: Survey, sampler: str, role: Role) -> Texts:
    entry = _entry(survey, guide(survey, sampler), role)
    if entry is None:
        return Texts(reason=f"the sampler takes no {role} conditioning")
    return _trace(survey, entry, role)


def with_input(survey: Survey, sampler: str, name: str) -> list[Place]:
    """Numbers of this name on the nodes that the sampler's positive conditioning passes, nearest first."""
    entry = _entry(survey, guide(survey, sampler), "positive")
    nodes = survey.walk([entry[0]], "CONDITIONING") if entry else []
    return [(node, name) for node in nodes if survey.has_number(node, name)]


def _entry(survey: Survey, node: str, role: Role) -> Socket | None:
    found = {name: (source, slot) for name, source, slot, _ in survey.links(node)}
    return next((found[name] for name in _ENTRIES[role] if name in found), None)


def _trace(survey: Survey, socket: Socket, role: Role) -> Texts:
    node, slot = socket
    if survey.graph[node]["class_type"] == _ZEROED:
        return Texts(reason=f"the {role} conditioning is zeroed out")
    names = survey.class_of(node).output_names
    through = names[slot] if slot < len(names) else ""
    links = [(name, (source, at)) for name, source, at, kind in survey.links(node) if kind == "CONDITIONING"]
    # A node that passes on two conditionings calls its outputs like its inputs.
    links = [found for found in links if found[0] == through] or links
    reason = ""
    for _, source in links:
        found = _trace(survey, source, role)
        if found.places:
            return found
        reason = reason or found.reason
    own = survey.texts(node, negative=role == "negative")
    return Texts(tuple(own), "" if own else reason or f"no text input leads to the {role} conditioning")
