"""Loaded pipelines: least recently used goes first, by measured bytes, and never one that is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from imagerouter_diffusers import devices, failures


@dataclass
class Resident:
    """One loaded pipeline."""

    pipe: Any
    size: int
    """Bytes of its weights."""
    users: int = 0
    vaes: dict[str, Any] = field(default_factory=dict)
    """VAEs that requests have exchanged for its own, by name."""

    def measure(self) -> None:
        self.size = bytes_of(self.pipe, *self.vaes.values())


class Residents:
    """The loaded pipelines of one device. Used on its worker thread only, but for `keys`."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.budget: int | None = None
        self._loaded: dict[str, Resident] = {}

    def keys(self) -> frozenset[str]:
        return frozenset(list(self._loaded))

    @contextmanager
    def use(self, key: str, estimate: int, load: Callable[[], Any]) -> Iterator[Resident]:
        """The pipeline of this key, loaded if need be after room was made for its estimated size."""
        resident = self._loaded.get(key)
        if resident is None:
            self._make_room(estimate)
            pipe = self._load(load)
            resident = self._loaded[key] = Resident(pipe, bytes_of(pipe))
        self._loaded[key] = self._loaded.pop(key)
        resident.users += 1
        try:
            self._make_room(0)
            yield resident
        finally:
            resident.users -= 1

    def _load(self, load: Callable[[], Any]) -> Any:
        try:
            return load()
        except Exception as error:
            if not failures.is_out_of_memory(error):
                raise
        self.evict_idle()
        return load()

    def evict_idle(self) -> None:
        """Everything that isn't in use, as after running out of memory."""
        for key in [key for key, resident in self._loaded.items() if resident.users == 0]:
            del self._loaded[key]
        devices.free_memory(self.device)

    def _make_room(self, needed: int) -> None:
        budget = self.budget if self.budget is not None else devices.default_budget(self.device)
        evicted = False
        for key, resident in list(self._loaded.items()):
            if sum(other.size for other in self._loaded.values()) + needed <= budget:
                break
            if resident.users == 0:
                del self._loaded[key]
                evicted = True
        if evicted:
            devices.free_memory(self.device)


def bytes_of(*parts: Any) -> int:
    """Bytes of all weights, shared ones counted once. Pipelines and single modules both."""
    sizes: dict[int, int] = {}
    for part in parts:
        modules = getattr(part, "components", {"": part}).values()
        for module in modules:
            if hasattr(module, "parameters") and hasattr(module, "buffers"):
                for tensor in [*module.parameters(), *module.buffers()]:
                    sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
    return sum(sizes.values())
