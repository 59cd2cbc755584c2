"""How far jobs are, as ``/sdapi/v1/progress`` and ``/internal/progress`` tell it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from imagerouter.types import Image, Progress

BEGUN = 0.01
"""What a job is said to have done when it has done nothing yet: 0 is how clients tell that there is none."""


@dataclass(slots=True)
class Course:
    """What is known of one job on its way."""

    kind: str
    """``txt2img`` or ``img2img``."""
    n: int
    """Pictures."""
    task: str = ""
    """The client's own name for it (``force_task_id``)."""
    began: datetime = field(default_factory=datetime.now)
    latest: Progress = field(default_factory=lambda: Progress(stage="queue"))
    preview: Image | None = None
    previews: int = 0
    """How many there were."""
    _done: dict[int, float] = field(default_factory=dict)
    """Image → its done part; of all at once, each has the same."""

    def tell(self, _: str | None, progress: Progress) -> None:
        """Takes a sign of life (`ProgressListener`)."""
        self.latest = progress
        if progress.preview is not None:
            self.preview, self.previews = progress.preview, self.previews + 1
        concerned = range(self.n) if progress.image_index is None else (progress.image_index,)
        self._done.update(dict.fromkeys(concerned, progress.fraction))

    @property
    def waits(self) -> bool:
        return self.latest.stage == "queue"

    @property
    def finished(self) -> int:
        """Pictures that have had their last step."""
        return min(self.n - 1, sum(done >= 1 for done in self._done.values()))

    @property
    def fraction(self) -> float:
        """Done part of the whole job."""
        return max(BEGUN, min(1.0, sum(self._done.values()) / self.n))

    @property
    def text(self) -> str | None:
        """What it is doing, where that isn't drawing."""
        if self.waits:
            ahead = self.latest.queue_position
            return "Waiting..." if ahead is None else f"In queue: {ahead + 1}/{ahead + 1}"
        return "Loading the model" if self.latest.stage == "load" else None


@dataclass(frozen=True, slots=True)
class Stops:
    """What the sender has asked for since its last job began."""

    skipped: bool = False
    interrupted: bool = False


def progress(course: Course | None, stops: Stops, *, picture: bool) -> dict[str, Any]:
    """:param picture: whether the last preview is wanted."""
    preview = course.preview if course is not None and picture else None
    return {
        "progress": 0.0 if course is None else course.fraction,
        "eta_relative": 0.0 if course is None else round(course.latest.eta or 0.0, 2),
        "state": _state(course, stops),
        "current_image": None if preview is None else preview.b64.decode(),
        "textinfo": None if course is None else course.text,
    }


def _state(course: Course | None, stops: Stops) -> dict[str, Any]:
    return {
        "skipped": stops.skipped,
        "interrupted": stops.interrupted,
        "stopping_generation": False,
        "job": "" if course is None else f"scripts_{course.kind}",
        "job_count": 0 if course is None else course.n,
        "job_timestamp": "0" if course is None else course.began.strftime("%Y%m%d%H%M%S"),
        "job_no": 0 if course is None else course.finished,
        "sampling_step": 0 if course is None else course.latest.step,
        "sampling_steps": 0 if course is None else course.latest.steps,
    }


def task(course: Course | None, *, completed: bool, seen: int | None) -> dict[str, Any]:
    """One job by its task id.

    :param completed: whether it has been and isn't any more.
    :param seen: the number of the preview that the client has; ``None`` if it wants none.
    """
    active = course is not None and not course.waits
    preview = course.preview if course is not None and seen is not None and course.previews != seen else None
    number = -1 if seen is None else seen
    return {
        "active": active,
        "queued": course is not None and course.waits,
        "completed": completed,
        "progress": course.fraction if course is not None and active else None,
        "eta": course.latest.eta if course is not None and active else None,
        "live_preview": None if preview is None else f"data:{preview.media_type};base64,{preview.b64.decode()}",
        "id_live_preview": course.previews if course is not None and preview is not None else number,
        "textinfo": "Waiting..." if course is None else course.text,
    }
