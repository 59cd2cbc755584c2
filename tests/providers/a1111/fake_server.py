"""The working half of the stand-in: its queue, its gate, its one lock and its address."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from email.utils import formatdate
from typing import Any, Self

from tests.providers.a1111.fake_dialects import LISTS, QUIRKS, Failure, Name, error_body, refused
from tests.providers.a1111.fake_jobs import Job, Killed, Run, State
from tests.providers.a1111.fake_settings import Memory

from imagerouter.testing.wire import Request, Response, WireServer

CHECKPOINTS: dict[str, tuple[str, ...]] = {
    "sdnext": ("Diffusers/tiny/sdA", "Diffusers/tiny/sdB", "tinyC.safetensors"),
    "sdcpp": ("tiny-sd15.safetensors",),
}
WEB_CHECKPOINTS = ("tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors")
MODULES = ("ae.safetensors", "clip_l.safetensors", "t5xxl_fp16.safetensors")


@dataclass
class Trouble:
    """What the next job runs into."""

    kind: str
    message: str = ""


class A1111Server(Memory):
    """State and mechanics; `FakeA1111` adds what a test can order."""

    def __init__(
        self,
        dialect: Name = "a1111",
        *,
        checkpoints: Iterable[str] | None = None,
        loras: Iterable[str] = ("tinylora", "tinylora2"),
        vaes: Iterable[str] | None = None,
        fresh: bool = False,
        hashed: bool = True,
        api: bool = True,
        ui: bool = True,
        auth: tuple[str, str] | None = None,
        threads: int = 40,
        max_queue: int = 64,
        **wire: Any,
    ) -> None:
        self.dialect, self.api, self.ui, self.auth = dialect, api, ui, auth
        self.loras = list(loras)
        self.upscalers: list[str] = [row["name"] for row in LISTS["upscalers"]]
        super().__init__(
            QUIRKS[dialect], checkpoints or CHECKPOINTS.get(dialect, WEB_CHECKPOINTS), hashed=hashed, fresh=fresh
        )
        self.vaes += vaes if vaes is not None else MODULES if dialect == "forge" else ("tinyvae.safetensors",)
        self.wire = WireServer(self._answer, **wire)
        self.max_queue = max_queue
        self._pool = asyncio.Semaphore(threads)
        self._open_books()
        self.reset()

    def _open_books(self) -> None:
        """What a test is told, and what it may order."""
        self.requests: list[Request] = []
        self.jobs: list[Job] = []
        """Every job that got as far as the queue, the owner's own included."""
        self.interrupted: list[Job] = []
        """Jobs that were stopped while they ran, whoever's they were."""
        self.answers: dict[tuple[str, str], Callable[[Request], Response | None]] = {}
        self.troubles: list[Trouble] = []
        self.cuts: list[bool] = []
        self.rate_limit: int | None = None
        self._numbers = itertools.count(1)
        self.clock = 1795276000.0
        """Seconds since 1970; one passes with every request."""
        self._random = random.Random(1111)

    def reset(self) -> None:
        """What a server has in memory only."""
        self.state = State()
        self.lock = asyncio.Lock()
        self.pending: dict[str, Job] = {}
        self.current_task: str | None = None
        self.finished_tasks: list[str] = []
        self.running_job: Job | None = None
        self.native_jobs: dict[str, Job] = {}
        self.loras_listed = False
        self.history: list[dict[str, Any]] = []
        """SD.Next's: beginnings and ends of jobs and of their parts."""
        self.native_worker = asyncio.Lock()
        self.expired_jobs: set[str] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.asked: dict[str, int] = {}
        self.gate: str | None = None
        self.stubborn = False
        self.turns = self.arrivals = self.questions = 0
        self.at_gate = False
        self._changed = asyncio.Event()

    # Running

    @property
    def url(self) -> str:
        return self.wire.url

    async def __aenter__(self) -> Self:
        await self.wire.start()
        return self

    async def __aexit__(self, *raised: Any) -> None:
        await self._stop_jobs()
        await self.wire.__aexit__(*raised)

    async def _stop_jobs(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; it is asked again whenever something happens here."""
        while not condition():
            await self._changed.wait()

    def notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    # What jobs need

    def start_job(self, job: Job) -> asyncio.Task[None]:
        """It goes on without whoever sent it."""
        self.jobs.append(job)
        return self.watched(asyncio.create_task(Run(self, job).run()))

    def watched(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        """A job that fails on its own account, rather than as it was ordered, fails the test."""
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception) and not isinstance(error, Failure | Killed):
            self.wire.errors.append(error)
        self.notify()

    def queue_left(self, job: Job) -> None:
        self.pending.pop(job.id, None)
        self.running_job, self.current_task = job, job.id
        job.status = "running"
        self.notify()

    def finished(self, job: Job) -> None:
        self.finished_tasks = [*self.finished_tasks, job.id][-16:]
        if self.current_task == job.id:
            self.current_task = None
        if job.status == "running":
            job.status = "done"

    async def pass_gate(self, job: Job, where: str) -> None:
        """Wait while jobs are held here; one that is interrupted goes on to where it notices."""
        if self.gate == "question" and where == "step":
            seen = self.questions
            await self.until(lambda: self.questions > seen or self.state.interrupted or self.gate != "question")
        if self.gate != where:
            return
        self.at_gate = True
        self.arrivals += 1
        self.notify()
        await self.until(lambda: self.gate != where or self.turns > 0 or (self.state.interrupted and not self.stubborn))
        self.at_gate = False
        self.turns = max(0, self.turns - 1)

    def strike(self, job: Job, *more: str) -> None:
        """What a test ordered for this job happens to it: its connection ends, or it fails."""
        if job.foreign:
            return
        if self.cuts:
            dies = self.cuts.pop(0)
            job.lost = True
            self.notify()
            if dies:
                raise Killed
        if self.troubles and (self.troubles[0].kind in more or self.troubles[0].kind not in ("html", "empty", "429")):
            trouble = self.troubles.pop(0)
            raise Failure(trouble.kind, trouble.message)

    def trouble(self, *kinds: str) -> Trouble | None:
        """The next trouble, if it is one of these."""
        return self.troubles.pop(0) if self.troubles and self.troubles[0].kind in kinds else None

    def task_id(self, route: str, *, foreign: bool = False) -> str:
        digits = hashlib.sha256(f"task {next(self._numbers)}".encode()).hexdigest()
        return f"task({digits[:15]})" if foreign else f"task({route}-{digits[:7].upper()})"

    def part_id(self) -> str:
        """SD.Next names each part of a job anew."""
        return hashlib.sha256(f"{self.state.timestamp} {self.state.job_no}".encode()).hexdigest()[:15]

    def draw_seed(self) -> int:
        return self._random.randrange(2**32)

    def note(self, job: Job, part: str, op: str) -> None:
        names = {"txt2img": "api-txt", "img2img": "api-img"}
        told = part or ("text" if job.foreign else names.get(job.route, job.route))
        number = hashlib.sha256(f"{job.id} {told}".encode()).hexdigest()[:15]
        row = {"id": number, "job": told, "op": op, "timestamp": self.clock + 0.5}
        self.history.append(row | {"duration": 0.5 if op == "end" else None, "outputs": []})

    def stamp(self) -> str:
        return str(20261121150000 + next(self._numbers))

    # Answering

    async def _answer(self, request: Request) -> Response | None:
        from tests.providers.a1111.fake_routes import respond

        self.requests.append(request)
        self.clock += 1.0
        asks = request.path.endswith(("/progress", "/status")) or request.path.startswith("/sdcpp/v1/jobs/")
        self.questions += asks and not request.path.endswith("/cancel")
        self.notify()
        told = self.answers.get((request.method, request.path))
        if told is not None:
            return told(request)
        async with self._pool:
            try:
                self._authorise(request)
                response = await respond(self, request)
            except Failure as failure:
                response = error_body(self.quirks, failure)
        return response if response is None else self._sent(request, self._limited(request) or response)

    def _authorise(self, request: Request) -> None:
        """Only ``/sdapi`` is guarded, and no header asks for the password."""
        if self.auth is None or not request.path.startswith("/sdapi/"):
            return
        given = request.headers.get("authorization", "")
        if not given.startswith("Basic "):
            raise refused(401, "Not authenticated")
        if base64.b64decode(given.removeprefix("Basic ")).decode() != ":".join(self.auth):
            raise refused(401, "Incorrect username or password")

    def _limited(self, request: Request) -> Response | None:
        """SD.Next counts what it has answered, and then throws the answer away."""
        if self.rate_limit is None:
            return None
        cost = 5 if request.path.endswith(("/txt2img", "/img2img")) else 1
        self.asked[request.path] = self.asked.get(request.path, 0) + cost
        return self.too_often(request.path) if self.asked[request.path] > self.rate_limit else None

    def too_often(self, path: str) -> Response:
        return error_body(self.quirks, refused(429, f"127.0.0.1:{path}: rate limit exceeded"))

    def _sent(self, request: Request, response: Response) -> Response:
        """With the time of day, which stable-diffusion.cpp alone doesn't tell."""
        if self.dialect == "sdcpp":
            return response
        told = {**response.headers, "date": formatdate(self.clock, usegmt=True), "server": "uvicorn"}
        return self._zipped(request, replace(response, headers=told))

    def _zipped(self, request: Request, response: Response) -> Response:
        least = self.quirks.zip_from
        if least is None or len(response.content) < least or "gzip" not in request.headers.get("accept-encoding", ""):
            return response
        headers = {name: value for name, value in response.head.items() if name != "content-length"}
        headers |= {"content-encoding": "gzip", "vary": "Accept-Encoding"}
        return Response(status=response.status, headers=headers, body=gzip.compress(response.content, 1))
