"""How many steps an edit really takes.

diffusers would run ``steps * strength`` of them, A1111 one more, ComfyUI all of them on a longer schedule.
ComfyUI's rule is the canonical one: ``steps`` is what is computed, whatever the strength.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

_LONGEST_SCHEDULE = 1000


@dataclass(frozen=True)
class Schedule:
    """What a diffusers pipeline has to be given."""

    steps: int
    """Length of the whole schedule."""
    strength: float
    """Share of it that makes diffusers run exactly `run` steps."""
    run: int


def schedule(steps: int, strength: float) -> Schedule:
    """For a strength above 0. At least one step is always run."""
    if strength >= 1:
        return Schedule(steps, 1.0, steps)
    whole = min(_LONGEST_SCHEDULE, max(steps, int(steps / strength)))
    run = steps if whole < _LONGEST_SCHEDULE else min(steps, max(1, round(whole * strength)))
    return Schedule(whole, _share(run, whole), run)


def _share(run: int, whole: int) -> float:
    """A float that gives ``run`` however a pipeline rounds: some round the product, some its complement."""
    if run == whole:
        return 1.0
    share = run / whole
    for candidate in (share, math.nextafter(share, 1), math.nextafter(share, 0)):
        if candidate * whole == run:
            return candidate
    return math.nextafter(share, 1)
