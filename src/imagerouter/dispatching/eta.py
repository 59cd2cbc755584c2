"""How long a job that is being drawn will still take: first by what was learned, then by how fast it really goes."""

from __future__ import annotations

from imagerouter.types import Progress

TELLING = 0.05
"""Part of the work after which its own speed tells more than what was learned."""


class Eta:
    """Of one attempt. Times are in seconds, in loop time."""

    def __init__(self, expected: float, n: int, started: float) -> None:
        """:param expected: seconds that all ``n`` images should take, loading included."""
        self._expected = expected
        self._n = n
        self._started = started
        self._first: tuple[float, float] | None = None
        """When the first step was seen, and how much was done then."""

    def left(self, progress: Progress, now: float) -> float:
        """Expected seconds until the last image is there."""
        by_cost = max(0.0, self._started + self._expected - now)
        if progress.stage != "render" or not progress.steps:
            return by_cost
        done = self._done(progress)
        if self._first is None:
            self._first = now, done
        since, before = self._first
        if done - before < TELLING:
            return by_cost
        return (now - since) / (done - before) * (1.0 - done)

    def _done(self, progress: Progress) -> float:
        if progress.image_index is None:
            return progress.fraction
        return min(1.0, (progress.image_index + progress.fraction) / self._n)
