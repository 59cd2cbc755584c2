"""ComfyUI 0.33 as a client sees it, as far as the adapter asks: jobs, their events, and the pictures to fetch."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from pictures import Picture
from wire import Answer, Asked, Socket, told

NAME = "comfy-canned"
_FILE = f"{NAME}.safetensors"
_CHOICES = {"ckpt_name": [_FILE], "sampler_name": ["euler", "dpmpp_2m"], "scheduler": ["normal", "karras"]}
_RANGES = {"steps": ("INT", 1, 10_000), "cfg": ("FLOAT", 0.0, 100.0), "width": ("INT", 16, 16_384)}
_RANGES |= {"height": _RANGES["width"], "denoise": ("FLOAT", 0.0, 1.0), "seed": ("INT", 0, 2**64 - 1)}
_INPUTS = {name: [options, {}] for name, options in _CHOICES.items()} | {
    name: [kind, {"min": least, "max": most}] for name, (kind, least, most) in _RANGES.items()
}
_CLASS = {"input": {"required": _INPUTS}, "output": ["*"]}
"""Every class of node: what tells them apart isn't asked for the graphs that are sent here."""
_STATS = {"system": {"comfyui_version": "0.33.0", "os": "posix"}, "devices": []}


class Comfy:
    """A server without a queue: each job ends on its own, after its delay."""

    def __init__(self) -> None:
        self._sockets: dict[str, Socket] = {}
        self._running: dict[str, asyncio.TimerHandle] = {}

    def join(self, socket: Socket, client: str) -> None:
        self._sockets[client] = socket
        socket.send(self._status())

    def leave(self, socket: Socket) -> None:
        self._sockets = {name: other for name, other in self._sockets.items() if other is not socket}

    def answer(self, asked: Asked) -> Answer | None:
        head, _, last = asked.path.removeprefix("/api").strip("/").partition("/")
        if head == "view":
            return told(Picture.ordered(asked.query["filename"].encode()).raw, kind="image/png")
        answers: dict[tuple[str, str], Callable[[], object]] = {
            ("POST", "prompt"): lambda: self._submit(json.loads(asked.body), Picture.ordered(asked.body)),
            ("POST", "jobs"): lambda: self._cancel(last.removesuffix("/cancel")),
            ("GET", "jobs"): lambda: {"jobs": [{"id": job, "status": "in_progress"} for job in self._running]},
            ("GET", "queue"): lambda: {"queue_running": [], "queue_pending": []},
            ("GET", "history"): dict,
            ("POST", "history"): dict,
            ("GET", "models"): lambda: [_FILE] if last == "checkpoints" else [],
            ("GET", "object_info"): lambda: {last: _CLASS | {"name": last, "output_node": last == "SaveImage"}},
            ("GET", "system_stats"): lambda: _STATS,
        }
        found = answers.get((asked.method, head))
        return told(found()) if found else None

    def _submit(self, body: dict[str, Any], picture: Picture) -> dict[str, Any]:
        job, graph, client = body["prompt_id"], body["prompt"], body["client_id"]
        later = asyncio.get_running_loop().call_later
        self._running[job] = later(picture.delay_ms / 1000, self._finish, job, graph, client, picture)
        self._tell(client, self._status())
        return {"prompt_id": job, "number": 0, "node_errors": {}}

    def _cancel(self, job: str) -> dict[str, Any]:
        timer = self._running.pop(job, None)
        if timer is not None:
            timer.cancel()
        return {"cancelled": timer is not None}

    def _finish(self, job: str, graph: dict[str, Any], client: str, picture: Picture) -> None:
        self._running.pop(job)
        events = [*_events(graph, picture), ("executing", {"node": None})]
        told = [{"type": kind, "data": {"prompt_id": job, **data}} for kind, data in events]
        self._tell(client, *told[:-1], self._status(), told[-1])

    def _tell(self, client: str, *events: Mapping[str, object]) -> None:
        if client in self._sockets:
            self._sockets[client].send(*events)

    def _status(self) -> dict[str, object]:
        return {"type": "status", "data": {"status": {"exec_info": {"queue_remaining": len(self._running)}}}}


def _events(graph: dict[str, Any], picture: Picture) -> list[tuple[str, dict[str, Any]]]:
    """What a server tells about a job from start to end."""
    events: list[tuple[str, dict[str, Any]]] = [
        ("execution_start", {"timestamp": 1}),
        ("execution_cached", {"nodes": []}),
    ]
    for node, spec in graph.items():
        events.append(("executing", {"node": node, "display_node": node}))
        steps = spec["inputs"].get("steps", 1)
        for step in range(1, steps + 1):
            state = {"value": step, "max": steps, "state": "running", "node_id": node}
            events.append(("progress_state", {"nodes": {node: state}}))
            if steps > 1:
                events.append(("progress", {"value": step, "max": steps, "node": node}))
        if spec["class_type"] == "SaveImage":
            file = {"filename": f"{picture.prompt}.png", "subfolder": "", "type": "output"}
            events.append(("executed", {"node": node, "display_node": node, "output": {"images": [file]}}))
    return [*events, ("execution_success", {"timestamp": 2})]
