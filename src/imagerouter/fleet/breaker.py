"""What failed several times in a row rests for a while, and proves itself before it is trusted again.

Pure: no I/O, and the time comes from the caller, in seconds of whatever clock.
"""

from __future__ import annotations

import math
from typing import Literal

from imagerouter.config import BreakerSettings

State = Literal["closed", "open", "half_open"]
"""Takes all jobs; takes none; may be tried with one."""


class Breaker:
    """Counts the failures in a row of one provider, or of one model on it.

    ``settings.failures`` of them open it. After the cooldown it is half-open: one success closes it, one more
    failure opens it again, for twice as long, up to ``settings.longest``.
    """

    def __init__(self, settings: BreakerSettings) -> None:
        self.settings = settings
        self.failures = 0
        """In a row."""
        self.reason = ""
        """Of the last failure."""
        self.half_opens: float | None = None
        """When the cooldown is over; ``None`` while it is closed."""
        self._cooldown = 0.0
        self._is_tried = False

    def state(self, now: float) -> State:
        if self.half_opens is None:
            return "closed"
        return "open" if now < self.half_opens else "half_open"

    def seconds(self, now: float) -> float:
        """What is left of the cooldown."""
        return 0.0 if self.half_opens is None else max(0.0, self.half_opens - now)

    def failed(self, now: float, reason: str, *, is_proof: bool = False) -> bool:
        """Count a failure; whether it opened the breaker.

        :param is_proof: whether this one is enough. What fails while it is open was begun before, and changes
            nothing.
        """
        state = self.state(now)
        self.failures += 1
        self.reason = reason
        if state == "open" or (state == "closed" and self.failures < self.settings.failures and not is_proof):
            return False
        self._cooldown = min(self.settings.longest, self._cooldown * 2 or self.settings.cooldown)
        self.half_opens = now + self._cooldown
        return True

    def succeeded(self) -> bool:
        """Close it; whether it wasn't closed already."""
        was_open = self.half_opens is not None
        self.failures, self._cooldown, self.half_opens = 0, 0.0, None
        return was_open

    def admits(self, now: float) -> bool:
        """Whether a job may be begun now."""
        return self.half_opens is None or (now >= self.half_opens and not self._is_tried)

    def try_out(self, now: float) -> bool:
        """Begin a job; whether it is the one that tries a half-open breaker, to be followed by `tried`."""
        if self.state(now) != "half_open" or self._is_tried:
            return False
        self._is_tried = True
        return True

    def tried(self) -> None:
        """The job that `try_out` let in is over, however it ended."""
        self._is_tried = False

    @property
    def history(self) -> str:
        """What has happened since the last success, in plain words."""
        count = f"failed {self.failures} times in a row, last" if self.failures > 1 else "failed"
        return f"{count}: {self.reason}"

    def why(self, now: float) -> str:
        """Why it isn't closed, in plain words."""
        is_open = self.state(now) == "open"
        then = f"tried again in {math.ceil(self.seconds(now))} s" if is_open else "being tried again"
        return f"{self.history}; {then}"
