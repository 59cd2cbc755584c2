"""Jobs that run on a server: which one does is found out by asking, since nothing is ever told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from imagerouter import Image, ImageRouterError
from imagerouter_a1111.api import Api
from imagerouter_a1111.recipe import Stock

NEARLY_DONE = 0.99
"""A job that has come so far isn't stopped any more: the order could reach the next one, which is somebody else's."""
_WHOLE_JOBS = ("api-", "text", "image", "control", "video", "postprocess", "models")
"""What SD.Next calls jobs, as opposed to their parts; ``api-`` are those that came over its API."""


@dataclass(frozen=True)
class Look:
    """What a server is doing, as far as it says."""

    busy: bool = False
    ours: bool = False
    """Whether it is surely the job that was asked about that runs."""
    ahead: int | None = None
    """Jobs before it, while it waits and where that is known."""
    done: bool = False
    """The job has come to its end, or the server has never heard of it."""
    fraction: float = 0.0
    """Of the whole job, 0.0 to 1.0."""
    step: int = 0
    steps: int = 0
    began: str = ""
    """When the job that runs began, in the server's own notation."""
    interrupted: bool = False
    """Whether the last job was stopped, or is being stopped."""
    preview: Image | None = None


@dataclass
class Job:
    """One request of ours that is under way."""

    task_id: str | None
    alone: bool = False
    """Nothing ran when it was sent; so what runs next is this."""
    sent_at: float = 0.0
    """By the server's clock."""
    began: str = ""
    """What `Look.began` was when it was first seen to run alone."""
    seen_running: bool = False
    told_to_stop: bool = False
    ahead: int = 0
    """Jobs that were before it when it was last looked at, with a server that tells this of single jobs only."""
    preview_id: int = -1
    is_proven: bool = False
    """Whether the server's history says that it runs."""


class Jobs:
    """What is known of the jobs of one server.

    With task ids (``modules/progress.py``) a job is known by its own. Without (SD.Next, or a server started without
    its user interface) it is known only while it is alone: sent to an idle server, and the one that ran next.
    """

    def __init__(self, api: Api) -> None:
        self._api = api
        self._running: list[Job] = []
        self._ghosts: frozenset[str] = frozenset()
        """Tasks that failed before they began stay in the server's list of those that wait, for ever."""

    @property
    def count(self) -> int:
        return len(self._running)

    async def begin(self, stock: Stock) -> Job:
        """A job that is about to be sent."""
        job = Job(f"ir-{uuid4().hex}" if stock.has_task_ids else None, alone=not self._running)
        self._running.append(job)
        if job.task_id is None:
            try:
                job.alone &= not await self.busy(stock)
            except ImageRouterError:
                job.alone = False
            except BaseException:
                self.end(job)
                raise
            job.sent_at = self._api.clock
        return job

    def end(self, job: Job) -> None:
        if job in self._running:
            self._running.remove(job)

    async def look(self, job: Job, stock: Stock, *, preview: bool = False) -> Look:
        """How far a job is. Raises classes of `imagerouter.errors`."""
        if job.task_id is not None:
            return await self._task(job, preview=preview)
        # Somebody else's picture is nobody's business, so before there is any the job has to be surely ours.
        shown = preview and (job.is_proven or await self._prove(job, stock))
        seen = await self._global(stock, preview=shown)
        if not seen.busy or not job.alone or self._running != [job]:
            return Look(busy=seen.busy)
        if not job.seen_running:
            job.seen_running, job.began = True, seen.began
        return replace(seen, ours=True)

    async def busy(self, stock: Stock) -> bool:
        """Whether any job runs, whoever's."""
        return (await self._global(stock)).busy

    async def interrupt(self, job: Job, stock: Stock) -> bool:
        """Stop a job, if it surely is the one that runs; whether it was.

        The server can't be told which job to stop, it stops whatever runs (``/sdapi/v1/interrupt``).
        """
        if not await self._surely_runs(job, stock) or job not in self._running:
            return False
        # Once is enough, and each further time could be the next job's.
        if not job.told_to_stop or not await self.was_interrupted(stock):
            await self._api.post("sdapi/v1/interrupt")
            job.told_to_stop = True
        return True

    async def _surely_runs(self, job: Job, stock: Stock) -> bool:
        seen = await self.look(job, stock)
        if not seen.ours or seen.fraction >= NEARLY_DONE:
            return False
        if job.task_id is not None:
            return True
        return await self._prove(job, stock) and (job.is_proven or seen.began == job.began)

    async def _prove(self, job: Job, stock: Stock) -> bool:
        """Whether nobody else's job can have begun since it was sent, as far as the server remembers."""
        if "/sdapi/v1/history" not in stock.routes:
            return job.alone
        job.is_proven = job.alone and await self._is_only_one_since(job.sent_at)
        return job.is_proven

    async def _is_only_one_since(self, moment: float) -> bool:
        """SD.Next's history (``modules/shared_state.py``) has the beginning of each job, and of all its parts."""
        rows = await self._api.try_get("sdapi/v1/history", [])
        begun = [
            row
            for row in (rows if isinstance(rows, list) else [])
            if isinstance(row, dict)
            and row.get("op") == "begin"
            and str(row.get("job")).startswith(_WHOLE_JOBS)
            and _number(row.get("timestamp")) >= moment
        ]
        return moment > 0 and len(begun) == 1

    async def was_interrupted(self, stock: Stock) -> bool:
        """Whether the job that runs, or that ended last, was stopped: its answer looks like any other."""
        return (await self._global(stock)).interrupted

    async def load(self, stock: Stock) -> tuple[int, int]:
        """Jobs that run and that wait, other people's included."""
        if not stock.dialect.has_settings:
            return self._known()
        # In this order: what waited before the server was seen to be idle will never run.
        waiting = await self._pending(stock)
        seen = await self._global(stock)
        if not seen.busy and not self._running:
            self._ghosts = waiting
        return int(seen.busy), len(waiting - self._ghosts)

    def _known(self) -> tuple[int, int]:
        """Of a server that lists no jobs (stable-diffusion.cpp): ours, and what is before the last of them."""
        count = max([len(self._running), *(job.ahead + 1 for job in self._running)])
        return min(1, count), max(0, count - 1)

    async def _pending(self, stock: Stock) -> frozenset[str]:
        if "/internal/pending-tasks" not in stock.routes:
            return frozenset()
        found = await self._api.try_get("internal/pending-tasks", {})
        tasks = found.get("tasks") if isinstance(found, dict) else None
        return frozenset(task for task in tasks if isinstance(task, str)) if isinstance(tasks, list) else frozenset()

    async def _task(self, job: Job, *, preview: bool) -> Look:
        asked = {"id_task": job.task_id, "live_preview": preview, "id_live_preview": job.preview_id}
        found = _object(await self._api.post("internal/progress", asked))
        if isinstance(number := found.get("id_live_preview"), int):
            job.preview_id = number
        active, queued = found.get("active") is True, found.get("queued") is True
        job.seen_running |= active
        return Look(
            busy=active,
            ours=active,
            ahead=self._ahead(found.get("textinfo")) if queued else None,
            done=not active and not queued,
            fraction=_number(found.get("progress")),
            preview=_picture(found.get("live_preview")),
        )

    def _ahead(self, text: Any) -> int | None:
        """``In queue: 2/3`` counts from 1 those that wait; one more is running."""
        place = str(text).rpartition(":")[2].partition("/")[0].strip()
        return max(0, int(place) - len(self._ghosts)) if place.isdecimal() else None

    async def _global(self, stock: Stock, *, preview: bool = False) -> Look:
        """``/sdapi/v1/progress`` tells of whatever runs. Without the picture it costs the server nothing."""
        skip = "false" if preview else "true"
        if not stock.dialect.has_settings:
            return Look()
        found = _object(await self._api.get("sdapi/v1/progress", skip_current_image=skip))
        state = _object(found.get("state"))
        count = _number(state.get("job_count"))
        return Look(
            busy=bool(state.get("job")) or count != 0,
            # 0.01 while a checkpoint is loaded (``modules/api/api.py``: ``progressapi``), with a count of -1.
            fraction=_number(found.get("progress")) if count >= 0 else 0.0,
            step=int(_number(state.get("sampling_step"))),
            steps=int(_number(state.get("sampling_steps"))),
            began=str(state.get("job_timestamp", "")),
            interrupted=any(state.get(flag) is True for flag in ("interrupted", "skipped", "stopping_generation")),
            preview=_picture(found.get("current_image")),
        )


def _object(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


def _number(found: Any) -> float:
    return float(found) if isinstance(found, int | float) and found == found else 0.0  # noqa: PLR0124 - NaN


def _picture(found: Any) -> Image | None:
    """A preview, as base64 or as a ``data:`` address."""
    if not isinstance(found, str) or not found:
        return None
    text = found.partition(",")[2] if found.startswith("data:") else found
    image = Image(b64=text.encode("ascii", "replace"))
    return image if image.media_type.startswith("image/") else None
