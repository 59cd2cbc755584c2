"""One submitted job, as far as its events tell. No I/O: events go in, state comes out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from imagerouter import Image, Progress
from imagerouter.types import unheard
from imagerouter_comfyui.api import FileRef
from imagerouter_comfyui.frames import Frame
from imagerouter_comfyui.graph import Node
from imagerouter_comfyui.recipe import Built

Clock = Callable[[], float]


class Failed(Exception):
    """The job ended without pictures: ``kind`` is ``execution_error`` or ``execution_interrupted``."""

    def __init__(self, kind: str, data: dict[str, Any]) -> None:
        super().__init__(kind)
        self.kind = kind
        self.data = data


@dataclass(eq=False, slots=True)
class Watch:
    """Implements `imagerouter_comfyui.socket.Listener`."""

    built: Built
    tell: Callable[[Progress], None]
    now: Clock
    image_index: int = 0
    """Of the request's images."""
    prompt_id: str = ""
    started: bool = False
    """Whether the server has begun to work on it."""
    orphaned: bool = False
    """Whether its events can't reach us any more."""
    done: bool = False
    failure: Failed | None = None
    files: dict[str, list[FileRef]] = field(default_factory=dict)
    frames: dict[str, list[bytes]] = field(default_factory=dict)
    cached: frozenset[str] | None = None
    """Nodes whose results the server still had; ``None`` if it didn't say."""
    settled: bool = False
    """Whether the server is through with it: a moment after ``done``, when its history is written."""
    is_queued: bool = False
    """Whether the server has said that it took the job."""
    is_doubtful: bool = False
    """Whether it may be gone from the queue, so that it has to be asked about."""
    is_next: bool = True
    """Whether no other image of the same request comes before it."""
    ahead_since: float | None = None
    """Since when somebody else's jobs keep it waiting."""
    finished_at: float = 0.0
    """By the server's clock, in milliseconds."""
    heard: float = 0.0
    """When the last sign of life came, by ``now``."""
    load_seconds: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when there is something to be done about it, which progress isn't."""
    _node: str | None = None
    _since: float = 0.0
    _is_stepping: bool = False
    _preview: Image | None = None
    """Comes just before the step that it shows is counted, and is told with it."""
    _samplers: frozenset[str] = field(init=False)
    _steps: _Steps = field(init=False)

    def __post_init__(self) -> None:
        self.heard = self.now()
        self._samplers = frozenset({name for name, node in self.built.graph.items() if _samples(node)})
        self._steps = _Steps(len(self._samplers))

    @property
    def is_loading(self) -> bool:
        """Whether silence may be a model on its way from the disk: the node that runs hasn't made a step yet."""
        return not self._is_stepping

    def on_lost(self) -> None:
        self.orphaned = True
        self.settled = self.settled or self.done
        self.changed.set()

    def hush(self) -> None:
        """Nobody wants to hear of its progress any more."""
        self.tell = unheard

    @property
    def is_followed(self) -> bool:
        return self.tell is not unheard

    def on_sign(self) -> None:
        self.heard = self.now()

    def on_step(self) -> None:
        self.heard, self._is_stepping = self.now(), True

    def on_frame(self, frame: Frame) -> None:
        self.heard = self.now()
        node = frame.node or self._node
        if node in self.built.outputs:
            self.frames.setdefault(node or "", []).append(frame.data)
        else:
            self._preview = _picture(frame.data)

    def on_event(self, kind: str, data: dict[str, Any]) -> None:
        self.heard = self.now()
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(self, data)
        if self.done or self.settled:
            self.changed.set()

    def _on_start(self, _: dict[str, Any]) -> None:
        self.started = True
        self._report(stage="load")

    def _on_cached(self, data: dict[str, Any]) -> None:
        nodes = data.get("nodes")
        self.cached = frozenset(map(str, nodes)) if isinstance(nodes, list) else frozenset()

    def _on_executing(self, data: dict[str, Any]) -> None:
        if self._node is not None and _loads(self._class_of(self._node)):
            self.load_seconds += self.now() - self._since
        node = data.get("node")
        self.settled = node is None
        self._node, self._since, self._is_stepping = (node if isinstance(node, str) else None), self.now(), False
        if self._node is not None and self.started:
            self._report(stage="load" if _loads(self._class_of(self._node)) else "render")

    def _on_progress(self, data: dict[str, Any]) -> None:
        self._is_stepping = True
        name, value, most = data.get("node"), data.get("value"), data.get("max")
        if isinstance(name, str) and name in self._samplers and isinstance(value, int) and isinstance(most, int):
            self._steps.at(name, value, most)
            self._report()

    def _on_executed(self, data: dict[str, Any]) -> None:
        node = data.get("node")
        if node in self.built.outputs:
            self.files[str(node)] = files_in(data.get("output"))

    def _on_success(self, data: dict[str, Any]) -> None:
        self.done = True
        self.finished_at = timestamp_of(data)

    def _on_failure(self, kind: str, data: dict[str, Any]) -> None:
        # An `ExecutionBlocker` is reported as an error of one node; the job goes on without it.
        if data.get("exception_type") == "ExecutionBlocked":
            return
        self.done, self.failure, self.finished_at = True, Failed(kind, data), timestamp_of(data)

    def _report(self, stage: str = "render") -> None:
        steps, preview, self._preview = self._steps, self._preview, None
        index = self.image_index
        self.tell(Progress(step=steps.step, steps=steps.steps, stage=stage, image_index=index, preview=preview))

    def _class_of(self, node: str) -> str:
        # What a node expands to while it runs isn't in the graph that was sent.
        found = self.built.graph.get(node)
        return found["class_type"] if found else ""


_HANDLERS: dict[str, Callable[[Watch, dict[str, Any]], None]] = {
    "execution_start": Watch._on_start,
    "execution_cached": Watch._on_cached,
    "executing": Watch._on_executing,
    "progress": Watch._on_progress,
    "executed": Watch._on_executed,
    "execution_success": Watch._on_success,
    "execution_error": lambda watch, data: watch._on_failure("execution_error", data),
    "execution_interrupted": lambda watch, data: watch._on_failure("execution_interrupted", data),
}


class _Steps:
    """Counts the steps of all samplers of a graph as if they were one run."""

    def __init__(self, samplers: int) -> None:
        self._samplers = samplers
        self._runs: dict[str, tuple[int, int]] = {}
        self.step = 0
        self.steps = 0
        """Samplers that haven't begun are taken to be as long as the last one; 0 before the first."""

    def at(self, node: str, value: int, most: int) -> None:
        self._runs[node] = (max(0, min(value, most)), max(0, most))
        if self._samplers == 1:
            self.step, self.steps = self._runs[node]
            return
        runs = [*self._runs.values()]
        left = max(0, self._samplers - len(runs))
        self.step = sum([done for done, _ in runs])
        self.steps = sum([whole for _, whole in runs]) + left * runs[-1][1]


def files_in(output: Any) -> list[FileRef]:
    """The pictures of one node's output. Films come under ``images`` too, with their own extension or a mark."""
    if not isinstance(output, dict):
        return []
    marks = output.get("animated")
    if any(marks) if isinstance(marks, list) else marks:
        return []
    found = output.get("images")
    files = []
    for item in found if isinstance(found, list) else ():
        try:
            file = msgspec.convert(item, FileRef)
        except msgspec.ValidationError:
            continue
        if file.filename.lower().endswith((".png", ".jpg", ".jpeg", ".webp")):
            files.append(file)
    return files


def messages_of(entry: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The events of a finished job, as its entry in the history keeps them."""
    status = entry.get("status")
    messages = status.get("messages") if isinstance(status, dict) else None
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, list) and len(message) == 2 and isinstance(message[1], dict):
            yield message[0], message[1]


def timestamp_of(data: Mapping[str, Any]) -> float:
    """When an event came, by the server's clock in milliseconds; 0 where it doesn't say."""
    value = data.get("timestamp")
    return float(value) if isinstance(value, int | float) else 0.0


def _picture(data: bytes) -> Image | None:
    image = Image(data=data)
    return image if image.media_type in ("image/jpeg", "image/png") else None


def _samples(node: Node) -> bool:
    """Whether a node draws in steps. ``KSamplerSelect`` and ``ModelSamplingFlux`` only carry the word."""
    return "Sampler" in node["class_type"] and "latent_image" in node["inputs"]


def _loads(class_type: str) -> bool:
    return "Loader" in class_type
