"""Nodes that are added to a workflow on request: LoRAs, another VAE, fewer layers of CLIP, a cut to size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from imagerouter import InvalidParameterError, Lora
from imagerouter.names import demand
from imagerouter_comfyui.bind.chain import Chain
from imagerouter_comfyui.bind.survey import Socket, Survey
from imagerouter_comfyui.graph import Graph, Node, Place, link

LORA, LORA_MODEL_ONLY = "LoraLoader", "LoraLoaderModelOnly"
CLIP_SKIP, VAE, CROP = "CLIPSetLastLayer", "VAELoader", "ImageCrop"
ADDABLE = (LORA, LORA_MODEL_ONLY, CLIP_SKIP, VAE, CROP)
"""Node classes that a request may add to a workflow."""

_HEAVIEST = 100.0
"""Limit of the loaders' strengths."""


@dataclass(frozen=True)
class Inserts:
    """Outputs of loaders behind which nodes can be put, with the names to choose from; ``None`` where that can't be."""

    model: Socket | None = None
    model_clip: Socket | None = None
    """The text encoder that is loaded together with the model: LoRAs change it too."""
    loras: tuple[str, ...] = ()
    clip: Socket | None = None
    vae: Socket | None = None
    vaes: tuple[str, ...] = ()


def inserts(survey: Survey, chain: Chain, encoders: Sequence[str]) -> Inserts:
    """:param encoders: nodes that have the prompt."""
    model = _source(survey, list(chain.bases), "MODEL", "GUIDER")
    clip = _source(survey, list(encoders)[:1], "CLIP")
    together = clip is not None and model is not None and clip[0] == model[0] and LORA in survey.classes
    loras = _options(survey, LORA if together else LORA_MODEL_ONLY, "lora_name")
    vae = _source(survey, [node for node in chain.path if survey.sources(node, {"VAE"})][:1], "VAE")
    vaes = _options(survey, VAE, "vae_name") if vae else ()
    return Inserts(
        model=model if loras else None,
        model_clip=clip if together else None,
        loras=loras,
        # Of a checkpoint only: other encoders aren't CLIP, or are never cut short.
        clip=clip if clip and CLIP_SKIP in survey.classes and "ckpt_name" in survey.class_of(clip[0]).inputs else None,
        vae=vae if vaes else None,
        vaes=vaes,
    )


def _source(survey: Survey, nodes: list[str], kind: str, *via: str) -> Socket | None:
    """The output that everything of this kind comes from."""
    loaders = [node for node in survey.walk(nodes, kind, *via) if not survey.sources(node, {kind, *via})]
    for node in loaders:
        outputs = survey.class_of(node).outputs
        if kind in outputs:
            return node, outputs.index(kind)
    return None


def _options(survey: Survey, name: str, key: str) -> tuple[str, ...]:
    known = survey.classes.get(name)
    return (known.inputs[key].options or ()) if known is not None and key in known.inputs else ()


class Revision:
    """A workflow's graph as one request changes it: nodes are copied when they are first touched."""

    def __init__(self, graph: Graph) -> None:
        self.graph = dict(graph)
        self.places: dict[Place, str] = {}
        self._own: set[str] = set()

    def set(self, place: Place, value: Any, param: str | None = None) -> None:
        self._inputs(place[0])[place[1]] = value
        if param is not None:
            self.places[place] = param

    def leave_out(self, place: Place) -> None:
        self._inputs(place[0]).pop(place[1], None)

    def _inputs(self, node: str) -> dict[str, Any]:
        if node not in self._own:
            self._own.add(node)
            copy = self.graph[node].copy()
            copy["inputs"] = dict(copy["inputs"])
            self.graph[node] = copy
        return self.graph[node]["inputs"]

    def add(self, name: str, class_type: str, inputs: dict[str, Any]) -> str:
        node = free(self.graph, name)
        self.graph[node] = Node(class_type=class_type, inputs=inputs)
        self._own.add(node)
        return node

    def rewire(self, old: Socket, new: Socket, but: str) -> None:
        """Everything that hangs on ``old`` hangs on ``new`` instead, except the node ``but``."""
        for node, given in list(self.graph.items()):
            for name, value in given["inputs"].items() if node != but else ():
                if link(value) == old:
                    self._inputs(node)[name] = list(new)

    def skip_clip(self, clip: Socket, layers: int) -> None:
        node = self.add("clip_skip", CLIP_SKIP, {"clip": list(clip), "stop_at_clip_layer": -layers})
        self.places[node, "stop_at_clip_layer"] = "clip_skip"
        self.rewire(clip, (node, 0), node)

    def use_vae(self, vae: Socket, name: str) -> None:
        node = self.add("vae", VAE, {"vae_name": name})
        self.places[node, "vae_name"] = "vae"
        self.rewire(vae, (node, 0), node)

    def add_loras(self, into: Inserts, loras: Sequence[Lora]) -> None:
        """A chain in the order of the request. Raises `ProviderRejectedError` for a name that isn't there."""
        assert into.model is not None
        self._check_weights(loras)
        # Each goes right behind the loader, so the last one is put there first.
        for number, lora in reversed(list(enumerate(loras))):
            name = demand(lora.name, into.loras, f"loras[{number}].name", "LoRA")
            inputs: dict[str, Any] = {"model": list(into.model), "lora_name": name, "strength_model": lora.weight}
            if into.model_clip is not None:
                inputs |= {"clip": list(into.model_clip), "strength_clip": lora.weight}
            node = self.add(f"lora{number + 1}", LORA if into.model_clip else LORA_MODEL_ONLY, inputs)
            self.places |= {(node, "lora_name"): f"loras[{number}].name"}
            self.places |= {(node, key): f"loras[{number}].weight" for key in inputs if key.startswith("strength_")}
            self.rewire(into.model, (node, 0), node)
            if into.model_clip is not None:
                self.rewire(into.model_clip, (node, 1), node)

    @staticmethod
    def _check_weights(loras: Sequence[Lora]) -> None:
        for number, lora in enumerate(loras):
            if not -_HEAVIEST <= lora.weight <= _HEAVIEST:
                param = f"loras[{number}].weight"
                limits = f"{-_HEAVIEST:g} and {_HEAVIEST:g}"
                raise InvalidParameterError(f"`{param}` must be between {limits}", param=param)

    def crop(self, place: Place, size: tuple[int, int], canvas: tuple[int, int]) -> None:
        """Cut the middle out of what an input gets."""
        source = link(self.graph[place[0]]["inputs"][place[1]])
        if source is not None:
            left, top = (canvas[0] - size[0]) // 2, (canvas[1] - size[1]) // 2
            box = {"width": size[0], "height": size[1], "x": left, "y": top}
            self.set(place, [self.add("crop", CROP, {"image": list(source), **box}), 0])


def free(graph: Graph, name: str) -> str:
    """A node id that isn't taken."""
    number, node = 1, name
    while node in graph:
        number, node = number + 1, f"{name}_{number + 1}"
    return node
