"""One progress bar per picture on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from imagerouter.client import ProgressEvent


class Bars:
    """Shows the progress events of one call; shows nothing where nobody is looking."""

    def __init__(self, n: int, *, hidden: bool) -> None:
        console = Console(stderr=True)
        self._n = n
        self._bars: dict[int | None, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[steps]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[provider]}"),
            console=console,
            transient=True,
            disable=hidden or not console.is_terminal,
        )
        self._waiting = self._add("starting")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def update(self, event: ProgressEvent) -> None:
        index, step, steps = event.image_index, event.step, event.steps
        drawing = event.stage == "render"
        self._progress.update(self._waiting, visible=not drawing)
        if drawing and index not in self._bars:
            self._bars[index] = self._add(self._title(index))
        self._progress.update(
            self._bars[index] if drawing else self._waiting,
            completed=step,
            total=steps or None,
            steps=f"{step}/{steps}" if steps else "",
            provider=event.provider or "",
        )
        if not drawing:
            self._progress.update(self._waiting, description=_what_it_waits_for(event))

    def _add(self, title: str) -> TaskID:
        return self._progress.add_task(title, total=None, steps="", provider="")

    def _title(self, index: int | None) -> str:
        if index is None:
            return "picture" if self._n == 1 else f"{self._n} pictures"
        return f"picture {index + 1}/{self._n}"


def _what_it_waits_for(event: ProgressEvent) -> str:
    if event.stage == "load":
        return "loading the model"
    ahead = event.queue_position
    return f"waiting, {ahead} ahead" if ahead else "waiting"
