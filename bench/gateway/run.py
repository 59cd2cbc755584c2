"""What a picture costs on its way through imagerouter, beside nginx, LiteLLM, Portkey and a bare proxy in Python.

    make bench-peers                            # once: LiteLLM and Portkey; without them the rest is compared
    make bench                                  # prints the tables, keeps the figures in bench/.results
    python bench/gateway/run.py --write         # and puts them into docs/performance.md

All contestants are up at once; in each round the loads come in a new order, and ratios are those of one round. The main
figure is CPU time of a contestant's whole process group, which a busy machine disturbs far less than time by the clock.
Any answer that isn't the right picture fails the run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import report
import uvloop
from contestants import Contestant, Running, contestants, routes
from load import Door, Drained, drain
from pictures import Picture
from processes import Group, free_port

HERE = Path(__file__).parent
RESULTS = HERE.parent / ".results" / "gateway.json"
LARGE, SMALL = 1_125_000, 768
"""Bytes of a picture; in base64 they are 1.5 MB and 1 KB."""
IN_FLIGHT = 200
"""Requests at the same moment for the figure of peak memory."""
CPU_TARGET = 1.2
"""Seconds of CPU time that one load should take, since `/proc` counts in hundredths."""
MINUTES = 6.5
"""After which no further round begins; before that, more of them make the medians steadier."""
OWN = ("imagerouter", "nginx", "baseline")


@dataclass(frozen=True)
class Scenario:
    name: str
    size: int
    at_once: int
    route: str = ""
    """The path through imagerouter; the others always have OpenAI's, with an answer of equal size."""

    @property
    def most(self) -> int:
        """Requests in one load, so that a fast contestant doesn't keep the others waiting."""
        return 1200 if self.size == LARGE else 12000

    def lane(self, running: Running) -> Door:
        is_own = running.contestant.name == "imagerouter" and self.route
        return replace(running.door, model=routes()[self.route]) if is_own else running.door


SCENARIOS = (
    Scenario("1.5 MB, c=1", LARGE, 1),
    Scenario("1.5 MB, c=16", LARGE, 16),
    Scenario("1.5 MB, c=64", LARGE, 64),
    Scenario("1 KB, c=16", SMALL, 16),
    Scenario("A1111, 1.5 MB, c=16", LARGE, 16, "A1111"),
    Scenario("ComfyUI, 1.5 MB, c=16", LARGE, 16, "ComfyUI"),
)


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The port of a running upstream."""
    port = free_port()
    group = Group([sys.executable, str(HERE / "upstream.py"), str(port)], folder / "upstream.log")
    try:
        group.answers(f"http://127.0.0.1:{port}/v1/models")
        yield port
    finally:
        group.stop()


class Bench:
    def __init__(self, folder: Path, upstream_port: int) -> None:
        self.rows: list[dict[str, Any]] = []
        self.starts: list[dict[str, Any]] = []
        self.errors: dict[str, list[str]] = {}
        self._folder, self._upstream = folder, upstream_port
        self._first = 0

    def start(self, contestant: Contestant, number: int) -> None:
        """Cold start, idle memory, and the peak with many pictures of 1.5 MB on their way at once."""
        running = contestant.start(self._folder, self._upstream)
        try:
            time.sleep(1.0)  # what goes on after the first answer is part of an idle server
            idle = running.group.resident()
            running.group.reset_peak()
            self._drain(contestant.name, running.door, self._next(IN_FLIGHT, LARGE, delay_ms=200), IN_FLIGHT)
            row = {"cpu_s": running.start_cpu, "idle_mb": idle, "peak_mb": running.group.peak()}
        finally:
            running.group.stop()
        self.starts.append({"round": number, "contestant": contestant.name, **row})

    def rounds(self, all_running: Sequence[Running], least: int, until: float) -> None:
        """As many as begin before ``until``, by `time.time`, and ``least`` in any case."""
        lanes = [(scenario, running) for scenario in SCENARIOS for running in all_running]
        lanes = [(s, r) for s, r in lanes if not s.route or r.contestant.name in OWN]
        counts = {(s.name, r.contestant.name): self._calibrated(s, r) for s, r in lanes}
        number = 0
        while number < least or time.time() < until:
            say(f"round {number + 1}")
            for scenario in random.sample(SCENARIOS, len(SCENARIOS)):
                here = [running for s, running in lanes if s is scenario]
                for running in random.sample(here, len(here)):
                    self._measure(number, scenario, running, counts[scenario.name, running.contestant.name])
                if scenario.at_once == 1:
                    self._direct(number, scenario)
            number += 1

    def _calibrated(self, scenario: Scenario, running: Running) -> int:
        """How many requests one load has: fixed before the rounds begin, more of them where one costs little."""
        least = max(40, 2 * scenario.at_once)
        before = running.group.cpu_seconds()
        self._drain(running.contestant.name, scenario.lane(running), self._next(least, scenario.size), scenario.at_once)
        each = (running.group.cpu_seconds() - before) / least
        return max(least, min(scenario.most, int(CPU_TARGET / max(each, 1e-6))))

    def _measure(self, number: int, scenario: Scenario, running: Running, count: int) -> None:
        name, before = running.contestant.name, running.group.cpu_seconds()
        drained = self._drain(name, scenario.lane(running), self._next(count, scenario.size), scenario.at_once)
        cpu = (running.group.cpu_seconds() - before) / count * 1000
        self._note(number, scenario, name, drained, cpu)

    def _direct(self, number: int, scenario: Scenario) -> None:
        """The upstream itself, for what the others add to it."""
        drained = self._drain("direct", Door(self._upstream, ""), self._next(200, scenario.size), scenario.at_once)
        self._note(number, scenario, "direct", drained)

    def _note(self, number: int, scenario: Scenario, name: str, drained: Drained, cpu: float | None = None) -> None:
        count = len(drained.latencies) + len(drained.errors)
        row = {"round": number, "scenario": scenario.name, "contestant": name, "count": count, "cpu_ms": cpu}
        if drained.latencies:
            row |= {"p50_ms": drained.percentile(0.5) * 1000, "p99_ms": drained.percentile(0.99) * 1000}
        self.rows.append(row | {"per_second": count / drained.seconds, "load": os.getloadavg()[0]})

    def _next(self, count: int, size: int, *, delay_ms: int = 0) -> Iterator[Picture]:
        """So many pictures, none of which came before."""
        first, self._first = self._first, self._first + count
        return (Picture(index, size, delay_ms) for index in range(first, first + count))

    def _drain(self, name: str, door: Door, pictures: Iterator[Picture], at_once: int) -> Drained:
        drained = uvloop.run(drain(door, pictures, at_once))
        if drained.errors:
            print(f"{name}: {len(drained.errors)} errors, the first one: {drained.errors[0]}", flush=True)
            self.errors.setdefault(name, []).extend(drained.errors)
        return drained


def say(what: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {what}, load average {os.getloadavg()[0]:.1f}", flush=True)


def measure(starts: int, rounds: int) -> dict[str, Any]:
    """Everything, as it is kept in JSON."""
    here, began = contestants(), time.time()
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        port = stack.enter_context(upstream(folder))
        bench = Bench(folder, port)
        for number in range(starts):
            say(f"start {number + 1} of {starts}")
            for contestant in random.sample([*here.values()], len(here)):
                bench.start(contestant, number)
        running = []
        for contestant in here.values():
            running.append(contestant.start(folder, port))
            stack.callback(running[-1].group.stop)
        bench.rounds(running, rounds, began + MINUTES * 60)
    about = {
        "versions": {each.name: each.version for each in here.values()},
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": [*load, os.getloadavg()[0]],
        "seconds": round(time.time() - began),
        "routes": [*routes()],
        "scenarios": [asdict(scenario) for scenario in SCENARIOS],
    }
    return {"about": about, "starts": bench.starts, "rows": bench.rows, "errors": bench.errors}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--rounds", type=int, default=5, help=f"at least; more within {MINUTES:g} minutes")
    options.add_argument("--starts", type=int, default=3, help="fresh processes for the figures of start and memory")
    options.add_argument("--json", type=Path, default=RESULTS, help="where the figures are kept")
    options.add_argument("--write", action="store_true", help="put the figures into docs/")
    chosen = options.parse_args()
    # So that whoever is still running is stopped as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    found = measure(chosen.starts, chosen.rounds)
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"\n{report.text(found)}\n")
    if found["errors"]:
        sys.exit(f"there were errors ({', '.join(found['errors'])}): these figures count for nothing")
    if chosen.write:
        report.write(found)


if __name__ == "__main__":
    main()
