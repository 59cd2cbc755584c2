"""Nodes that can't run, because nothing is plugged in where something has to be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from imagerouter_comfyui.convert.fields import Field
from imagerouter_comfyui.graph import Graph, Node, WorkflowError, links, title
from imagerouter_comfyui.nodes import NodeClasses


def lacking(node: Node, fields: list[Field]) -> list[str]:
    """Names of the required inputs that a link has to give, and doesn't."""
    sockets = [(name, field) for name, field, _ in fields if field.required and not field.is_widget]
    return [name for name, field in sockets if not _has(node, name, field.settings)]


def _has(node: Node, name: str, settings: Mapping[str, object]) -> bool:
    template = settings.get("template")
    if isinstance(template, dict) and "input" in template:  # an input that grows with what is plugged in
        return bool(sum(given.startswith(f"{name}.") for given in node["inputs"]) >= template.get("min", 1))
    return name in node["inputs"]


def prune(graph: Graph, missing: Mapping[str, list[str]], classes: NodeClasses) -> Graph:
    """The graph without what can't run, which the server would leave out as well, with a warning.

    Raises `WorkflowError` if that takes its last output, or if there never was one.
    """
    broken = {node_id for node_id, names in missing.items() if names}
    grown = bool(broken)
    while grown:
        hit = {name for name in graph.keys() - broken if any(source in broken for _, source, _ in links(graph, name))}
        broken |= hit
        grown = bool(hit)
    outputs = {name for name, node in graph.items() if classes[node["class_type"]].is_output}
    if not outputs:
        raise WorkflowError("it has no output, that is, no node that saves or shows a picture")
    if outputs <= broken:
        raise WorkflowError(*(f"node {name} ({_label(graph[name])}) has no `{gap}`" for name, gap in _gaps(missing)))
    return {name: node for name, node in graph.items() if name not in broken}


def _gaps(missing: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    return ((name, gap) for name, names in missing.items() for gap in names)


def _label(node: Node) -> str:
    name, called = node["class_type"], title(node)
    return f'`{name}`, "{called}"' if called and called != name else f"`{name}`"
