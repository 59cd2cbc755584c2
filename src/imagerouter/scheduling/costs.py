"""What a job costs where: seconds to render and seconds to load, learned from the jobs that ran.

Rendering takes ``fixed + rate * work`` seconds, where work is steps times megapixels of all images of the request.
Each (provider, model) has its own line through what was observed there, newer jobs counting more. What isn't known
yet is taken from the provider's other models, then from everybody's, then from a guess. Pure: no clock, and no file
but in `Costs.load` and `Costs.save`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from imagerouter.jobs import Placement, Target
from imagerouter.logs import get_logger

log = get_logger(__name__)

GUESSED_FIXED, GUESSED_RATE, GUESSED_LOAD = 0.5, 0.2, 15.0
"""Seconds, seconds per step and megapixel, seconds: a middling GPU with SDXL, until anything has been observed."""
USUAL_STEPS = 20
USUAL_WORK = 20.0
"""So many steps of one megapixel."""
MEMORY = 0.93
"""What an observation still counts when the next one arrives: ten jobs halve it."""
PRIOR_WEIGHT = 0.2
"""Observations that the prior counts for, at each of the two points that hold its line."""
SURPRISE = 4.0
"""By which factor one observation may differ from what was expected; the rest is put down to chance."""
TRUSTED = 3.0
"""Observations before anything counts as a surprise."""
SETTLED = 10.0
"""Observations of a provider, or of all, before one more is no news for models that haven't run yet."""
SHORTEST, LONGEST = 0.05, 86_400.0
"""Seconds that are told apart from nothing, and seconds (or work) beyond which an observation is ignored."""

Sum = Annotated[float, msgspec.Meta(ge=0, le=1e13)]


class Line(msgspec.Struct):
    """Weighted sums over the observations, from which the least squares line follows."""

    n: Sum = 0.0
    x: Sum = 0.0
    y: Sum = 0.0
    xx: Sum = 0.0
    xy: Sum = 0.0

    def add(self, work: float, seconds: float) -> None:
        """One more observation; what was there counts a little less."""
        self.n = self.n * MEMORY + 1
        self.x = self.x * MEMORY + work
        self.y = self.y * MEMORY + seconds
        self.xx = self.xx * MEMORY + work * work
        self.xy = self.xy * MEMORY + work * seconds

    def fit(self, prior: tuple[float, float]) -> tuple[float, float]:
        """``(fixed, rate)``, neither below zero; the prior's line decides what the observations leave open."""
        n, x, y, xx, xy = self.n, self.x, self.y, self.xx, self.xy
        for work in (0.0, USUAL_WORK):
            seconds = prior[0] + prior[1] * work
            n += PRIOR_WEIGHT
            x += PRIOR_WEIGHT * work
            y += PRIOR_WEIGHT * seconds
            xx += PRIOR_WEIGHT * work * work
            xy += PRIOR_WEIGHT * work * seconds
        spread = n * xx - x * x
        if spread <= 0:
            return prior  # no observations lead here, but a file may
        rate = (n * xy - x * y) / spread
        if rate < 0:
            return y / n, 0.0
        fixed = (y - rate * x) / n
        return (fixed, rate) if fixed >= 0 else (0.0, xy / xx)


class Average(msgspec.Struct):
    """A moving mean of seconds."""

    n: Sum = 0.0
    value: Annotated[float, msgspec.Meta(ge=0, le=LONGEST)] = 0.0

    def add(self, seconds: float) -> None:
        self.n = self.n * MEMORY + 1
        self.value += (seconds - self.value) / min(self.n, 5.0)


class Learned(msgspec.Struct):
    """What is known of one model on one provider."""

    render: Line = msgspec.field(default_factory=Line)
    load: Average = msgspec.field(default_factory=Average)
    jobs: int = 0
    """That it was learned from, all of them."""


class _Knowledge(msgspec.Struct):
    """All that is learned, and what the file holds."""

    version: int
    models: dict[str, dict[str, Learned]] = {}
    providers: dict[str, Learned] = {}
    """All models of a provider together: what is expected of one that hasn't run yet."""
    everything: Learned = msgspec.field(default_factory=Learned)


VERSION = 1


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a job will probably take on a target, in seconds."""

    queue: float
    load: float
    render: float

    @property
    def total(self) -> float:
        return self.queue + self.load + self.render


class Costs:
    """Estimates per provider and native model; all of them finite and never negative."""

    def __init__(self) -> None:
        self._known = _Knowledge(VERSION)
        self._lines: dict[str, dict[str, tuple[float, float]]] = {}

    def render(self, provider: str, model: str, work: float, jobs: int = 1) -> float:
        """Expected seconds of rendering for ``jobs`` jobs that are ``work`` together."""
        lines = self._lines.get(provider)
        if lines is None:
            lines = self._lines[provider] = {}
        if (line := lines.get(model)) is None:
            line = lines[model] = self._line(provider, model)
        return line[0] * jobs + line[1] * work

    def loading(self, provider: str, model: str) -> float:
        """Expected seconds to load ``model`` on ``provider``."""
        own = self._known.models.get(provider, {}).get(model)
        if own is not None and own.load.n:
            return own.load.value
        for learned in (self._known.providers.get(provider), self._known.everything):
            if learned is not None and learned.load.n:
                return learned.load.value
        return GUESSED_LOAD

    @property
    def jobs(self) -> int:
        """That all of it was learned from."""
        return self._known.everything.jobs

    def known(self, provider: str) -> Mapping[str, Learned]:
        """What was learned on a provider, by native model; for reading."""
        return self._known.models.get(provider, {})

    def ran(self, provider: str, model: str, work: float, seconds: float, load: float, *, cold: bool) -> None:
        """Learn from a job that ran well.

        :param seconds: all that it took, ``load`` included.
        :param load: what the provider says that loading took; those who can't tell leave it at 0.
        :param cold: whether the model had to be loaded, as far as was known before.
        """
        everything, pool, own = self._learn_of(provider, model)
        for learned in (everything, pool, own):
            learned.jobs += 1
        load = load if load > 0 else 0.0  # NaN included
        if load:
            self.loaded(provider, model, load)
        if load or not cold:
            self.rendered(provider, model, work, max(0.0, seconds - load))
        else:
            # Nobody tells the load: it is what the job took longer than a warm one, and never more than all of it.
            is_known = own.render.n >= TRUSTED - 1
            rest = seconds - self.render(provider, model, work) if is_known else self.loading(provider, model)
            self.loaded(provider, model, max(0.0, min(rest, seconds)))

    def rendered(self, provider: str, model: str, work: float, seconds: float) -> None:
        """Learn that ``work`` took ``seconds``, without any loading."""
        if not (0 <= work <= LONGEST and 0 <= seconds <= LONGEST):
            return
        everything, pool, own = self._learn_of(provider, model)
        if own.render.n >= TRUSTED - 1:
            seconds = _within(seconds, self.render(provider, model, work))
        for learned in (everything, pool, own):
            learned.render.add(work, seconds)
        if everything.render.n < SETTLED:
            self._lines.clear()
        elif pool.render.n < SETTLED:
            self._lines.pop(provider, None)
        else:
            self._lines.get(provider, {}).pop(model, None)

    def loaded(self, provider: str, model: str, seconds: float) -> None:
        """Learn that loading took ``seconds``."""
        if not 0 <= seconds <= LONGEST:
            return
        everything, pool, own = self._learn_of(provider, model)
        if own.load.n >= TRUSTED - 1:
            seconds = _within(seconds, own.load.value)
        for learned in (everything, pool, own):
            learned.load.add(seconds)

    def load(self, path: Path) -> None:
        """Take over what `save` has written. No file is no problem; one that can't be read is logged and ignored."""
        try:
            read = msgspec.json.decode(path.read_bytes(), type=_Knowledge)
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("costs.unreadable", path=str(path), reason=str(error))
            return
        if read.version != VERSION:
            log.warning("costs.other_version", path=str(path), version=read.version)
            return
        self._known = read
        self._lines.clear()

    def save(self, path: Path) -> None:
        """Write what was learned, all or nothing. Raises `OSError`."""
        draft = path.with_name(path.name + ".new")
        draft.write_bytes(msgspec.json.encode(self._known))
        os.replace(draft, path)

    def _learn_of(self, provider: str, model: str) -> tuple[Learned, Learned, Learned]:
        known = self._known
        try:
            return known.everything, known.providers[provider], known.models[provider][model]
        except KeyError:
            pool = known.providers.setdefault(provider, Learned())
            return known.everything, pool, known.models.setdefault(provider, {}).setdefault(model, Learned())

    def _line(self, provider: str, model: str) -> tuple[float, float]:
        """Its own line, which its provider's holds, which everybody's holds, which the guess holds."""
        line = GUESSED_FIXED, GUESSED_RATE
        known = self._known
        own = known.models.get(provider, {}).get(model)
        for learned in (known.everything, known.providers.get(provider), own):
            if learned is not None and learned.render.n:
                line = learned.render.fit(line)
        return line


def work_of(placement: Placement) -> float:
    """Steps times megapixels of all images of a job, a second pass included, as far as the request tells."""
    steps = placement.params.get("steps") or _usual_steps(placement.target)
    work = steps * placement.megapixels
    if (hires := placement.params.get("hires")) is not None:
        work *= 1 + hires.scale**2 * (hires.strength or 0.5) * (hires.steps or steps) / steps
    return float(max(0.0, work * placement.job.n))


def _usual_steps(target: Target) -> float:
    declared = target.model.parameters.get("steps")
    usual = None if declared is None else declared.default
    return usual if isinstance(usual, int | float) and usual > 0 else USUAL_STEPS


def _within(seconds: float, expected: float) -> float:
    """``seconds``, as far as they can be believed."""
    return min(max(seconds, expected / SURPRISE), max(expected, SHORTEST) * SURPRISE)
