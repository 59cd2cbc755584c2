"""What is counted, for Prometheus: each request where it ends, and the rest when somebody looks.

Labels are names from the configuration, from the providers or from our own tables, never what a client wrote: each
value of a label is a series that Prometheus keeps. ``docs/metrics.md`` lists them all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import accumulate
from typing import get_args

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from imagerouter.clock import now
from imagerouter.errors import ImageRouterError
from imagerouter.fleet.breaker import State
from imagerouter.fleet.fleet import Fleet
from imagerouter.jobs import Outcome, Target
from imagerouter.routing.refusals import Refusal
from imagerouter.scheduling.costs import USUAL_WORK
from imagerouter.scheduling.scheduler import Scheduler

LONG = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
"""Ends of the buckets for what providers take, in seconds."""
SHORT = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1)
"""Ends of the buckets for what imagerouter itself takes, in seconds."""
NOBODY = "none"
"""The provider of a request that ended before one was tried."""
UNKNOWN = "unknown"
"""The model of a request that named none that there is."""


class Counter(Collector):
    """prometheus_client's own takes locks and several calls to count; here all that counts is on one event loop."""

    def __init__(self, registry: CollectorRegistry, name: str, meaning: str, *labels: str) -> None:
        self._name, self._meaning, self._labels = f"imagerouter_{name}", meaning, labels
        self._series: defaultdict[tuple[str, ...], float] = defaultdict(float)
        registry.register(self)

    def add(self, *labels: str, by: float = 1.0) -> None:
        self._series[labels] += by

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._meaning, labels=self._labels)
        for labels, value in self._series.items():
            family.add_metric(labels, value)
        yield family


class Histogram(Collector):
    """Of seconds; see `Counter`."""

    def __init__(
        self, registry: CollectorRegistry, name: str, meaning: str, *labels: str, buckets: tuple[float, ...] = LONG
    ) -> None:
        self._name, self._meaning, self._labels = f"imagerouter_{name}_seconds", meaning, labels
        self._buckets = buckets
        self._series: defaultdict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0] * (len(buckets) + 2))
        if not labels:
            self._series[()]  # there from the start
        registry.register(self)

    def observe(self, seconds: float, *labels: str) -> None:
        series = self._series[labels]
        series[bisect_left(self._buckets, seconds)] += 1
        series[-1] += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._meaning, labels=self._labels)
        ends = [*map(floatToGoString, self._buckets), "+Inf"]
        for labels, (*counts, total) in self._series.items():
            family.add_metric(labels, list(zip(ends, accumulate(counts), strict=True)), total)
        yield family


class Metrics:
    """The counters of one `Engine`, in a registry of its own: a process may hold several engines."""

    def __init__(self, scheduler: Scheduler, fleet: Fleet) -> None:
        self.registry = CollectorRegistry()
        self._fleet = fleet
        self._drawn: dict[str, Target] = {}
        count, time = partial(Counter, self.registry), partial(Histogram, self.registry)
        self._requests = count("requests", "Requests that ended", "model", "provider", "code")
        self._images = count("images", "Images that were drawn", "model", "provider")
        self._attempts = count("attempts", "Tries of a request on a provider", "provider", "code", "cold")
        self._lost = count("failed_attempts_seconds", "Time of tries that failed", "provider")
        self._refusals = count("refusals", "Targets that couldn't serve a request", "kind")
        self._queue = time("queue", "Waiting for the provider", "provider")
        self._load = time("load", "Loading, where something was loaded", "provider")
        self._render = time("render", "Rendering all images of a request", "provider")
        self._overhead = time("overhead", "What imagerouter itself took", buckets=SHORT)
        self.registry.register(_Live(scheduler, fleet, self._drawn))
        ProcessCollector(registry=self.registry)

    def attempted(self, target: Target, code: str | None, seconds: float, cold: bool) -> None:
        """Count one try on ``target``.

        :param code: of the error that it ended with; ``None`` if it drew.
        :param cold: whether the model had to be loaded there, as far as was known before.
        """
        self._attempts.add(target.provider, code or "ok", "yes" if cold else "no")
        if code is None:
            self._drawn.setdefault(target.name, target)
        else:
            self._lost.add(target.provider, by=seconds)

    def done(self, outcome: Outcome) -> None:
        """Count a request that got its pictures."""
        provider = outcome.target.provider
        self._requests.add(outcome.model, provider, "ok")
        for attempt in outcome.attempts:
            if attempt.ok:
                self._images.add(outcome.model, attempt.provider, by=len(attempt.images or outcome.images))
        self._queue.observe(outcome.queue_ms / 1000, provider)
        if outcome.load_ms:
            self._load.observe(outcome.load_ms / 1000, provider)
        self._render.observe(outcome.render_ms / 1000, provider)
        self._overhead.observe(outcome.overhead_ms / 1000)

    def failed(self, error: ImageRouterError, model: str | None) -> None:
        """Count a request that got none.

        :param model: what it asked for, in any spelling; ``None`` is the default model.
        """
        name, _ = self._fleet.catalogue.variant(model)
        known = self._fleet.catalogue.resolve(name)
        provider = error.attempts[-1].provider if error.attempts else NOBODY
        self._requests.add(known.name if known else UNKNOWN, provider, error.code or error.type)

    def refused(self, refusals: Iterable[Refusal]) -> None:
        """Count the targets that planning left out for one request."""
        for refusal in refusals:
            self._refusals.add(refusal.kind)


class _Live(Collector):
    """What scheduler and fleet know anyway, read when somebody looks, on their event loop."""

    def __init__(self, scheduler: Scheduler, fleet: Fleet, drawn: dict[str, Target]) -> None:
        self._scheduler = scheduler
        self._fleet = fleet
        self._drawn = drawn

    def collect(self) -> Iterator[Metric]:
        waiting = _gauge("waiting_jobs", "Jobs in the queue")
        waiting.add_metric([], self._scheduler.waiting)
        yield waiting
        yield from self._slots()
        yield from self._members()
        yield from self._costs()

    def _slots(self) -> Iterator[Metric]:
        running = _gauge("running_jobs", "Our jobs on the provider", "provider")
        capacity = _gauge("capacity_jobs", "Jobs that the provider may run at once", "provider")
        foreign = _gauge("foreign_jobs", "Other people's jobs on the provider", "provider")
        resident = _gauge("resident_model", "Always 1: the model is loaded", "target")
        listed = {(name, model.id) for name, member in self._fleet.members.items() for model in member.models}
        for name, slot in self._scheduler.slots.items():
            running.add_metric([name], slot.running)
            capacity.add_metric([name], slot.capacity)
            foreign.add_metric([name], slot.foreign)
            for model in slot.resident:
                # A status may name whatever lies in a backend's memory, in characters that no text can carry.
                if (name, model) in listed:
                    resident.add_metric([f"{name}/{model}"], 1)
        return iter((running, capacity, foreign, resident))

    def _members(self) -> Iterator[Metric]:
        moment = now()
        ready = _gauge("provider_ready", "1 if the provider takes jobs, else 0", "provider")
        breakers = _gauge("breaker_state", "1 for the state of the provider's breaker, else 0", "provider", "state")
        targets = _gauge("target_breaker_state", "Always 1: the state, if not closed", "target", "state")
        for name, member in self._fleet.members.items():
            ready.add_metric([name], member.ready)
            for state in get_args(State):
                breakers.add_metric([name, state], state == member.breaker.state(moment))
            for model, breaker in member.targets.items():
                if (state := breaker.state(moment)) != "closed":
                    targets.add_metric([f"{name}/{model}", state], 1)
        return iter((ready, breakers, targets))

    def _costs(self) -> Iterator[Metric]:
        costs = self._scheduler.costs
        render = _gauge("expected_render_seconds", "Expected for one image of a megapixel in 20 steps", "target")
        load = _gauge("expected_load_seconds", "Expected for loading the model", "target")
        for name, target in self._drawn.items():
            render.add_metric([name], costs.render(target.provider, target.model.id, USUAL_WORK))
            load.add_metric([name], costs.loading(target.provider, target.model.id))
        return iter((render, load))


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"imagerouter_{name}", meaning, labels=labels)
