"""Fields that a subgraph shows on its outside, where every node that stands for it can set them differently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from imagerouter_comfyui.convert.editor import SUBGRAPH_INPUTS, Drawing, Node

Field = tuple[str, str]
"""Id of a node inside, and the name of one of its fields."""


@dataclass(frozen=True, slots=True)
class Promoted:
    """What a node that stands for a subgraph sets inside of it."""

    inputs: dict[str, Any]
    """Values by the names of the subgraph's inputs."""
    fields: dict[str, dict[str, Any]]
    """Values by id and field of nodes inside."""
    shown: dict[str, Field]
    """The field that an input is shown as on the outside: what it holds is the value of all that the input feeds."""


def promoted(host: Node, drawing: Drawing) -> Promoted:
    """Read the values off ``host``.

    Recent editors write one value for each input that has a field. Older ones list the pairs of node and field in
    ``proxyWidgets``, ``-1`` for an input, and kept most of the values in the nodes inside.
    """
    feeds = _feeds(drawing)
    shown: dict[str, Field] = {}
    for field, fed_by in feeds.items():
        shown.setdefault(fed_by, field)
    properties = host.properties or {}
    values = host.widgets_values if isinstance(host.widgets_values, list) else []
    inputs: dict[str, Any] = {}
    fields: dict[str, dict[str, Any]] = {}
    if proxies := _pairs(properties.get("proxyWidgets")):
        for (node, name), value in zip(proxies, values, strict=False):
            port: str | None = name if node == "-1" else feeds.get((node, name))
            (fields.setdefault(node, {}) if port is None else inputs)[port or name] = value
    else:
        names = [port.name for port in drawing.inputs or () if port.name in shown]
        inputs = dict(zip(names, values, strict=False))
    inputs |= host.widgets_values_named or {}
    return Promoted(
        _given(inputs | _quarantined(properties)), {node: _given(some) for node, some in fields.items()}, shown
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _feeds(drawing: Drawing) -> dict[Field, str]:
    """The input of the subgraph that each field is fed by, in the order in which the inputs were plugged in."""
    nodes = {str(node.id): node for node in drawing.nodes}
    links = {link.id: link for link in drawing.wires() if str(link.origin_id) == SUBGRAPH_INPUTS}
    feeds: dict[Field, str] = {}
    for position, port in enumerate(drawing.inputs or ()):
        ids = [link.id for link in links.values() if link.origin_slot == position]
        order = port.linkIds or []
        for link_id in sorted(ids, key=lambda some: order.index(some) if some in order else len(order)):
            target = nodes.get(str(links[link_id].target_id))
            for slot in (target.inputs if target else None) or ():
                if target is not None and slot.link == link_id and slot.widget is not None:
                    feeds[str(target.id), slot.name] = port.name
    return feeds


def _quarantined(properties: dict[str, Any]) -> dict[str, Any]:
    """Values that the editor set aside when it couldn't carry an old ``proxyWidgets`` over; the first one counts."""
    aside = properties.get("proxyWidgetErrorQuarantine")
    kept: dict[str, Any] = {}
    for entry in reversed([e for e in aside if isinstance(e, dict)] if isinstance(aside, list) else []):
        kept |= {name: entry.get("hostValue") for node, name in _pairs([entry.get("originalEntry")]) if node == "-1"}
    return _given(kept)


def _pairs(entries: Any) -> list[Field]:
    """Node and field of each entry; some name a third thing, to tell fields of the same name apart."""
    if not isinstance(entries, list):
        return []
    return [(str(entry[0]), str(entry[1])) for entry in entries if isinstance(entry, list) and len(entry) > 1]
