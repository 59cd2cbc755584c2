"""Fleets and traces: who draws how fast, and which jobs come when. Everything follows from a seed."""

import random
from dataclasses import dataclass

IMAGE_SECONDS = 4.0
"""One image of mean size on a GPU of speed 1."""
SIGMA = 0.6
"""Of the lognormal sizes: one job in twenty is 2.2 times the mean or more."""


@dataclass(frozen=True)
class Fleet:
    name: str
    speeds: tuple[float, ...]
    models: int

    @property
    def gpus(self) -> dict[str, float]:
        return {f"gpu{number}": speed for number, speed in enumerate(self.speeds)}


FLEETS = (
    Fleet("3 GPUs, 4 models", (1.5, 1.0, 0.5), 4),
    Fleet("4 GPUs, 6 models", (1.5, 1.0, 1.0, 0.5), 6),
    Fleet("6 GPUs, 12 models", (1.5, 1.25, 1.0, 1.0, 0.75, 0.5), 12),
    Fleet("8 GPUs, 8 models", (1.5, 1.25, 1.25, 1.0, 1.0, 0.75, 0.75, 0.5), 8),
)


@dataclass(frozen=True)
class Job:
    at: float
    """Seconds from the start."""
    model: str
    size: float
    """Seconds of rendering on a GPU of speed 1."""


def trace(fleet: Fleet, load: float, seed: int, jobs: int) -> list[Job]:
    """Poisson arrivals at ``load`` times what the fleet could draw without ever swapping."""
    rng = random.Random(f"{fleet.name} {load} {seed}")
    names = [f"model{number}" for number in range(fleet.models)]
    zipf = [1 / (rank + 1) for rank in range(fleet.models)]
    rate, at, made = load * sum(fleet.speeds) / IMAGE_SECONDS, 0.0, []
    for _ in range(jobs):
        at += rng.expovariate(rate)
        size = IMAGE_SECONDS * rng.lognormvariate(-(SIGMA**2) / 2, SIGMA)
        made.append(Job(at, rng.choices(names, zipf)[0], size))
    return made
