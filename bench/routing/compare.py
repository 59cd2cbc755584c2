"""Policies on the same traces, as ratios to SwarmUI's rule."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from farm import Farm, Result, play
from fleets import FLEETS, Fleet, trace
from policies import Policy, SwarmUI
from virtual import run_virtually

SWAP = 8
"""What a load takes where nothing else is said, in images of mean size on a GPU of speed 1."""
GROWING = 1.4
"""A mean that grows by this factor when the trace is twice as long is that of a queue that grows for ever."""
Make = Callable[[Farm], Policy]
Traced = tuple[Fleet, float, float, int]
"""Fleet, load, swap and seed."""


@dataclass(frozen=True)
class Ratios:
    """Geometric means over fleets and seeds, each trace against SwarmUI's rule on the same trace."""

    mean: float
    p99: float
    longest_wait: float
    loads: float
    worst_mean: float
    """Of a single trace."""
    seconds: float
    """The longest wait of any job on any trace, not a ratio."""


def played(make: Make, traced: Traced, jobs: int) -> Result:
    fleet, load, swap, seed = traced

    async def main() -> Result:
        farm = Farm(fleet, swap)
        return await play(farm, make(farm), trace(fleet, load, seed, jobs))

    result = run_virtually(main())
    if len(result.totals) != jobs:
        raise RuntimeError(f"{jobs - len(result.totals)} jobs were never served")
    return result


class Bench:
    def __init__(self, seeds: Iterable[int], jobs: int) -> None:
        self.seeds, self._jobs = tuple(seeds), jobs
        self._base: dict[Traced, Result] = {}

    def ratios(self, make: Make, load: float, swap: float = SWAP, *, seeds: int | None = None) -> Ratios:
        """:param seeds: how many of them are used, by default all."""
        keys = [(fleet, load, swap, seed) for fleet in FLEETS for seed in self.seeds[:seeds]]
        pairs = [(played(make, key, self._jobs), self._rule(key)) for key in keys]
        means = [one.mean / base.mean for one, base in pairs]
        return Ratios(
            mean=geometric(means),
            p99=geometric(one.p99 / base.p99 for one, base in pairs),
            longest_wait=geometric(max(one.waits) / max(base.waits) for one, base in pairs),
            loads=geometric(one.loads / base.loads for one, base in pairs),
            worst_mean=max(means),
            seconds=max(max(one.waits) for one, _ in pairs),
        )

    def is_stable(self, make: Make, load: float) -> bool:
        """Whether jobs wait no longer in a trace that is twice as long, on the fleets as a whole."""
        traces: list[Traced] = [(fleet, load, SWAP, self.seeds[0]) for fleet in FLEETS]
        growth = geometric(
            played(make, traced, 2 * self._jobs).mean / played(make, traced, self._jobs).mean for traced in traces
        )
        return growth < GROWING

    def _rule(self, traced: Traced) -> Result:
        if traced not in self._base:
            self._base[traced] = played(SwarmUI, traced, self._jobs)
        return self._base[traced]


def geometric(values: Iterable[float]) -> float:
    listed = list(values)
    return math.exp(math.fsum(map(math.log, listed)) / len(listed))
