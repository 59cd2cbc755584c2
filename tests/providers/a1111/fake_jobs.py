"""One job on its way through the stand-in: settings, checkpoint, steps, pictures. And what the server tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import PIL.Image
from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake_dialects import Failure, refused
from tests.providers.a1111.fake_plan import Plan, plan

if TYPE_CHECKING:
    from tests.providers.a1111.fake_server import A1111Server

Status = Literal["waiting", "running", "done", "interrupted", "failed", "cancelled"]


class Killed(Exception):
    """The job dies where it is, and nobody is told."""


@dataclass(eq=False)
class Job:
    """What was asked for, and what became of it."""

    id: str
    route: str
    """``txt2img``, ``img2img``, or for sd.cpp's own route ``img_gen``."""
    body: dict[str, Any]
    """As it came."""
    params: dict[str, Any]
    """With the defaults of what it doesn't say."""
    foreign: bool = False
    """Whether the owner pressed Generate, rather than a client of the API."""
    status: Status = "waiting"
    steps_done: int = 0
    pictures: list[PIL.Image.Image] = field(default_factory=list)
    info: Any = ""
    texts: list[str | None] = field(default_factory=list)
    lost: bool = False
    """Whether its connection was cut."""


@dataclass
class State:
    """The server's only one, whoever's job runs (``modules/shared_state.py``)."""

    job: str = ""
    job_count: int = 0
    job_no: int = 0
    sampling_step: int = 0
    sampling_steps: int = 0
    interrupted: bool = False
    skipped: bool = False
    timestamp: str = "0"

    def begin(self, job: str, timestamp: str) -> None:
        """It forgets interruptions of before: one that comes too early does nothing."""
        self.job, self.job_count, self.job_no, self.sampling_step = job, -1, 0, 0
        self.interrupted = self.skipped = False
        self.timestamp = timestamp

    def end(self) -> None:
        self.job, self.job_count = "", 0

    @property
    def progress(self) -> float:
        """Of the job, from 0 to 1."""
        if self.job_count <= 0:
            return 0.0
        step = self.sampling_step / self.sampling_steps if self.sampling_steps else 0.0
        return min(1.0, (self.job_no + step) / self.job_count)


class Run:
    """A job of the family's common routes."""

    def __init__(self, server: A1111Server, job: Job) -> None:
        self.server, self.job = server, job
        self.state, self.settings = server.state, server.settings

    async def run(self) -> None:
        """From its place in the queue to its pictures. Raises `Failure`; the task then stays active until the next."""
        server, job = self.server, self.job
        server.pending[job.id] = job
        server.notify()
        async with server.lock:
            self._check_pictures()
            server.queue_left(job)
            self.state.begin(job.id if job.foreign else f"scripts_{job.route}", server.stamp())
            for part in ("", "process", "base"):
                server.note(job, part, "begin")
            try:
                await self._process()
                server.finished(job)
            except (Failure, Killed):
                job.status = "failed"
                raise
            finally:
                for part in ("base", "process", ""):
                    server.note(job, part, "end")
                self.state.end()
                server.running_job = None
                server.notify()

    def _check_pictures(self) -> None:
        """This comes before the task is started, so that one that fails is pending for ever."""
        if self.job.route != "img2img":
            return
        for text in self.job.params["init_images"]:
            if pictures.decode(text) is None:
                raise refused(500, "Invalid encoded image")

    async def _process(self) -> None:
        """``process_images``."""
        overrides = dict(self.job.params.get("override_settings") or {})
        own = self.job.params.get("sd_model_checkpoint")
        if own:
            overrides.setdefault("sd_model_checkpoint", own)
        if self.server.quirks.name == "sdnext" and self.server.resident is None:
            return  # nothing is loaded: no pictures, and no error
        stored = self.server.stored(overrides)
        try:
            await self.server.pass_gate(self.job, "load")
            self.server.override(overrides)
            await self._draw(plan(self.server, self.job))
        finally:
            if self.job.params.get("override_settings_restore_afterwards", True):
                self.server.restore(stored)

    async def _draw(self, todo: Plan) -> None:
        state, n_iter = self.state, int(self.job.params["n_iter"])
        passes = todo.passes
        state.job_count = n_iter * len(passes)
        drawn: list[PIL.Image.Image] = []
        for index in range(n_iter):
            state.skipped = False
            if state.interrupted:
                break
            done = 0
            for number, steps in enumerate(passes):
                if not (state.interrupted or state.skipped):
                    done += await self._sample(steps)
                state.job_no = index * len(passes) + number + 1
            drawn += todo.batch(index, None if done == sum(passes) else done)
        if state.interrupted:
            self.job.status = "interrupted"
            self.server.interrupted.append(self.job)
        self.job.pictures, self.job.texts, self.job.info = todo.results(drawn, self.server.stamp())

    async def _sample(self, steps: int) -> int:
        """How many steps were done. Before each of them a held job waits, and an interruption is noticed."""
        self.state.sampling_steps = steps
        for step in range(steps):
            self.state.sampling_step = step
            await asyncio.sleep(0)
            await self.server.pass_gate(self.job, "step")
            self.server.strike(self.job)
            if self.state.interrupted or self.state.skipped:
                return step
            self.job.steps_done += 1
        return steps


def progress_of(server: A1111Server, *, with_picture: bool) -> dict[str, Any]:
    """``/sdapi/v1/progress``: of whatever runs, without saying what it is."""
    state, is_next = server.state, server.quirks.name == "sdnext"
    told: dict[str, Any] = {"skipped": state.skipped, "interrupted": state.interrupted}
    told |= {} if is_next else {"stopping_generation": False}
    told |= {"job": state.job, "job_count": state.job_count, "job_timestamp": state.timestamp, "job_no": state.job_no}
    told |= {"sampling_step": state.sampling_step, "sampling_steps": state.sampling_steps}
    busy = state.job_count != 0
    progress = min(1.0, state.progress + (0.0 if is_next else 0.01)) if busy else 0.0
    picture = None
    if busy and with_picture and state.job_count > 0:
        preview = pictures.paint({"preview": state.sampling_step}, (64, 64))
        picture = pictures.encode(preview, server.settings.get("samples_format"), None)
    body = {"progress": progress, "eta_relative": 1.0 if busy else 0.0, "state": told}
    if is_next:
        told["job"] = "Inference" if state.job else ""
        body = {"id": server.part_id() if state.job else "", **body, "progress": round(progress, 2)}
    return body | {"current_image": picture, "textinfo": None}


def task_of(server: A1111Server, body: Mapping[str, Any]) -> dict[str, Any]:
    """``/internal/progress``: of one task, if its id is known."""
    task, waiting = body.get("id_task"), list(server.pending)
    told: dict[str, Any] = {"active": task is not None and task == server.current_task, "queued": task in waiting}
    told |= {"completed": task in server.finished_tasks, "progress": None, "eta": None}
    told |= {"live_preview": None, "id_live_preview": -1}
    if told["active"]:
        progress = server.state.progress
        return told | {"progress": progress, "eta": 1.0 if progress else None, "textinfo": None}
    if told["queued"]:
        return told | {"textinfo": f"In queue: {waiting.index(str(task)) + 1}/{len(waiting)}"}
    return told | {"textinfo": "Waiting..."}
