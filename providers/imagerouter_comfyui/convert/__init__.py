"""From ComfyUI's editor format to its API format. Pure: the node classes of the server are an argument."""

from __future__ import annotations

from typing import Any

from imagerouter_comfyui.convert import editor
from imagerouter_comfyui.convert.fields import custom_index, fields
from imagerouter_comfyui.convert.pruning import lacking, prune
from imagerouter_comfyui.convert.scopes import Held, Literal, Scope, scope
from imagerouter_comfyui.graph import Graph, Node, WorkflowError
from imagerouter_comfyui.nodes import NodeClasses

__all__ = ["class_names", "convert"]


def class_names(workflow: dict[str, Any]) -> frozenset[str]:
    """The node classes that a workflow in editor format needs of a server, those inside of subgraphs included."""
    return frozenset(node.type for _, node in _open(workflow).walk())


def convert(workflow: dict[str, Any], classes: NodeClasses) -> Graph:
    """What ComfyUI's editor would queue for a workflow that it saved.

    Subgraphs are taken apart; their nodes are called ``outer:inner``. Muted and bypassed nodes are gone, and so is
    what lacks a required input, unless no output would be left. Raises `WorkflowError`, which names every node that
    stands in the way.
    """
    graph: Graph = {}
    missing: dict[str, list[str]] = {}
    unknown: list[str] = []
    for place, node in _open(workflow).walk():
        name = place.id(node)
        if node.type in classes:
            graph[name] = _node(place, node, classes)
            missing[name] = lacking(graph[name], fields(classes[node.type], node))
        elif place.is_wired(node):  # a label or a panel of buttons isn't, and the server has no part in it
            unknown.append(f"node {name} ({node}) is of a class that this server does not have")
    if unknown:
        raise WorkflowError(*unknown)
    return prune(graph, missing, classes)


def _open(workflow: dict[str, Any]) -> Scope:
    try:
        return scope(editor.read(workflow))
    except RecursionError:
        raise WorkflowError("a subgraph of it contains itself") from None


def _node(place: Scope, node: editor.Node, classes: NodeClasses) -> Node:
    inputs = {name: _quoted(value) for name, value in _held(place, node, classes).items()}
    for slot in node.inputs or ():
        try:
            source = place.source(slot)
        except RecursionError:
            raise WorkflowError(f"node {place.id(node)} ({node}): the links run in a circle") from None
        if isinstance(source, tuple):
            inputs[slot.name] = list(source)
        elif isinstance(source, Literal):
            inputs[slot.name] = _quoted(source.value)
        elif isinstance(source, Held):
            value = _held(source.scope, source.node, classes).get(source.field)
            inputs |= {} if value is None else {slot.name: _quoted(value)}
    if node.type == "CustomCombo":
        inputs |= custom_index(node, inputs.get("choice"))
    result = Node(class_type=node.type, inputs=inputs)
    if node.title:
        result["_meta"] = {"title": node.title}
    return result


def _held(place: Scope, node: editor.Node, classes: NodeClasses) -> dict[str, Any]:
    """What the fields of a node hold, before links overrule them."""
    known = fields(classes[node.type], node) if node.type in classes else []
    promoted = place.fields_of(node)
    values = {name: promoted.get(name, value) for name, _, value in known}
    return {name: value for name, value in values.items() if value is not None}


def _quoted(value: Any) -> Any:
    """A bare list would be read as a link."""
    return {"__value__": value} if isinstance(value, list) else value
