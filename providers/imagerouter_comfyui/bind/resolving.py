"""Workflow file and configuration → bound workflow, with everything that is wrong said at once."""

from __future__ import annotations

from imagerouter import Operation
from imagerouter_comfyui.bind import chosen, sampling
from imagerouter_comfyui.bind.assembling import Reading, assemble
from imagerouter_comfyui.bind.automatic import Found, automatic, note_pictures
from imagerouter_comfyui.bind.chain import chain, outputs, pruned
from imagerouter_comfyui.bind.pictures import pictures
from imagerouter_comfyui.bind.problems import broken, localised, missing
from imagerouter_comfyui.bind.survey import Survey
from imagerouter_comfyui.bind.workflow import Workflow
from imagerouter_comfyui.config import ComfyModel
from imagerouter_comfyui.graph import Graph, Place, WorkflowError
from imagerouter_comfyui.nodes import NodeClasses


def check(graph: Graph, spec: ComfyModel) -> dict[str, list[str]]:
    """What is wrong with a workflow in API format and its bindings, as far as that shows without a server.

    Returns problems by the key of the configuration that they are about: `workflow`, `outputs` or `bindings`.
    """
    outputs, bindings = list(chosen.misplaced_outputs(graph, spec)), list(chosen.misplaced_bindings(graph, spec))
    found = {"workflow": list(broken(graph)), "outputs": outputs, "bindings": bindings}
    return {key: problems for key, problems in found.items() if problems}


def resolve(name: str, graph: Graph, classes: NodeClasses, spec: ComfyModel) -> Workflow:
    """Bind a workflow. Raises `WorkflowError` with everything that is wrong.

    :param classes: at least those of the graph's nodes, and of the nodes that may be added (`inserts`).
    """
    workflow, problems = inspect(name, graph, classes, spec)
    if problems:
        raise WorkflowError(*problems)
    return workflow


def inspect(name: str, graph: Graph, classes: NodeClasses, spec: ComfyModel) -> tuple[Workflow, list[str]]:
    """The workflow as far as it can be bound, and what keeps it from being used.

    Raises `WorkflowError` if nothing can be said: there are links that lead nowhere, or no output.
    """
    if lines := list(broken(graph)):
        raise WorkflowError(*lines)
    problems: list[str] = []
    whole = Survey(graph, classes)
    ends, notes = _outputs(whole, spec)
    survey = Survey(pruned(graph, whole, ends), classes)
    survey = Survey(localised(survey), classes)
    way = chain(survey, ends)
    found = automatic(survey, way)
    _override(found, chosen.titled(whole, survey, problems))
    _override(found, chosen.configured(survey, spec, problems))
    seen = pictures(survey, way, found.targets.get("images", []), found.targets.get("mask", []))
    note_pictures(seen, found)
    _derive(survey, found)
    workflow = assemble(Reading(name, spec, survey, way, found, seen, notes))
    problems += missing(survey, _always(found))
    if "prompt" not in found.targets and Operation.GENERATE in workflow.model.operations:
        problems.append(f"nothing takes the prompt ({found.reasons['prompt']}); name an input in `bindings`")
    return workflow, problems


def _outputs(whole: Survey, spec: ComfyModel) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Nodes whose pictures are the result, and what to say about others."""
    if unknown := [node for node in spec.outputs if node not in whole.graph]:
        raise WorkflowError(*(chosen.no_output(whole.graph, node) for node in unknown))
    if ends := spec.outputs or chosen.outputs_by_title(whole.graph):
        return tuple(ends), ()
    if not (ends := outputs(whole)):
        raise WorkflowError("no node saves a picture; add a `SaveImage`, or name the node in `outputs`")
    others = [whole.label(node) for node in ends[1:]]
    note = f"{', '.join(others)} would save pictures too; `outputs` or `@output` says which one is meant"
    return tuple(ends[:1]), (note,) if others else ()


def _override(found: Found, by: chosen.Chosen) -> None:
    for parameter, targets in by.items():
        found.targets[parameter] = targets
        found.reasons.pop(parameter, None)


def _derive(survey: Survey, found: Found) -> None:
    """Inputs that depend on others, wherever those are bound."""
    steps = found.targets.get("steps", [])
    if steps and all(target.source == "automatic" for target in steps):
        taken = {target.place for targets in found.targets.values() for target in targets}
        found.targets["steps"] = [*steps, *(t for t in sampling.parts(survey, steps) if t.place not in taken)]


def _always(found: Found) -> set[Place]:
    """Inputs that every request writes; what they hold in the file doesn't matter."""
    words = ("prompt", "seed", "images", "mask")
    return {target.place for word in words for target in found.targets.get(word, ())}
