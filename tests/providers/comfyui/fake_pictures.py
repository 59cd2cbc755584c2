"""What a graph draws: not by its models, but of the right size, and different wherever an input differs."""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import PIL.Image
from PIL.PngImagePlugin import PngInfo

from imagerouter.testing.drawing import draw

Graph = dict[str, dict[str, Any]]

FLOWS = ("samples", "latent_image", "latent", "latents", "images", "image", "pixels", "input", "destination", "source")
"""Inputs that hand a picture's size on, where a node has no rule of its own."""


@dataclass(frozen=True)
class Extent:
    width: int
    height: int
    count: int = 1

    def resized(self, width: float, height: float, multiple: int = 1) -> Extent:
        columns, rows = (max(multiple, int(side // multiple * multiple)) for side in (width, height))
        return Extent(columns, rows, self.count)


class Drawing:
    """The pictures of one graph. ``files`` gives what a `LoadImage` reads, by the name in the graph."""

    def __init__(self, graph: Graph, files: Callable[[str], bytes]) -> None:
        self.graph = graph
        self.files = files
        self._signatures: dict[str, bytes] = {}

    def signature(self, node_id: str) -> bytes:
        """Equal for nodes that would give equal results: class, literals, and the same of all that feeds them."""
        if node_id not in self._signatures:
            node = self.graph[node_id]
            parts: list[Any] = [node["class_type"]]
            for name, value in sorted(node["inputs"].items()):
                parts.append([name, self._part(node["class_type"], name, value)])
            self._signatures[node_id] = hashlib.sha256(json.dumps(parts).encode()).digest()
        return self._signatures[node_id]

    def _part(self, class_name: str, name: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self.signature(value[0]).hex(), value[1]]
        if class_name in ("LoadImage", "LoadImageMask") and name == "image":
            return hashlib.sha256(self.files(value)).hexdigest()
        return value

    def pictures(self, node_id: str, *, chunk: bool = True) -> list[bytes]:
        """PNG files of what arrives at a node that saves pictures."""
        source, _ = self.graph[node_id]["inputs"]["images"]
        size = self.extent(source)
        key = self.signature(source)
        text = {"prompt": json.dumps(self.graph)} if chunk else {}
        return [picture(key + bytes([index]), size.width, size.height, text) for index in range(size.count)]

    def steps(self, node_id: str) -> int:
        """How many steps a sampler takes; 0 for nodes that are none."""
        node = self.graph[node_id]
        if "latent_image" not in node["inputs"] or "Sampler" not in node["class_type"]:
            return 0
        inputs = node["inputs"]
        if "steps" in inputs:
            steps = self.number(inputs["steps"])
            first = self.number(inputs.get("start_at_step", 0))
            return max(0, int(min(steps, self.number(inputs.get("end_at_step", steps))) - first))
        sigmas = self.graph[inputs["sigmas"][0]]["inputs"]
        while "steps" not in sigmas:
            sigmas = self.graph[next(value[0] for value in sigmas.values() if isinstance(value, list))]["inputs"]
        return int(self.number(sigmas["steps"]))

    def number(self, value: Any) -> float:
        """A literal, or the one at the end of a link."""
        if not isinstance(value, list):
            return float(value)
        source, slot = value
        node = self.graph[source]
        if node["class_type"] == "GetImageSize":
            size = self.extent(node["inputs"]["image"][0])
            return (size.width, size.height, size.count)[slot]
        return self.number(next(node["inputs"][name] for name in ("value", "int", "float") if name in node["inputs"]))

    def extent(self, node_id: str) -> Extent:
        """Pixels of what a node hands on, for latents those of the picture that they become."""
        node = self.graph[node_id]
        name, inputs = node["class_type"], node["inputs"]
        if name.startswith("Empty") and "width" in inputs:
            multiple = 16 if "Flux2" in name else 8
            count = int(self.number(inputs.get("batch_size", 1)))
            sides = self.number(inputs["width"]), self.number(inputs["height"])
            return Extent(0, 0, count).resized(*sides, multiple)
        if name in ("LoadImage", "LoadImageMask"):
            return Extent(*PIL.Image.open(io.BytesIO(self.files(inputs["image"]))).size)
        if name == "InpaintModelConditioning":
            return self._before(inputs, "pixels").resized(*_sides(self._before(inputs, "pixels")), 8)
        before = self._before(inputs)
        rule = RULES.get(name)
        return before if rule is None else rule(before, Numbers(self, inputs))

    def _before(self, inputs: Mapping[str, Any], *names: str) -> Extent:
        for name in names or FLOWS:
            if isinstance(inputs.get(name), list):
                return self.extent(inputs[name][0])
        raise ValueError(f"nothing in {sorted(inputs)} says how large a picture is")


class Numbers:
    def __init__(self, drawing: Drawing, inputs: Mapping[str, Any]) -> None:
        self._drawing, self._inputs = drawing, inputs

    def __call__(self, name: str, default: float = 0) -> float:
        return self._drawing.number(self._inputs.get(name, default))


Rule = Callable[[Extent, Numbers], Extent]


def _sides(size: Extent) -> tuple[int, int]:
    return size.width, size.height


def _times(size: Extent, factor: float, unit: int = 1) -> tuple[int, int]:
    return round(size.width // unit * factor) * unit, round(size.height // unit * factor) * unit


def _scaled(size: Extent, ask: Numbers) -> Extent:
    """A side of 0 follows from the other one."""
    width, height = ask("width"), ask("height")
    if not width and not height:
        return size
    width = width or max(1, round(size.width * height / size.height))
    height = height or max(1, round(size.height * width / size.width))
    return size.resized(width, height)


def _cropped(size: Extent, ask: Numbers) -> Extent:
    left, top = min(ask("x"), size.width - 1), min(ask("y"), size.height - 1)
    return size.resized(min(ask("width"), size.width - left), min(ask("height"), size.height - top))


def _to_pixels(size: Extent, ask: Numbers) -> Extent:
    factor = math.sqrt(ask("megapixels", 1) * 1024 * 1024 / (size.width * size.height))
    return size.resized(round(size.width * factor), round(size.height * factor))


RULES: dict[str, Rule] = {
    "VAEEncode": lambda size, _: size.resized(*_sides(size), 8),
    "VAEEncodeTiled": lambda size, _: size.resized(*_sides(size), 8),
    "VAEEncodeForInpaint": lambda size, _: size.resized(*_sides(size), 8),
    "LatentUpscale": lambda size, ask: _scaled(size, ask).resized(*_sides(_scaled(size, ask)), 8),
    "LatentUpscaleBy": lambda size, ask: size.resized(*_times(size, ask("scale_by"), 8)),
    "ImageScale": _scaled,
    "ImageScaleBy": lambda size, ask: size.resized(*_times(size, ask("scale_by"))),
    "ImageScaleToTotalPixels": _to_pixels,
    "ImageCrop": _cropped,
    "ImagePadForOutpaint": lambda size, ask: size.resized(
        size.width + ask("left") + ask("right"), size.height + ask("top") + ask("bottom")
    ),
    "ImageUpscaleWithModel": lambda size, _: size.resized(size.width * 4, size.height * 4),
    "RepeatLatentBatch": lambda size, ask: Extent(*_sides(size), size.count * int(ask("amount", 1))),
    "RepeatImageBatch": lambda size, ask: Extent(*_sides(size), size.count * int(ask("amount", 1))),
}


def picture(key: bytes, width: int, height: int, text: Mapping[str, str]) -> bytes:
    """A PNG with text chunks, as ComfyUI writes the graph into its files."""
    data = draw(key, width, height)
    if not text:
        return data
    chunks = PngInfo()
    for name, value in text.items():
        chunks.add_text(name, value)
    file = io.BytesIO()
    PIL.Image.open(io.BytesIO(data)).save(file, "PNG", pnginfo=chunks, compress_level=1)
    return file.getvalue()


def preview(key: bytes, step: int) -> bytes:
    """A small JPEG."""
    return draw(key + b"preview" + bytes([step % 256]), 16, 16, "jpeg")
