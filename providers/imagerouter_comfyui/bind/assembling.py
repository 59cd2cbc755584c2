"""What was found in a workflow → its recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from imagerouter import Descriptor, Model
from imagerouter_comfyui.bind import sizes
from imagerouter_comfyui.bind.automatic import Found
from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.inserts import CROP, Inserts
from imagerouter_comfyui.bind.limits import default, descriptors
from imagerouter_comfyui.bind.pictures import Pictures
from imagerouter_comfyui.bind.sizes import AXES
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.targets import Targets
from imagerouter_comfyui.bind.workflow import REPORTED, Workflow
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.graph import Graph, Place
from imagerouter_comfyui.residency import files_of

_NATIVE = 1024
_MULTIPLE = 8
"""Pixels per side of one latent pixel, in every family that has no coarser one."""

_LATER_SIZES = "`width` and `height` are the first latent's; what comes behind it may change the size"


@dataclass(frozen=True)
class Reading:
    """A workflow that has been looked through."""

    name: str
    spec: ComfyModel
    survey: Survey
    chain: Chain
    found: Found
    pictures: Pictures
    notes: tuple[str, ...] = ()

    @property
    def bindings(self) -> dict[str, Targets]:
        return {word: tuple(targets) for word, targets in self.found.targets.items()}


def assemble(reading: Reading) -> Workflow:
    survey, ends = reading.survey, reading.chain.outputs
    bindings, into = reading.bindings, _inserts(reading)
    inputs = [(node, known) for node in ends for known in survey.class_of(node).inputs.values()]
    defaults, is_final = _defaults(survey, bindings), sizes.is_final(survey, reading.chain)
    return Workflow(
        model=_model(reading, descriptors(survey, bindings, into), defaults),
        mask_as=reading.pictures.mask_as,
        files=files_of(survey.graph),
        graph=_settled(survey, reading.pictures),
        outputs=ends,
        pictures=tuple((node, known.name) for node, known in inputs if known.type == "IMAGE"),
        bindings=bindings,
        unbound={word: reason for word, reason in reading.found.reasons.items() if word not in bindings},
        inserts=into,
        prefixes=tuple((node, known.name) for node, known in inputs if known.name == "filename_prefix"),
        needed=reading.pictures.needed,
        spare=reading.pictures.spare,
        crops=is_final and CROP in survey.classes and _is_first_size(reading),
        fixed_size=reading.spec.width is not None or reading.spec.height is not None,
        defaults=defaults,
        notes=reading.notes if is_final or "width" not in bindings else (*reading.notes, _LATER_SIZES),
    )


def _inserts(reading: Reading) -> Inserts:
    """Nothing is added where there is an input for it already."""
    into, bound = reading.found.inserts, reading.found.targets
    into = replace(into, clip=None) if "clip_skip" in bound else into
    return replace(into, vae=None) if "vae" in bound else into


def _is_first_size(reading: Reading) -> bool:
    """Whether sizes are written into the first latent, whoever says so."""
    nodes = {target.place[0] for axis in AXES for target in reading.bindings.get(axis, ()) if not target.derived}
    return nodes <= {*sizes.origins(reading.survey, reading.chain)}


def _model(reading: Reading, limits: dict[str, Descriptor], defaults: dict[str, Any]) -> Model:
    return Model(
        id=reading.name,
        name=reading.name,
        operations=reading.pictures.operations,
        parameters=limits,
        width=reading.spec.width or defaults.get("width") or _NATIVE,
        height=reading.spec.height or defaults.get("height") or _NATIVE,
        size_multiple=_multiple(reading.bindings),
    )


def _multiple(bindings: dict[str, Targets]) -> int:
    """What sizes are rounded to; a server takes others and silently draws less."""
    targets = [target for axis in AXES for target in bindings.get(axis, ()) if not target.derived]
    if rules := [target.rule.round_to for target in targets if target.rule and target.rule.round_to]:
        return max(rules)
    return max([_MULTIPLE, *(int(target.input.step) for target in targets if target.input and target.input.step)])


def _defaults(survey: Survey, bindings: dict[str, Targets]) -> dict[str, Any]:
    values = {word: default(survey, bindings[word][0]) for word in REPORTED if word in bindings}
    return {word: value for word, value in values.items() if value is not None}


def _settled(survey: Survey, seen: Pictures) -> Graph:
    """The graph with what is the same for every request: one image a job, and masks that are read as they come."""
    graph = dict(survey.graph)
    settings: list[tuple[Place, Any]] = [
        ((node, "batch_size"), 1)
        for node in graph
        if "LATENT" in survey.class_of(node).outputs and survey.has_number(node, "batch_size")
    ]
    for node in (target.place[0] for target in seen.mask if seen.mask_as == "white"):
        channel = survey.input((node, "channel"))
        if channel is not None and "red" in (channel.options or ()):
            settings.append(((node, "channel"), "red"))
    for (node, name), value in settings:
        copy = graph[node].copy()
        copy["inputs"] = {**copy["inputs"], name: value}
        graph[node] = copy
    return graph
