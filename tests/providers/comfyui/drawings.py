"""Short ways to write workflows in ComfyUI's editor format, and to convert them."""

import json
from pathlib import Path
from typing import Any

from imagerouter_comfyui.convert import convert
from imagerouter_comfyui.graph import read
from imagerouter_comfyui.nodes import parse

MUTED, BYPASSED = 2, 4


def node(
    node_id: int | str,
    kind: str,
    values: Any = None,
    *,
    inputs: dict[str, tuple[str, int | None]] | None = None,
    fields: dict[str, int | None] | None = None,
    outputs: str = "",
    **more: Any,
) -> dict[str, Any]:
    """A node as drawn. ``inputs``: name → type and link; ``fields``: inputs that are fields too; ``outputs``: types."""
    slots = [{"name": name, "type": type_, "link": link} for name, (type_, link) in (inputs or {}).items()]
    slots += [
        {"name": name, "type": "*", "link": link, "widget": {"name": name}} for name, link in (fields or {}).items()
    ]
    sockets = [{"name": type_, "type": type_, "links": []} for type_ in outputs.split()]
    drawn = {"id": node_id, "type": kind, "mode": 0, "inputs": slots, "outputs": sockets, "properties": {}, **more}
    return drawn if values is None else {**drawn, "widgets_values": values}


def wire(link: int, start: str, end: str) -> dict[str, Any]:
    """A link in object form; ``"4.1"`` is slot 1 of node 4."""
    (origin, slot), (target, to) = start.split("."), end.split(".")
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    return dict(zip(names, (link, _id(origin), int(slot), _id(target), int(to), "*"), strict=True))


def _id(text: str) -> int | str:
    return int(text) if text.lstrip("-").isdigit() else text


def drawing(nodes: list[dict[str, Any]], wires: list[dict[str, Any]], *subgraphs: dict[str, Any]) -> dict[str, Any]:
    """A whole workflow, with links in list form as the editor writes them at the top."""
    links = [list(link.values()) for link in wires]
    return {"nodes": nodes, "links": links, "version": 0.4, "definitions": {"subgraphs": list(subgraphs)}}


def subgraph(
    name: str,
    nodes: list[dict[str, Any]],
    wires: list[dict[str, Any]],
    inputs: str = "",
    outputs: str = "IMAGE",
) -> dict[str, Any]:
    """A definition; ``inputs`` and ``outputs`` are the names of its ports."""
    ports = [[{"id": port, "name": port, "type": "*"} for port in names.split()] for names in (inputs, outputs)]
    return {"id": name, "name": name, "nodes": nodes, "links": wires, "inputs": ports[0], "outputs": ports[1]}


def load(node_id: int | str = 1, **more: Any) -> dict[str, Any]:
    """A `LoadImage`."""
    return node(node_id, "LoadImage", ["example.png", "image"], outputs="IMAGE MASK", **more)


def save(link: int | None, node_id: int | str = 9, **more: Any) -> dict[str, Any]:
    """A `SaveImage` fed by a link."""
    return node(node_id, "SaveImage", ["out"], inputs={"images": ("IMAGE", link)}, **more)


def scale(link: int | None, node_id: int | str = 2, values: Any = ("area", 64, 32, "center"), **more: Any) -> Any:
    """An `ImageScale` fed by a link."""
    return node(node_id, "ImageScale", list(values), inputs={"image": ("IMAGE", link)}, outputs="IMAGE", **more)


CHAIN = (wire(1, "1.0", "2.0"), wire(2, "2.0", "9.0"))
"""From node 1 through node 2 to the output."""

SQUARE = subgraph(
    "square",
    [scale(1, 7, fields={"width": 2})],
    [wire(1, "-10.0", "7.0"), wire(2, "-10.1", "7.1"), wire(3, "7.0", "-20.0")],
    "image size",
)


def host(node_id: int, link: int, values: Any, *, size: int | None = None, kind: str = "square", **more: Any) -> Any:
    """A node that stands for `SQUARE`."""
    sockets = {"image": ("IMAGE", link)}
    return node(node_id, kind, values, inputs=sockets, fields={"size": size}, outputs="IMAGE", **more)


HERE = Path(__file__).parent
INFO = json.loads((HERE / "object_info.json").read_text(encoding="utf-8"))
CLASSES = {name: parse(name, raw) for name, raw in INFO.items()}


def saved(name: str) -> dict[str, Any]:
    return read((HERE / "workflows" / name).read_text(encoding="utf-8"))


def inputs(nodes: list[dict[str, Any]], wires: list[dict[str, Any]], *subgraphs: dict[str, Any]) -> dict[str, Any]:
    """Inputs of every converted node."""
    return {name: made["inputs"] for name, made in convert(drawing(nodes, wires, *subgraphs), CLASSES).items()}
