"""The working half of the stand-in: what it remembers, its queue, its files and its sockets."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from tests.providers.comfyui.fake_disk import Disk
from tests.providers.comfyui.fake_routes import respond
from tests.providers.comfyui.fake_validation import Graph
from tests.providers.comfyui.fake_worker import Job, Run

from imagerouter.testing.wire import Request, Response, Socket, WireServer

OBJECT_INFO = Path(__file__).parent / "object_info.json"

FOLDERS = {
    ("CheckpointLoaderSimple", "ckpt_name"): "checkpoints",
    ("UNETLoader", "unet_name"): "diffusion_models",
    ("LoraLoader", "lora_name"): "loras",
    ("LoraLoaderModelOnly", "lora_name"): "loras",
    ("VAELoader", "vae_name"): "vae",
    ("CLIPLoader", "clip_name"): "text_encoders",
    ("DualCLIPLoader", "clip_name1"): "text_encoders",
    ("DualCLIPLoader", "clip_name2"): "text_encoders",
    ("ControlNetLoader", "control_net_name"): "controlnet",
    ("UpscaleModelLoader", "model_name"): "upscale_models",
}
"""Which list of files an input chooses from."""

FILES = {
    "checkpoints": ["tiny_a.safetensors", "tiny_b.safetensors"],
    "diffusion_models": [],
    "loras": ["tiny_lora.safetensors"],
    "vae": ["tiny_vae.safetensors"],
    "text_encoders": [],
    "controlnet": [],
    "upscale_models": [],
    "embeddings": [],
}


class ComfyServer(Disk):
    """State and mechanics; `FakeComfy` adds what a test can order."""

    def __init__(
        self,
        *,
        old: bool = False,
        previews: str = "none",
        version: str | None = None,
        files: dict[str, list[str]] | None = None,
        **wire: Any,
    ) -> None:
        super().__init__()
        self.old = old
        self.previews = previews
        """What the server was started with: previews of jobs that don't say which they want."""
        self.version = version or ("0.3.43" if old else "0.33.0")
        self.files = {folder: list(names) for folder, names in (FILES | (files or {})).items()}
        self.metadata: dict[tuple[str, str], dict[str, Any]] = {}
        """`/view_metadata`, by folder and file."""
        self.sizes: dict[str, int] = {}
        """Bytes by file, where they aren't `USUAL_SIZE`."""
        self.classes: dict[str, dict[str, Any]] = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
        """`/object_info`; remove a class and the server doesn't have it."""
        self.wire = WireServer(self._answer, self._on_socket, **wire)
        self.requests: list[Request] = []
        self.submitted: list[dict[str, Any]] = []
        """Bodies of `POST /prompt` that were accepted."""
        self.cancelled: list[str] = []
        """Jobs that clients took out of the queue or stopped."""
        self.interrupted: list[str] = []
        """Jobs that were stopped while they ran, by whomever."""
        self.loaded: list[str] = []
        """Model files in the order in which they were loaded."""
        self.freed: list[dict[str, Any]] = []
        self.answers: dict[tuple[str, str], Callable[[Request], Response | None]] = {}
        self.failures: list[tuple[Exception, str | None]] = []
        self._clock = itertools.count(1795217111879)
        self.features = {"supports_preview_metadata": True, "max_upload_size": 104857600}
        self.muted = False
        self.reset()

    def reset(self) -> None:
        """What a server has in memory only."""
        self.pending: list[Job] = []
        self.running_job: Job | None = None
        self.history: dict[str, dict[str, Any]] = {}
        self.number = 0
        self.cache: dict[bytes, Any] = {}
        self.sockets: dict[str, Socket] = {}
        self.announced: set[str] = set()
        self.gate: str | None = None
        self.turns = 0
        self.at_gate = False
        self._changed = asyncio.Event()

    # Running

    @property
    def url(self) -> str:
        return self.wire.url

    async def __aenter__(self) -> Self:
        await self.restart()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self.stop_worker()
        await self.wire.__aexit__(*raised)

    async def restart(self) -> None:
        """It is there (again), at the same address."""
        await self.wire.start()
        self._worker = asyncio.create_task(self._work())

    async def stop_worker(self) -> None:
        self._worker.cancel()
        for outcome in await asyncio.gather(self._worker, return_exceptions=True):
            if isinstance(outcome, Exception):
                raise outcome

    async def _work(self) -> None:
        while True:
            await self.until(lambda: bool(self.pending))
            job = min(self.pending, key=lambda job: job.number)
            self.pending.remove(job)
            self.running_job = job
            await self.queue_changed()
            await Run(self, job).run()
            self._remember(job)
            self.running_job = None
            await self.queue_changed()
            if job.client is not None:
                await self.send("executing", {"node": None, "prompt_id": job.id}, job.client)

    def _remember(self, job: Job) -> None:
        done = job.messages[-1][0] == "execution_success"
        self.history[job.id] = {
            "prompt": job.item,
            "outputs": job.results,
            "status": {"status_str": "success" if done else "error", "completed": done, "messages": job.messages},
            "meta": {
                node: {"node_id": node, "display_node": node, "parent_node": None, "real_node_id": node}
                for node in job.results
            },
        }

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is asked again whenever something happens here."""
        while not condition():
            await self._changed.wait()

    def notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # What the worker and the routes use

    def job(self, graph: Graph, extra: dict[str, Any], outputs: list[str], **body: Any) -> Job:
        number = self.take_number(body)
        known = None if self.old else body.get("prompt_id")
        extra = extra | {"create_time": self.now()}
        return Job(number, known or str(uuid.uuid4()), graph, extra, outputs, self.now(), extra.get("client_id"))

    def take_number(self, body: dict[str, Any]) -> float:
        if body.get("number") is not None:
            return float(body["number"])
        self.number += 1
        return -(self.number - 1) if body.get("front") else self.number - 1

    async def enqueue(self, job: Job) -> None:
        self.pending.append(job)
        await self.queue_changed()

    async def remove(self, ids: list[str] | None) -> list[str]:
        """Take jobs out of the queue (``None``: all that don't run); which were there."""
        found = [job for job in self.pending if ids is None or job.id in ids]
        if found:
            self.pending = [job for job in self.pending if job not in found]
            await self.queue_changed()
        return [job.id for job in found]

    def stop(self, prompt_id: str | None) -> bool:
        """Interrupt the running job (``None``: whichever it is)."""
        job = self.running_job
        if job is None or prompt_id not in (None, job.id):
            return False
        if not job.interrupted:
            job.interrupted = True
            self.cancelled.append(job.id)
        self.notify()
        return True

    async def pass_gate(self, job: Job, node_id: str, step: int = 0) -> None:
        """Wait while jobs are held here; one that is stopped goes on to where it notices."""
        name = job.graph[node_id]["class_type"]
        here = self.gate is not None and self.gate in name and (step > 0) == ("Sampler" in name)
        if not here or job is not self.running_job:
            return
        self.at_gate = True
        self.notify()
        await self.until(lambda: self.gate is None or self.turns > 0 or job.interrupted)
        self.at_gate = False
        self.turns = max(0, self.turns - 1)

    def fail_if_told(self, class_name: str) -> None:
        for failure in self.failures:
            if failure[1] in (None, class_name):
                self.failures.remove(failure)
                raise failure[0]

    async def queue_changed(self) -> None:
        self.notify()
        await self.send("status", {"status": {"exec_info": {"queue_remaining": self.remaining}}})

    @property
    def remaining(self) -> int:
        return len(self.pending) + (self.running_job is not None)

    def now(self) -> int:
        """Milliseconds that pass with every look."""
        return next(self._clock)

    def info(self, class_name: str) -> dict[str, Any] | None:
        """One class of `/object_info`, with the files that are there now."""
        if class_name not in self.classes:
            return None
        raw: dict[str, Any] = {"output": [], "output_node": False, "name": class_name} | copy.deepcopy(
            self.classes[class_name]
        )
        for (name, field), folder in FOLDERS.items():
            for section in ("required", "optional") if name == class_name else ():
                spec = raw["input"].get(section, {}).get(field)
                if spec is not None and spec[0] == "COMBO":
                    spec[1]["options"] = list(self.files[folder])
                elif spec is not None:
                    spec[0] = list(self.files[folder])
        return raw

    def knows_metadata(self, client: str | None) -> bool:
        return client in self.announced

    async def send(self, event: str, data: dict[str, Any], client: str | None = None) -> None:
        """To one client, or to all of them. What isn't connected misses it."""
        for socket in self._receivers(client):
            await socket.send_json({"type": event, "data": data})

    async def send_bytes(self, frame: bytes, client: str | None) -> None:
        for socket in self._receivers(client):
            await socket.send_bytes(frame)

    def _receivers(self, client: str | None) -> list[Socket]:
        if self.muted:
            return []
        return [socket for name, socket in self.sockets.items() if client in (None, name)]

    async def _on_socket(self, socket: Socket) -> None:
        """One registration for each client id: a second socket takes it over, and whichever closes ends it."""
        client = socket.request.query.get("clientId") or uuid.uuid4().hex
        self.sockets[client] = socket
        self.notify()
        status = {"exec_info": {"queue_remaining": self.remaining}}
        await socket.send_json({"type": "status", "data": {"status": status, "sid": client}})
        job = self.running_job
        if job is not None and job.client == client and job.node is not None:
            await socket.send_json({"type": "executing", "data": {"node": job.node}})
        try:
            await self._listen(client, socket)
        finally:
            self.sockets.pop(client, None)
            self.announced.discard(client)
            self.notify()

    async def _listen(self, client: str, socket: Socket) -> None:
        first = True
        async for message in socket:
            flags = json.loads(message)
            if first and not self.old and flags.get("type") == "feature_flags":
                if flags["data"].get("supports_preview_metadata"):
                    self.announced.add(client)
                await socket.send_json({"type": "feature_flags", "data": self.features})
            first = False

    async def _answer(self, request: Request) -> Response | None:
        self.requests.append(request)
        self.notify()
        path = request.path
        if path.startswith("/api/") and not path.startswith("/api/jobs"):
            path = path.removeprefix("/api")
        if (told := self.answers.get((request.method, path))) is not None:
            return told(request)
        return await respond(self, request, path)
