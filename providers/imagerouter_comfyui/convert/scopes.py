"""Where the inputs of drawn nodes get their values from: through links, subgraphs, reroutes and bypassed nodes.

The rules are those of ComfyUI's own editor when it queues a workflow.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagerouter_comfyui.convert.editor import SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS, Drawing, Mode, Node, Slot, subgraphs
from imagerouter_comfyui.convert.promoted import Promoted, promoted

NOTES = frozenset({"Note", "MarkdownNote"})
REROUTES = frozenset({"Reroute", "Reroute (rgthree)"})
VIRTUAL = NOTES | REROUTES | {"PrimitiveNode", "SetNode", "GetNode"}
"""Nodes of the editor (the last two: of KJNodes), which the server never sees."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A value that comes out of the drawing itself."""

    value: Any


@dataclass(frozen=True, slots=True)
class Held:
    """The value that a field of a drawn node holds."""

    scope: Scope
    node: Node
    field: str


Source = tuple[str, int] | Literal | Held | None
"""Node id and output slot in the flat graph, a value, a field that has it, or nothing."""


class Scope:
    """One drawing in use: the workflow, or one of the nodes that stand for a subgraph, which gets ids of its own."""

    def __init__(
        self,
        drawing: Drawing,
        definitions: Mapping[str, Drawing],
        *,
        outer: Scope | None = None,
        host: Node | None = None,
        given: Mapping[str, Any] | None = None,
    ) -> None:
        """``given``: values for the host's inputs that whoever holds the host has promoted further out."""
        self._drawing, self._outer, self._host = drawing, outer, host
        self._path: str = f"{outer._path}{host.id}:" if outer and host else ""
        self._nodes = {str(node.id): node for node in drawing.nodes}
        self._links = {link.id: link for link in drawing.wires()}
        self._promoted = promoted(host, drawing) if host else Promoted({}, {}, {})
        self._given = self._promoted.inputs | dict(given or {})
        self._inside = {
            name: Scope(definitions[node.type], definitions, outer=self, host=node, given=self.fields_of(node))
            for name, node in self._nodes.items()
            if node.type in definitions and node.mode not in (Mode.MUTED, Mode.BYPASSED)
        }

    def walk(self) -> Iterator[tuple[Scope, Node]]:
        """Every node that is the server's business, subgraphs taken apart."""
        for name, node in self._nodes.items():
            if name in self._inside:
                yield from self._inside[name].walk()
            elif node.type not in VIRTUAL and node.mode not in (Mode.MUTED, Mode.BYPASSED):
                yield self, node

    def id(self, node: Node) -> str:
        return f"{self._path}{node.id}"

    def is_wired(self, node: Node) -> bool:
        """Whether any link begins or ends at a node."""
        return any(str(node.id) in (str(link.origin_id), str(link.target_id)) for link in self._links.values())

    def source(self, slot: Slot, kind: Any = None) -> Source:
        """What is plugged into an input; ``kind`` is the type that is wanted, where the slot is only on the way."""
        if slot.link is None or (link := self._links.get(slot.link)) is None:
            return None
        if str(link.origin_id) == SUBGRAPH_INPUTS:
            return self._from_outside(link.origin_slot)
        origin = self._nodes.get(str(link.origin_id))
        return self._out_of(origin, link.origin_slot, kind or slot.type) if origin else None

    def _from_outside(self, position: int) -> Source:
        ports = self._drawing.inputs or []
        if self._outer is None or self._host is None or not 0 <= position < len(ports):
            return None
        name = ports[position].name
        slot = next((slot for slot in self._host.inputs or () if slot.name == name), None)
        if slot is not None and slot.link is not None:
            return self._outer.source(slot)
        return Literal(self._given[name]) if name in self._given else self._shown(name)

    def _shown(self, name: str) -> Source:
        """What a subgraph's input that nobody set shows on the outside."""
        inner, field = self._promoted.shown.get(name, ("", ""))
        if (inside := self._inside.get(inner)) is not None:
            return Literal(inside._given[field]) if field in inside._given else inside._shown(field)
        node = self._nodes.get(inner)
        return Held(self, node, field) if node else None

    def fields_of(self, node: Node) -> dict[str, Any]:
        """Values that a node's fields were given on the outside of the subgraph that it is in."""
        return self._promoted.fields.get(str(node.id), {})

    def _out_of(self, node: Node, position: int, kind: Any) -> Source:
        if node.mode == Mode.MUTED:
            return None
        if node.mode == Mode.BYPASSED:
            through = bypass(node, position, kind)
            return self.source(through) if through else None
        if (inside := self._inside.get(str(node.id))) is not None:
            return inside.leaving(position, kind)
        if node.type in VIRTUAL:
            return self._virtual(node, kind)
        return self.id(node), position

    def leaving(self, position: int, kind: Any) -> Source:
        """What a subgraph hands out at one of its outputs."""
        for link in self._links.values():
            if str(link.target_id) == SUBGRAPH_OUTPUTS and link.target_slot == position:
                if str(link.origin_id) == SUBGRAPH_INPUTS:
                    return self._from_outside(link.origin_slot)
                origin = self._nodes.get(str(link.origin_id))
                return self._out_of(origin, link.origin_slot, kind) if origin else None
        return None

    def _virtual(self, node: Node, kind: Any) -> Source:
        if node.type == "PrimitiveNode":
            value = self.fields_of(node).get("value", _first_field(node))
            return None if value is None else Literal(value)
        if node.type == "GetNode":
            return self._stored(_first_field(node), kind)
        return self.source(node.inputs[0], kind) if node.inputs else None

    def _stored(self, name: Any, kind: Any) -> Source:
        """What a `SetNode` stores under a name, here or in a drawing further out."""
        for node in self._nodes.values():
            if node.type == "SetNode" and node.inputs and _first_field(node) == name:
                return self.source(node.inputs[0], kind)
        return self._outer._stored(name, kind) if self._outer else None


def scope(drawing: Drawing) -> Scope:
    return Scope(drawing, subgraphs(drawing))


def _first_field(node: Node) -> Any:
    values = node.widgets_values
    return next(iter(values.values() if isinstance(values, dict) else values or ()), None)


def bypass(node: Node, position: int, kind: Any) -> Slot | None:
    """The input that stands in for an output: the one opposite if it fits, else the first of the same type."""
    inputs, outputs = node.inputs or [], node.outputs or []
    if not inputs or not 0 <= position < len(outputs):
        return None
    if kind in ("*", ""):
        return inputs[position] if position < len(inputs) else inputs[0]
    fitting = [slot for slot in inputs if fits(slot.type, outputs[position].type) and fits(slot.type, kind)]
    opposite = inputs[position : position + 1]
    same = [slot for slot in inputs if slot.type == kind]
    return next(iter([*(slot for slot in opposite if slot in fitting), *same, *fitting]), None)


def fits(one: Any, other: Any) -> bool:
    """Whether two types connect: ``*`` is any, and a comma means "or"."""
    if one in ("*", "", 0) or other in ("*", "", 0):
        return True
    return bool({*str(one).lower().split(",")} & {*str(other).lower().split(",")})
