"""A bound workflow as a table for people."""

from __future__ import annotations

from imagerouter import Binding, Descriptor
from imagerouter_comfyui.bind.survey import written
from imagerouter_comfyui.bind.targets import Target
from imagerouter_comfyui.bind.workflow import Workflow

_SOURCES = {"file": "configuration", "title": "title", "automatic": "automatic"}
_MOST_NAMED = 4


def table(workflow: Workflow) -> list[Binding]:
    """One row a parameter: those that are written somewhere first, then the others with the reason."""
    parameters = workflow.model.parameters
    rows = [
        Binding(
            parameter=parameter,
            places=tuple(_place(workflow, target) for target in targets),
            source=_SOURCES[targets[0].source],
            detail=_limits(parameters.get(parameter), targets[0]),
        )
        for parameter, targets in workflow.bindings.items()
    ]
    rows += _inserted(workflow)
    rows.append(_outputs(workflow))
    return rows + [Binding(parameter=word, detail=reason) for word, reason in workflow.unbound.items()]


def _place(workflow: Workflow, target: Target) -> str:
    return f"{written(target.place)} ({workflow.graph[target.place[0]]['class_type']})"


def _inserted(workflow: Workflow) -> list[Binding]:
    into = workflow.inserts
    sockets = {"loras": into.model, "clip_skip": into.clip, "vae": into.vae}
    return [
        Binding(
            parameter=word,
            places=(f"behind {socket[0]} ({workflow.graph[socket[0]]['class_type']})",),
            source=_SOURCES["automatic"],
            detail="a node is added",
        )
        for word, socket in sockets.items()
        if socket is not None and word not in workflow.bindings
    ]


def _outputs(workflow: Workflow) -> Binding:
    places = tuple(f"{node} ({workflow.graph[node]['class_type']})" for node in workflow.outputs)
    return Binding(parameter="output", places=places, detail="; ".join(workflow.notes))


def _limits(descriptor: Descriptor | None, target: Target) -> str:
    parts = []
    if descriptor is not None and descriptor.type == "range":
        parts.append(f"{descriptor.min:.12g} to {descriptor.max:.12g}")
    if descriptor is not None and descriptor.values is not None:
        more = ", …" if len(descriptor.values) > _MOST_NAMED else ""
        parts.append(", ".join(descriptor.values[:_MOST_NAMED]) + more)
    if descriptor is not None and descriptor.default is not None:
        parts.append(f"default {descriptor.default}")
    if target.rule is not None:
        said = {"min": target.rule.min, "max": target.rule.max, "round_to": target.rule.round_to}
        parts += [f"{key} {value:g}" for key, value in said.items() if value is not None]
    return "; ".join(parts)
