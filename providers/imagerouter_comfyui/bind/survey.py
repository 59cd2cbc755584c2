"""A graph with the server's node classes beside it: who feeds whom with what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from imagerouter_comfyui.graph import Graph, Place, link, links, upstream
from imagerouter_comfyui.nodes import Input, NodeClass, NodeClasses

Socket = tuple[str, int]
"""Node id and output slot."""

_DEEPEST = 20
_TEXTS = ("prompt", "text", "user_prompt", "caption", "tags")
"""Names of the one input that has the text."""
_ENCODERS = frozenset("clip_l clip_g t5xxl llama text_l text_g bert mt5xl qwen25_7b".split())
"""Names of inputs for one text encoder each; all of them get the text."""


@dataclass(frozen=True)
class Survey:
    graph: Graph
    classes: NodeClasses

    def class_of(self, node: str) -> NodeClass:
        """The node's class; one without inputs and outputs where the server has no such class."""
        name = self.graph[node]["class_type"]
        return self.classes.get(name) or NodeClass(name=name, inputs={})

    def input(self, place: Place) -> Input | None:
        return self.class_of(place[0]).inputs.get(place[1])

    def links(self, node: str) -> Iterator[tuple[str, str, int, str]]:
        """Links that matter: (input name, source, slot, what it carries); of a switch only the side that is on."""
        off = self._off_side(node)
        for name, source, slot in links(self.graph, node):
            if name != off:
                yield name, source, slot, self._carried((node, name), (source, slot))

    def sources(self, node: str, kinds: Iterable[str]) -> list[str]:
        return [source for _, source, _, kind in self.links(node) if kind in kinds]

    def walk(self, starts: Iterable[str], *kinds: str) -> list[str]:
        """``starts`` and what feeds them through links of these kinds, nearest first."""
        found = list(dict.fromkeys(starts))
        seen = set(found)
        for node in found:
            new = [source for source in dict.fromkeys(self.sources(node, kinds)) if source not in seen]
            seen.update(new)
            found += new
        return found

    def feeding(self, node: str) -> list[str]:
        return list(upstream(self.graph, node))

    def _carried(self, place: Place, socket: Socket) -> str:
        outputs = self.class_of(socket[0]).outputs
        kind = outputs[socket[1]] if socket[1] < len(outputs) else "*"
        if is_concrete(kind):
            return kind
        taken = self.input(place)
        if taken is not None and is_concrete(taken.type):
            return taken.type
        # A link between two nodes that pass anything on: what it carries is what the first of them gets.
        return next((kind for _, _, _, kind in self.links(socket[0]) if is_concrete(kind)), "*")

    def _off_side(self, node: str) -> str | None:
        inputs = self.graph[node]["inputs"]
        if "switch" not in inputs or not {"on_true", "on_false"} & set(inputs):
            return None
        switch = self.literal(inputs["switch"])
        return None if switch is None else "on_false" if switch else "on_true"

    def literal(self, value: Any, depth: int = _DEEPEST) -> Any:
        """The value of an input; behind a link that of a primitive node, ``None`` if it is computed."""
        source = link(value)
        if source is None:
            return value
        if source[0] not in self.graph or not depth:
            return None
        inputs = self.graph[source[0]]["inputs"]
        if (off := self._off_side(source[0])) is not None:
            value = inputs.get("on_true" if off == "on_false" else "on_false")
            return self.literal(value, depth - 1)
        return self.literal(inputs["value"], depth - 1) if list(inputs) == ["value"] else None

    def value(self, place: Place) -> Any:
        return self.literal(self.graph[place[0]]["inputs"].get(place[1]))

    def is_sampler(self, node: str) -> bool:
        """Whether it turns a latent into another by a model, under guidance of text."""
        types = {name: given.type for name, given in self.class_of(node).inputs.items()}
        kinds = set(types.values())
        return "LATENT" in kinds and ("GUIDER" in kinds or ("MODEL" in kinds and "positive" in types))

    def has_number(self, node: str, *names: str) -> bool:
        inputs = self.class_of(node).inputs
        return all(name in inputs and inputs[name].type in ("INT", "FLOAT") for name in names)

    def texts(self, node: str, *, negative: bool = False) -> list[Place]:
        """The inputs of a node that take the prompt."""
        known = [name for name, given in self.class_of(node).inputs.items() if given.type == "STRING"]
        if negative and "negative_prompt" in known:
            return [(node, "negative_prompt")]
        if (name := next((name for name in _TEXTS if name in known), None)) is not None:
            return [(node, name)]
        return [(node, name) for name in known if name in _ENCODERS]

    def label(self, node: str) -> str:
        return f"{node} ({self.graph[node]['class_type']})"


def is_concrete(kind: str) -> bool:
    """Whether a type says what a link carries, rather than that anything goes."""
    return kind not in ("*", "COMBO") and not kind.startswith("COMFY_MATCHTYPE") and "," not in kind


def written(place: Place) -> str:
    return ".".join(place)
