"""A server of AUTOMATIC1111's family that draws coloured squares, and that misbehaves on demand.

Routes, bodies, errors and oddities are those of AUTOMATIC1111 1.10 (``a1111-old``: 1.7), reForge, Forge, SD.Next or
stable-diffusion.cpp. It never sleeps: a job runs as fast as the event loop turns, or waits at the gate of `hold`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from tests.providers.a1111.fake_dialects import fields
from tests.providers.a1111.fake_jobs import Job
from tests.providers.a1111.fake_server import A1111Server, Trouble

from imagerouter.testing.wire import Request, Response

TROUBLES = {
    "oom": ("OutOfMemoryError", "CUDA out of memory. Tried to allocate 2.00 GiB (GPU 0; 8.00 GiB total capacity)"),
    "nan": (
        "NansException",
        "A tensor with all NaNs was produced in Unet. This could be either because there's not enough precision to "
        "represent the picture, or because your video card does not support half type.",
    ),
}


class FakeA1111(A1111Server):
    """Between ``async with`` and its end it runs at ``url``. Attributes are for assertions, methods for orders."""

    def hold(self, at: Literal["step", "load", "question"] = "step", *, stubborn: bool = False) -> None:
        """Jobs stop before each step of a sampler, or before their checkpoint is loaded.

        With ``question`` they do one step whenever somebody asks how far a job is, without being let go.
        An interruption lets them go on to where they notice it, if they aren't ``stubborn``.
        """
        self.gate, self.stubborn = at, stubborn

    async def held(self) -> Job:
        """Wait until a job stands at the gate."""
        await self.until(lambda: self.at_gate)
        assert self.running_job is not None
        return self.running_job

    async def step(self, count: int = 1) -> None:
        """Let the held job pass the gate ``count`` times; it stands there again, or nothing runs any more."""
        for _ in range(count):
            await self.held()
            before = self.arrivals
            self.turns += 1
            self.notify()
            await self.until(lambda before=before: self.arrivals > before or not self.tasks)  # type: ignore[misc]

    def release(self) -> None:
        """Open the gate for good."""
        self.gate = None
        self.notify()

    async def waiting(self, count: int = 1) -> None:
        """Wait until so many jobs stand in the queue behind the one that runs."""
        await self.until(lambda: sum(job.status == "waiting" for job in self.jobs) >= count)

    async def idle(self) -> None:
        """Wait until nothing runs or waits."""
        await self.until(lambda: not self.tasks)

    async def foreign_job(self, **params: Any) -> Job:
        """The owner presses Generate; when this returns, the job is in the queue or runs."""
        body = {"prompt": "somebody else's", "steps": 2, "width": 64, "height": 64, "seed": 1} | params
        job = Job(self.task_id("txt2img", foreign=True), "txt2img", body, {**self.defaults(), **body}, foreign=True)
        self.start_job(job)
        await self.until(lambda: job.id in self.pending or job.status != "waiting")
        return job

    def defaults(self) -> dict[str, Any]:
        """Of a request for text to image."""
        return fields("a1111" if self.dialect == "sdcpp" else self.dialect, "txt2img")

    def fail_next(self, kind: str, message: str = "") -> None:
        """The next job of the API fails: ``oom``, ``nan``, ``html`` (a proxy's page, 502), ``empty`` (200 without
        pictures), ``429`` (once it is done), or with an exception of the class ``kind`` and this message."""
        self.troubles.append(Trouble(*TROUBLES[kind]) if kind in TROUBLES else Trouble(kind, message))

    def cut_next(self, *, dies: bool = False) -> None:
        """The next job's connection is reset before its first step; the job goes on, or ends there."""
        self.cuts.append(dies)

    def answer(self, method: str, path: str, answer: Callable[[Request], Response | None]) -> None:
        """Answer this route otherwise; ``None`` cuts the connection."""
        self.answers[method, path] = answer

    def interrupt(self) -> None:
        """Somebody else presses Interrupt: whatever runs ends."""
        self.state.interrupted = True
        self.notify()

    def bodies(self, path: str) -> list[Any]:
        """What was sent there."""
        return [request.json() for request in self.requests if request.path == path]

    def paths(self) -> list[str]:
        """Methods and paths that were asked for."""
        return [f"{request.method} {request.path}" for request in self.requests]

    async def abort(self) -> None:
        """The process is killed: connections are reset, jobs and all that wasn't saved are gone."""
        await self._stop_jobs()
        await self.wire.abort()
        self.forget()
        self.reset()

    async def start(self) -> None:
        """It is there again, at the same address."""
        await self.wire.start()

    async def turn(self, times: int = 20) -> None:
        """Let the event loop turn."""
        for _ in range(times):
            await asyncio.sleep(0)
