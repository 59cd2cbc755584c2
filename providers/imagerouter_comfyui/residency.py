"""Which models a server has loaded. It never says so; what can be known is which jobs it has just run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from imagerouter import names
from imagerouter_comfyui.graph import Graph

MOST_KEPT = 16

_FILE_INPUTS = ("ckpt_name", "unet_name", "model_name", "clip_name", "vae_name", "control_net_name")


def files_of(graph: Any) -> frozenset[str]:
    """The model files that a graph loads, of whoever has sent it; LoRAs don't count."""
    nodes = graph.values() if isinstance(graph, dict) else ()
    inputs = (node.get("inputs") for node in nodes if isinstance(node, dict))
    return frozenset(
        names.slashed(value)
        for found in inputs
        if isinstance(found, dict)
        for name, value in found.items()
        if isinstance(value, str) and name.rstrip("0123456789") in _FILE_INPUTS
    )


def loaders_of(graph: Graph, files: frozenset[str]) -> frozenset[str]:
    """Nodes that read some of these model files."""
    return frozenset(
        node_id
        for node_id, node in graph.items()
        if any(isinstance(value, str) and value in files for value in node["inputs"].values())
    )


class Residency:
    """Sets of files, the ones used last first.

    By default a server keeps the results of the last graph's loaders only; one that was started with
    ``--cache-lru`` keeps more. How many is learned: whether the loaders of a set used ``k`` sets ago were
    answered from the cache tells whether at least ``k`` sets are kept.
    """

    def __init__(self) -> None:
        self._recent: list[frozenset[str]] = []
        self._kept = 1
        self._at = 0.0

    @property
    def at(self) -> float:
        """When the newest known job ended, by the server's clock in milliseconds."""
        return self._at

    def ran(self, files: frozenset[str], at: float, *, cached: bool | None = None) -> None:
        """A job with these files has ended.

        :param cached: whether the server still had all of them; ``None`` if that isn't known.
        """
        if not files or at < self._at:
            return
        files = _slashed(files)
        self._at = at
        if files in self._recent and cached is not None:
            depth = self._recent.index(files) + 1
            self._kept = max(self._kept, depth) if cached else max(1, min(self._kept, depth - 1))
        self._recent = [files, *(other for other in self._recent if other != files)][:MOST_KEPT]

    def forget(self) -> None:
        """The server was restarted, or has unloaded everything."""
        self._recent, self._kept, self._at = [], 1, 0.0

    def resident(self, models: Iterable[tuple[str, frozenset[str]]]) -> frozenset[str]:
        """Of models with their files, the ids of those that are loaded."""
        loaded: frozenset[str] = frozenset().union(*self._recent[: self._kept])
        return frozenset(name for name, files in models if files and _slashed(files) <= loaded)


def _slashed(files: Iterable[str]) -> frozenset[str]:
    return frozenset(map(names.slashed, files))
