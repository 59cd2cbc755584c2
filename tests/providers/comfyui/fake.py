"""A ComfyUI server that draws coloured squares, and that misbehaves on demand.

Routes, bodies, errors and the order of events are those of ComfyUI 0.33; with ``old=True`` those of a server from
before July 2025. It never sleeps: a job runs as fast as the event loop turns, or waits at the gate of `hold`.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.providers.comfyui.fake_server import ComfyServer
from tests.providers.comfyui.fake_validation import Graph
from tests.providers.comfyui.fake_worker import NodeError

from imagerouter.testing.wire import Request, Response


class FakeComfy(ComfyServer):
    """Between ``async with`` and its end it runs at ``url``. Attributes are for assertions, methods for orders."""

    def hold(self, at: str = "Sampler") -> None:
        """Jobs stop after each step of a sampler; or, once, where a node begins whose class contains ``at``."""
        self.gate = at

    def release(self, turns: int | None = None) -> None:
        """Let the job that is held pass the gate ``turns`` times; ``None`` opens it for good."""
        if turns is None:
            self.gate = None
        else:
            self.turns += turns
        self.notify()

    async def running(self) -> str:
        """Wait until a job stands at the gate; its id."""
        await self.until(lambda: self.at_gate)
        assert self.running_job is not None
        return self.running_job.id

    def fail(self, kind: str, message: str, node: str | None = None) -> None:
        """The next node (of the class ``node``) that is run raises ``kind``, such as ``torch.OutOfMemoryError``."""
        self.failures.append((NodeError(kind, message), node))

    def answer(self, method: str, path: str, answer: Callable[[Request], Response | None]) -> None:
        """Answer this route otherwise; ``None`` cuts the connection."""
        self.answers[method, path] = answer

    async def interrupt(self) -> None:
        """Somebody else stops the job that runs."""
        if self.running_job is not None:
            self.running_job.interrupted = True
            self.notify()

    async def forget(self, prompt_id: str) -> None:
        """Somebody else takes a job out of the queue; nobody is told."""
        await self.remove([prompt_id])

    async def foreign_job(self, *, front: bool = False) -> str:
        """Somebody else's job: one picture of the first checkpoint; its id."""
        graph: Graph = {
            "a": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": self.files["checkpoints"][0]}},
            "b": {"class_type": "CLIPTextEncode", "inputs": {"text": f"foreign {self.number}", "clip": ["a", 1]}},
            "c": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
            "d": {
                "class_type": "KSampler",
                "inputs": {"seed": 1, "steps": 1, "cfg": 7.0, "sampler_name": "euler", "scheduler": "normal"}
                | {"denoise": 1.0, "model": ["a", 0], "positive": ["b", 0], "negative": ["b", 0]}
                | {"latent_image": ["c", 0]},
            },
            "e": {"class_type": "VAEDecode", "inputs": {"samples": ["d", 0], "vae": ["a", 2]}},
            "f": {"class_type": "SaveImage", "inputs": {"filename_prefix": "foreign", "images": ["e", 0]}},
        }
        job = self.job(graph, {"client_id": "somebody-else"}, ["f"], front=front)
        await self.enqueue(job)
        return job.id

    def mute(self, muted: bool = True) -> None:
        """No socket gets anything any more, and none is closed."""
        self.muted = muted

    def drop_sockets(self) -> None:
        for socket in list(self.wire.sockets):
            socket.abort()

    async def kill(self) -> None:
        """The process ends: connections are reset, queue and history are gone."""
        await self.stop_worker()
        await self.wire.abort()
        self.reset()
