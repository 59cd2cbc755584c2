"""What a server would say of a workflow, found before the first job."""

from __future__ import annotations

from collections.abc import Iterator

from imagerouter.names import close, instead, slashed
from imagerouter_comfyui.bind.survey import Survey, written
from imagerouter_comfyui.graph import Graph, Place, link, links


def broken(graph: Graph) -> Iterator[str]:
    """Links that lead nowhere, or in a circle; nothing can be said of a graph that has them."""
    for node, given in graph.items():
        for name, value in given["inputs"].items():
            if (source := link(value)) is not None and source[0] not in graph:
                yield f"`{node}.{name}` ({given['class_type']}) is linked to node `{source[0]}`, which isn't there"
    if circle := _circle(graph):
        yield f"nodes {', '.join(circle)} feed each other in a circle"


def _circle(graph: Graph) -> list[str]:
    """Nodes that are left when those without unmet needs are taken away again and again."""
    needs = {node: {source for _, source, _ in links(graph, node)} for node in graph}
    users: dict[str, list[str]] = {node: [] for node in graph}
    for node, needed in needs.items():
        for source in needed:
            users[source].append(node)
    free = [node for node, needed in needs.items() if not needed]
    for node in free:
        del needs[node]
        for user in users[node]:
            needs[user].discard(node)
            if not needs[user]:
                free.append(user)
    return sorted(needs)


def missing(survey: Survey, bound: set[Place]) -> Iterator[str]:
    """Classes, inputs and files that the server doesn't have.

    :param bound: inputs that are written before a job is sent, whatever they hold now.
    """
    for node, given in survey.graph.items():
        known = survey.classes.get(given["class_type"])
        if known is None:
            better = close(given["class_type"], survey.classes)
            yield f"node {node}: the server has no node class `{given['class_type']}`{better}"
            continue
        for name, taken in known.inputs.items():
            place = (node, name)
            if name not in given["inputs"]:
                if taken.required and place not in bound and not taken.type.startswith("COMFY_"):
                    yield f"node {survey.label(node)} lacks its input `{name}`"
            elif place not in bound and not taken.settings.get("image_upload"):
                yield from _choice(survey, place)


def _choice(survey: Survey, place: Place) -> Iterator[str]:
    """A literal that isn't on the server's list."""
    taken, value = survey.input(place), survey.graph[place[0]]["inputs"][place[1]]
    if taken is None or taken.options is None or isinstance(value, list | dict) or str(value) in taken.options:
        return
    name = survey.graph[place[0]]["class_type"]
    yield f"`{written(place)}` ({name}): the server has no `{value}`{instead(str(value), taken.options)}"


def localised(survey: Survey) -> Graph:
    """The graph with names of files in the server's own slashes: it may have been made on another system."""
    graph = dict(survey.graph)
    for node, given in survey.graph.items():
        for name, value in given["inputs"].items():
            taken = survey.input((node, name))
            if taken is None or not taken.options or not isinstance(value, str) or value in taken.options:
                continue
            own = next((option for option in taken.options if slashed(option) == slashed(value)), None)
            if own is not None:
                copy = graph[node].copy()
                copy["inputs"] = {**copy["inputs"], name: own}
                graph[node] = copy
    return graph
