"""Workflows in ComfyUI's API format: what `POST /prompt` takes.

A graph maps node ids (any text; nodes of a subgraph are called ``outer:inner``) to a class and its inputs. An input
is a literal, or a link ``[node id, output slot]`` to another node.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired, TypedDict

_LONGEST = 300
_MORE = 40


class WorkflowError(Exception):
    """A workflow that can't be used. As text it is one short line, fit for a client: the first of its problems."""

    def __init__(self, *problems: str) -> None:
        """:param problems: at least one; each is a finished sentence for the operator."""
        super().__init__(*problems)
        self.problems = list(problems)

    def __str__(self) -> str:
        first = " ".join(self.problems[0].split())
        first = first if len(first) <= _LONGEST - _MORE else f"{first[: _LONGEST - _MORE]}…"
        more = len(self.problems) - 1
        return f"{first} (and {more} more)" if more else first


class Node(TypedDict):
    class_type: str
    inputs: dict[str, Any]
    _meta: NotRequired[dict[str, Any]]


"""``_meta.title`` is what the node is called in ComfyUI's editor."""

Graph = dict[str, Node]

Place = tuple[str, str]
"""Node id and input name. Written ``6.text``: split at the first dot, since input names may hold dots."""


def link(value: Any) -> tuple[str, int] | None:
    """Node id and output slot, if an input's value is a link."""
    if isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int:
        return value[0], value[1]
    return None


def links(graph: Graph, node_id: str) -> Iterator[tuple[str, str, int]]:
    """The inputs of a node that are linked: (input name, source node id, source slot); dangling ones aren't."""
    for name, value in graph[node_id]["inputs"].items():
        if (source := link(value)) is not None and source[0] in graph:
            yield name, *source


def upstream(graph: Graph, node_id: str) -> Iterator[str]:
    """Every node that feeds ``node_id``, nearest first, without itself."""
    seen, frontier = {node_id}, [node_id]
    while frontier:
        sources = [source for node in frontier for _, source, _ in links(graph, node)]
        frontier = [source for source in dict.fromkeys(sources) if source not in seen]
        seen.update(frontier)
        yield from frontier


def title(node: Node) -> str:
    return str((node.get("_meta") or {}).get("title") or "")


def is_ui_format(data: Any) -> bool:
    """Whether this is what ComfyUI's "Save" writes, rather than "Export (API)"."""
    return isinstance(data, dict) and isinstance(data.get("nodes"), list) and "links" in data


def read_file(path: Path) -> dict[str, Any]:
    """See `read`; raises `WorkflowError` also where there is no such text file."""
    try:
        return read(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkflowError((error.strerror or str(error)).lower()) from None
    except UnicodeDecodeError:
        raise WorkflowError("not UTF-8 text") from None


def read(text: str) -> dict[str, Any]:
    """The JSON of a workflow file, in either format; raises `WorkflowError`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkflowError(f"not JSON: {error}") from None
    if isinstance(data, dict) and isinstance(body := data.get("prompt"), dict) and "class_type" not in body:
        data = body  # of a request, as some tools save it; any node may be called `prompt`
    if not is_ui_format(data):
        check_api_format(data)
    return dict(data)


def check_api_format(data: Any) -> None:
    """Raise `WorkflowError` unless every value is a node with a class and inputs."""
    if not isinstance(data, dict) or not data:
        raise WorkflowError("no workflow: neither ComfyUI's editor format nor its API format")
    for name, node in data.items():
        if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
            raise WorkflowError(f"no workflow: `{str(name)[:40]}` is not a node with a `class_type`")
        if not isinstance(node.get("inputs"), dict):
            raise WorkflowError(f"node `{str(name)[:40]}` has no `inputs`")
