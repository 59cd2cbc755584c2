"""A graph in the making: nodes are added in the order in which they run, each fed by those before it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from imagerouter_comfyui.graph import Graph, Place


class Given(NamedTuple):
    """A literal that comes from the canonical parameter ``parameter``."""

    parameter: str
    value: Any


class Out(NamedTuple):
    """One output slot of a node."""

    node_id: str
    slot: int


class Added(NamedTuple):
    """A node of the draft."""

    id: str

    def out(self, slot: int = 0) -> Out:
        return Out(self.id, slot)


@dataclass
class Draft:
    """What becomes `Built.graph` and `Built.places`."""

    graph: Graph = field(default_factory=dict)
    places: dict[Place, str] = field(default_factory=dict)

    def add(self, node_id: str, class_type: str, /, **inputs: Any) -> Added:
        """Inputs are literals, `Given` literals, or an `Out` of a node that is there already."""
        if node_id in self.graph:
            raise ValueError(f"two nodes are called {node_id}")
        self.graph[node_id] = {
            "class_type": class_type,
            "inputs": {name: self._input(node_id, name, value) for name, value in inputs.items()},
        }
        return Added(node_id)

    def _input(self, node_id: str, name: str, value: Any) -> Any:
        if isinstance(value, Given):
            self.places[node_id, name] = value.parameter
            return value.value
        return list(value) if isinstance(value, Out) else value
