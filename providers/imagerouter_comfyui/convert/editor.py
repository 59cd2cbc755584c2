"""ComfyUI's editor format, as its "Save" writes it (versions 0.4 and 1.0 of its schema)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

import msgspec

from imagerouter_comfyui.graph import WorkflowError

Id = int | str

SUBGRAPH_INPUTS, SUBGRAPH_OUTPUTS = "-10", "-20"
"""What stands for the subgraph's own slots in the links of its inside."""


class Mode(IntEnum):
    """How a node takes part; every other number means that it just does."""

    MUTED = 2
    """It is left out, and with it all that needs it."""
    BYPASSED = 4
    """It is left out, and its inputs take the place of its outputs."""


class Slot(msgspec.Struct, frozen=True):
    """One socket of a node, or of a subgraph as a whole."""

    name: str = ""
    type: Any = "*"
    link: Id | None = None
    """Inputs only: what is plugged in."""
    widget: dict[str, Any] | None = None
    """There if the input has a field of its own, which the link overrules."""
    linkIds: list[Id] | None = None  # noqa: N815
    """Inputs of a subgraph only: the links that begin there."""


class Node(msgspec.Struct, frozen=True):
    """A node as drawn. ``type`` is a class of the server, the id of a subgraph, or something of the editor alone."""

    id: Id
    type: str
    title: str | None = None
    mode: int | None = None
    inputs: list[Slot] | None = None
    outputs: list[Slot] | None = None
    widgets_values: list[Any] | dict[str, Any] | None = None
    """What the fields hold, in their order; some custom nodes write them by name."""
    widgets_values_named: dict[str, Any] | None = None
    """The same by name, as recent editors add it."""
    properties: dict[str, Any] | None = None

    def __str__(self) -> str:
        """The class and the title, to tell a person which one it is."""
        return f'`{self.type}`, "{self.title}"' if self.title and self.title != self.type else f"`{self.type}`"


class Link(msgspec.Struct, frozen=True):
    """A wire."""

    id: Id
    origin_id: Id
    origin_slot: int
    target_id: Id
    target_slot: int


class Definitions(msgspec.Struct, frozen=True):
    subgraphs: list[Drawing] | None = None


class Drawing(msgspec.Struct, frozen=True):
    """Nodes and the links between them: the whole workflow, or the definition of a subgraph."""

    nodes: list[Node]
    links: list[Any] | None = None
    id: str | None = None
    inputs: list[Slot] | None = None
    outputs: list[Slot] | None = None
    definitions: Definitions | None = None

    def wires(self) -> list[Link]:
        """The links, which the file has as objects in subgraphs and in version 1.0, else as lists in this order."""
        names = Link.__struct_fields__
        raw = [dict(zip(names, link, strict=False)) if isinstance(link, list) else link for link in self.links or ()]
        return msgspec.convert([link for link in raw if link], list[Link])


def read(workflow: dict[str, Any]) -> Drawing:
    """The workflow in shapes; raises `WorkflowError` where it is not what the editor writes."""
    try:
        drawing = msgspec.convert(workflow, Drawing)
        for part in (drawing, *subgraphs(drawing).values()):
            part.wires()
    except msgspec.ValidationError as error:
        raise WorkflowError(f"not ComfyUI's editor format: {error}") from None
    return drawing


def subgraphs(drawing: Drawing) -> dict[str, Drawing]:
    """The definitions that come with a workflow, by the id that nodes name as their type."""
    definitions = drawing.definitions.subgraphs if drawing.definitions else None
    return {definition.id: definition for definition in definitions or () if definition.id}
