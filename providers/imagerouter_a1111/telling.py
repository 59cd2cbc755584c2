"""What a client hears of a job while it runs."""

from __future__ import annotations

from imagerouter import Progress, ProgressSink
from imagerouter_a1111.jobs import Look


class Teller:
    """Turns looks at a job into progress that never goes back."""

    def __init__(
        self,
        progress: ProgressSink,
        *,
        count: int,
        at_once: int,
        steps: int,
        is_loaded: bool,
        counts_images: bool = False,
    ) -> None:
        """:param count: images of the job, of which ``at_once`` are drawn together.
        :param steps: of each image.
        :param counts_images: whether the server's fraction begins anew with each image.
        """
        self._progress = progress
        self._counts_images = counts_images
        self._rounds = max(1, count // at_once)
        self._at_once = at_once
        self._steps = steps
        self._is_loaded = is_loaded
        self._round = 0
        self._last = 0.0
        self._furthest = 0.0

    def tell(self, look: Look) -> None:
        if look.ahead is not None:
            self._progress(Progress(stage="queue", queue_position=look.ahead))
        elif look.ours:
            self._tell(self._of_job(min(1.0, look.fraction)), look)

    def finish(self) -> None:
        self._furthest = 1.0
        self._progress(self._at(1.0, Look()))

    def _of_job(self, fraction: float) -> float:
        if not self._counts_images:
            return fraction
        if fraction < self._last:
            self._round = min(self._round + 1, self._rounds - 1)
        self._last = fraction
        return (self._round + fraction) / self._rounds

    def _tell(self, fraction: float, look: Look) -> None:
        self._furthest = max(self._furthest, fraction)
        if not self._furthest and not self._is_loaded:
            self._progress(Progress(stage="load"))
        else:
            self._progress(self._at(self._furthest, look))

    def _at(self, fraction: float, look: Look) -> Progress:
        if self._at_once > 1:  # one picture of all is shown, and no index could say how far the rounds are
            step = min(self._steps, round(fraction * self._steps))
            return Progress(step=step, steps=self._steps, preview=look.preview)
        done = fraction * self._rounds
        place = min(self._rounds - 1, int(done))
        step = min(self._steps, round((done - place) * self._steps))
        return Progress(step=step, steps=self._steps, image_index=place, preview=look.preview)
