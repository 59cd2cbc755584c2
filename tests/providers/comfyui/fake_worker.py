"""The stand-in's queue and its one worker: jobs by priority, events in the order in which a real server sends them."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.providers.comfyui.fake_pictures import Drawing, preview

if TYPE_CHECKING:
    from tests.providers.comfyui.fake_server import ComfyServer

Graph = dict[str, dict[str, Any]]


class Interrupted(Exception):
    pass


class NodeError(Exception):
    """What a node raises on demand; ``kind`` is its class with the module."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Job:
    number: float
    id: str
    graph: Graph
    extra: dict[str, Any]
    outputs: list[str]
    created: int
    client: str | None = None
    interrupted: bool = False
    node: str | None = None
    """What runs now."""
    results: dict[str, Any] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    @property
    def item(self) -> list[Any]:
        """As `/queue` and `/history` tell it."""
        return [self.number, self.id, self.graph, self.extra, self.outputs]

    def order(self) -> Iterator[str]:
        """Nodes that the outputs need, each after what it needs."""
        done: dict[str, None] = {}

        def visit(node_id: str) -> None:
            for value in self.graph[node_id]["inputs"].values():
                if isinstance(value, list) and value[0] not in done:
                    visit(value[0])
            done[node_id] = None

        for output in self.outputs:
            visit(output)
        yield from done


LOADS = ("ckpt_name", "unet_name", "lora_name", "vae_name", "clip_name", "control_net_name", "model_name")
"""Inputs that name a model file."""


class Run:
    """One job on its way through the graph."""

    def __init__(self, fake: ComfyServer, job: Job) -> None:
        self.fake = fake
        self.job = job
        self.drawing = Drawing(job.graph, fake.input_file)
        self.states: dict[str, dict[str, Any]] = {}
        self.done: list[str] = []
        """Nodes that ran to their end."""

    async def run(self) -> None:
        """Everything from ``execution_start`` to the last event before the queue moves on."""
        try:
            await self._tell("execution_start", stamped=True)
            await self._tell("execution_cached", stamped=True, nodes=self._cached())
            for node_id in self.job.order():
                await self._node(node_id)
        except Interrupted:
            self.fake.interrupted.append(self.job.id)
            await self._tell("execution_interrupted", stamped=True, to_all=True, **self._where(), executed=self.done)
        except Exception as error:  # a node's exception is told to the client, as in a real server
            await self._failed(error)
        else:
            await self._tell("execution_success", stamped=True)

    def _cached(self) -> list[str]:
        signatures = {}
        for node_id in self.job.graph:
            try:
                signatures[node_id] = self.drawing.signature(node_id)
            except (KeyError, FileNotFoundError):
                continue  # a node that is broken, but that no output needs
        self.fake.cache = {key: value for key, value in self.fake.cache.items() if key in signatures.values()}
        return [node_id for node_id, key in signatures.items() if key in self.fake.cache]

    async def _node(self, node_id: str) -> None:
        fake, signature = self.fake, self.drawing.signature(node_id)
        if signature in fake.cache:
            await self._cached_output(node_id, fake.cache[signature])
            return
        self.job.node = node_id
        await self._state(node_id, 0.0, 1.0)
        await self._tell("executing", node=node_id, display_node=node_id)
        if self.job.interrupted:
            raise Interrupted
        await fake.pass_gate(self.job, node_id)
        fake.fail_if_told(self.job.graph[node_id]["class_type"])
        output = await self._execute(node_id)
        if output is not None:
            await self._show(node_id, output)
        self.done.append(node_id)
        state = self.states[node_id]
        await self._state(node_id, state["max"], state["max"], "finished")
        if self.job.graph[node_id]["class_type"] != "SaveImageWebsocket":
            fake.cache[signature] = output
        await asyncio.sleep(0)

    async def _cached_output(self, node_id: str, output: Any) -> None:
        if node_id in self.job.outputs and output is not None:
            await self._show(node_id, output)
            await self._state(node_id, 1, 1, "finished")

    async def _show(self, node_id: str, output: Any) -> None:
        self.job.results[node_id] = output
        await self._tell("executed", node=node_id, display_node=node_id, output=output)

    async def _execute(self, node_id: str) -> Any:
        """The node's output for the user, if it has any."""
        node = self.job.graph[node_id]
        name, inputs = node["class_type"], node["inputs"]
        if name in ("LoadImage", "LoadImageMask"):
            self.fake.check_picture(inputs["image"])
        if files := [value for key, value in inputs.items() if key in LOADS and isinstance(value, str)]:
            self.fake.loaded += files
        if steps := self.drawing.steps(node_id):
            await self._sample(node_id, steps)
        if name == "SaveImageWebsocket":
            await self._send_pictures(node_id)
        if name in ("SaveImage", "PreviewImage"):
            kind = "output" if name == "SaveImage" else "temp"
            prefix = str(inputs.get("filename_prefix", "ComfyUI_temp_fake"))
            return {"images": [self.fake.save(prefix, data, kind) for data in self.drawing.pictures(node_id)]}
        return None

    async def _sample(self, node_id: str, steps: int) -> None:
        for step in range(1, steps + 1):
            if self.job.interrupted:
                raise Interrupted
            picture = preview(self.drawing.signature(node_id), step) if self._wants_previews else None
            await self._progress(node_id, step, steps, picture, "image/jpeg")
            await asyncio.sleep(0)
            await self.fake.pass_gate(self.job, node_id, step)
        if self.job.interrupted:
            raise Interrupted

    async def _send_pictures(self, node_id: str) -> None:
        pictures = self.drawing.pictures(node_id, chunk=False)
        for index, data in enumerate(pictures):
            await self._progress(node_id, index, len(pictures), data, "image/png")

    @property
    def _wants_previews(self) -> bool:
        asked = "none" if self.fake.old else self.job.extra.get("preview_method", "default")
        return (self.fake.previews if asked == "default" else asked) != "none"

    async def _progress(self, node_id: str, value: int, steps: int, picture: bytes | None, media_type: str) -> None:
        """The frame comes before ``progress`` where it tells its job, and after it where it doesn't."""
        await self._state(node_id, value, steps)
        told = self.fake.knows_metadata(self.job.client)
        if picture is not None and told:
            await self.fake.send_bytes(self._frame(node_id, picture, media_type), self.job.client)
        await self._tell("progress", to_all=True, value=value, max=steps, node=node_id)
        if picture is not None and not told:
            kind = 1 if media_type == "image/jpeg" else 2
            await self.fake.send_bytes(struct.pack(">II", 1, kind) + picture, self.job.client)

    def _frame(self, node_id: str, picture: bytes, media_type: str) -> bytes:
        about = self._about(node_id) | {"image_type": media_type}
        head = json.dumps(about).encode()
        return struct.pack(">II", 4, len(head)) + head + picture

    def _about(self, node_id: str) -> dict[str, Any]:
        return {
            "node_id": node_id,
            "prompt_id": self.job.id,
            "display_node_id": node_id,
            "parent_node_id": None,
            "real_node_id": node_id,
        }

    async def _state(self, node_id: str, value: float, most: float, state: str = "running") -> None:
        self.states[node_id] = {"value": value, "max": most, "state": state} | self._about(node_id)
        await self._tell("progress_state", to_all=True, nodes=self.states)

    def _where(self) -> dict[str, Any]:
        node = self.job.node
        return {"node_id": node, "node_type": self.job.graph[node]["class_type"] if node else None}

    async def _failed(self, error: Exception) -> None:
        module = type(error).__module__
        name = error.kind if isinstance(error, NodeError) else f"{module}.{type(error).__qualname__}"
        plain = {key: [value] for key, value in self.job.graph[self.job.node or ""]["inputs"].items()}
        await self._tell(
            "execution_error",
            stamped=True,
            **self._where(),
            executed=self.done,
            exception_message=f"{error}\n",
            exception_type=name.removeprefix("builtins."),
            traceback=['  File "/comfyui/execution.py", line 1, in execute\n'],
            current_inputs={key: value for key, value in plain.items() if not isinstance(value[0], list)},
            current_outputs=list(self.job.graph),
        )

    async def _tell(self, event: str, *, stamped: bool = False, to_all: bool = False, **data: Any) -> None:
        """Of a job that named no client, only progress and the interruption are told, and these to everybody."""
        data = {"prompt_id": self.job.id, **data} | ({"timestamp": self.fake.now()} if stamped else {})
        if event.startswith("execution_"):
            self.job.messages.append((event, data))
        if self.job.client is not None or to_all:
            await self.fake.send(event, data, self.job.client)
