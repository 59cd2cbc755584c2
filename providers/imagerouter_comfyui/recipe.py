"""What the part that runs jobs needs of a model: a graph for one image. Templates and workflows both give it."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import msgspec

from imagerouter import ImageRequest, Model
from imagerouter_comfyui.graph import Graph, Place


class Sources(msgspec.Struct, frozen=True):
    """What a graph is filled with beyond the request: pictures that are uploaded by now, and names."""

    seed: int
    """Of this one image."""
    prefix: str
    """``filename_prefix`` for whatever saves a picture. Unique, so that the server's cache can't answer."""
    images: tuple[str, ...] = ()
    """The request's input images, as `LoadImage` takes them."""
    image_size: tuple[int, int] | None = None
    """Width and height of the first of them."""
    mask: str | None = None
    """The mask as a grey picture without alpha, white where it is repainted; only if the recipe's ``mask_as`` is
    ``white``."""
    controls: tuple[str, ...] = ()
    """Pictures of ``options.controlnet[]``, in its order."""


class Built(msgspec.Struct, frozen=True):
    """A graph that draws one image."""

    graph: Graph
    outputs: tuple[str, ...]
    """Nodes whose pictures are the result; what others save is none of our business."""
    places: dict[Place, str] = {}
    """Which canonical parameter an input was set from: the server's complaints are told in the client's words."""
    applied: dict[str, Any] = {}
    """Canonical parameters as the graph has them, its own defaults included."""
    ignored: frozenset[str] = frozenset()
    """Canonical parameters of the request that had no effect."""


class Recipe(Protocol):
    """How one model's graphs are made. Pure: no I/O."""

    @property
    def model(self) -> Model: ...

    @property
    def mask_as(self) -> Literal["white", "alpha"]:
        """``white``: `Sources.mask` is a picture of its own. ``alpha``: the first image has the mask as its alpha."""

    @property
    def files(self) -> frozenset[str]:
        """Names of the model files that it loads, without LoRAs: what has to be resident for it to start at once."""

    @property
    def options(self) -> frozenset[str]:
        """Keys that it takes in ``provider.options``."""

    def build(self, request: ImageRequest, sources: Sources) -> Built:
        """The graph of one image. Raises `InvalidParameterError` where a value can't be used."""
