"""A workflow with its parameters bound: the recipe of one model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from imagerouter import ImageRequest, InvalidParameterError, Model
from imagerouter.names import demand
from imagerouter.parameters import DECLARABLE
from imagerouter_comfyui.bind.inserts import Inserts, Revision
from imagerouter_comfyui.bind.sizes import AXES
from imagerouter_comfyui.bind.targets import Targets
from imagerouter_comfyui.graph import Graph, Place
from imagerouter_comfyui.recipe import Built, Sources

_PLAIN = tuple(sorted(DECLARABLE - {"seed", "images", "mask", "loras", "hires", *AXES}))
REPORTED = tuple("steps cfg_scale guidance sampler scheduler strength clip_skip vae width height".split())
"""Parameters whose value in force is told to the client."""
_HIRES = ("scale", "steps", "strength", "upscaler")


@dataclass(frozen=True, kw_only=True)
class Workflow:
    """One model of a provider, drawn by a graph of the operator's own."""

    model: Model
    mask_as: Literal["white", "alpha"]
    files: frozenset[str]
    graph: Graph
    """What every request starts from; only nodes that the outputs need."""
    outputs: tuple[str, ...]
    pictures: tuple[Place, ...]
    """Inputs through which the outputs get their pictures."""
    bindings: dict[str, Targets]
    """Parameter, or word of `provider.options`, → the inputs that it is written into."""
    unbound: dict[str, str]
    """Canonical parameters that can't be bound, with the reason."""
    inserts: Inserts
    prefixes: tuple[Place, ...] = ()
    needed: int = 0
    """So many images have to come with a request."""
    spare: dict[int, frozenset[Place]] = field(default_factory=dict)
    """Number of an image → the optional inputs that are left out when it doesn't come."""
    crops: bool = False
    """Whether a size that can't be drawn exactly can be cut out of a larger one."""
    fixed_size: bool = False
    """Whether the native size is the operator's, rather than the graph's own."""
    defaults: dict[str, Any] = field(default_factory=dict)
    """Canonical parameters as the graph has them."""
    notes: tuple[str, ...] = ()
    """What else the operator should know."""

    @property
    def options(self) -> frozenset[str]:
        return frozenset(word for word in self.bindings if _is_option(word))

    def build(self, request: ImageRequest, sources: Sources) -> Built:
        """The graph of one image. Raises `InvalidParameterError` where a value can't be used."""
        if len(sources.images) < self.needed:
            count = "an input image" if self.needed == 1 else f"{self.needed} input images"
            raise InvalidParameterError(f"`images`: `{self.model.name}` needs {count}", param="images")
        revision = Revision(self.graph)
        applied = dict(self.defaults)
        used: set[str] = set()
        for parameter, value in self._values(request, sources):
            self._write(revision, parameter, value, applied)
            used.add(parameter.partition(".")[0])
        used |= self._write_size(revision, request, applied)
        used |= self._write_pictures(revision, sources)
        used |= self._insert(revision, request, applied)
        for place in self.prefixes:
            revision.set(place, sources.prefix)
        self._note_overwritten(revision, applied)
        ignored = request.parameters - used - {"partial_images"}
        return Built(revision.graph, self.outputs, revision.places, applied, frozenset(ignored))

    def _values(self, request: ImageRequest, sources: Sources) -> Iterator[tuple[str, Any]]:
        """Bound parameters that the request gives, sizes and pictures aside."""
        given: dict[str, Any] = {"prompt": request.prompt, "seed": sources.seed}
        given |= {name: getattr(request, name) for name in _PLAIN}
        if request.hires is not None:
            given |= {f"hires.{name}": getattr(request.hires, name) for name in _HIRES}
        given |= {word: value for word, value in request.options.items() if word not in given}
        # What says more than one thing, such as a quality, gives way to what says one.
        for parameter in sorted(self.bindings, key=REPORTED.__contains__):
            if given.get(parameter) is not None and parameter not in ("images", "mask", *AXES):
                yield parameter, given[parameter]

    def _write(self, revision: Revision, parameter: str, value: Any, applied: dict[str, Any]) -> None:
        param = f"provider.options.{parameter}" if _is_option(parameter) else parameter
        own: Any = None
        for target in reversed(self.bindings[parameter]):
            own = target.write(target.fold_seed(value) if parameter == "seed" else value, param)
            revision.set(target.place, own, param)
        if parameter in REPORTED:
            first = self.bindings[parameter][0]
            is_translated = first.factor != 1.0 or (first.rule is not None and bool(first.rule.map))
            applied[parameter] = value if is_translated else own

    def _note_overwritten(self, revision: Revision, applied: dict[str, Any]) -> None:
        """Where two parameters share an input, the graph's own value is no longer what the other one is."""
        for parameter in self.defaults:
            target = self.bindings[parameter][0]
            if revision.places.get(target.place, parameter) != parameter and target.factor == 1.0:
                applied[parameter] = revision.graph[target.place[0]]["inputs"][target.place[1]]

    def _write_size(self, revision: Revision, request: ImageRequest, applied: dict[str, Any]) -> set[str]:
        axes = [axis for axis in AXES if axis in self.bindings]
        asked = {axis: getattr(request, axis) for axis in axes}
        if not axes or (not self.fixed_size and all(value is None for value in asked.values())):
            return set()
        size = {axis: asked[axis] or getattr(self.model, axis) for axis in axes}
        multiple = self.model.size_multiple
        for axis in axes:
            self._write(revision, axis, -(-size[axis] // multiple) * multiple, applied)
        drawn = {axis: applied[axis] for axis in axes}
        # A limit of the operator's is no margin to cut off.
        is_margin = len(axes) == len(AXES) and all(0 <= drawn[axis] - size[axis] < multiple for axis in axes)
        if self.crops and is_margin and drawn != size:
            applied |= size
            for place in self.pictures:
                revision.crop(place, (size["width"], size["height"]), (drawn["width"], drawn["height"]))
        return {*axes}

    def _write_pictures(self, revision: Revision, sources: Sources) -> set[str]:
        images, masks = self.bindings.get("images", ()), self.bindings.get("mask", ())
        for target, name in zip(images, sources.images, strict=False):
            revision.set(target.place, name, "images")
        for number, places in self.spare.items():
            for place in places if number > len(sources.images) else ():
                revision.leave_out(place)
        mask = sources.mask if self.mask_as == "white" else next(iter(sources.images), None)
        if mask is not None:
            for target in masks:
                revision.set(target.place, mask, "mask" if self.mask_as == "white" else "images")
        used = {"images"} if images and len(sources.images) <= len(images) else set()
        return used | ({"mask"} if masks and mask is not None else set())

    def _insert(self, revision: Revision, request: ImageRequest, applied: dict[str, Any]) -> set[str]:
        into, used = self.inserts, set[str]()
        if request.clip_skip is not None and into.clip is not None:
            if request.clip_skip > 1:
                revision.skip_clip(into.clip, request.clip_skip)
            applied["clip_skip"] = request.clip_skip
            used.add("clip_skip")
        if request.vae is not None and into.vae is not None:
            name = demand(request.vae, into.vaes, "vae", "VAE")
            revision.use_vae(into.vae, name)
            applied["vae"] = name
            used.add("vae")
        if request.loras and into.model is not None:
            revision.add_loras(into, request.loras)
            used.add("loras")
        return used


def _is_option(word: str) -> bool:
    """Whether a bound word is no canonical parameter, but one of this workflow's own."""
    return word not in DECLARABLE and word != "prompt" and not word.startswith("hires.")
