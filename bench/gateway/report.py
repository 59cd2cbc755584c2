"""The tables and the chart of a run; `python bench/gateway/report.py FILE` puts a kept one into ``docs/``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bars import bars
from figures import Figure, Figures

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- begin: bench/gateway/run.py -->", "<!-- end: bench/gateway/run.py -->"
SHOWN = "1.5 MB, c=16"
"""The scenario of the chart."""


@dataclass(frozen=True)
class Goal:
    """What imagerouter's ratio to another one should be at most."""

    what: str
    to: str
    ratio: Figure | None
    target: float | None
    stretch: float | None

    @property
    def row(self) -> list[str]:
        shown = self.ratio.shown(".2f", "x") if self.ratio else "not measured"
        limits = [f"≤ {limit:g}x" if limit else "-" for limit in (self.target, self.stretch)]
        return [self.what, self.to, shown, *limits, self._verdict]

    @property
    def _verdict(self) -> str:
        if self.ratio is None:
            return "-"
        if self.stretch and self.ratio.median <= self.stretch:
            return "stretch"
        return "-" if self.target is None else "yes" if self.ratio.median <= self.target else "no"


def text(found: dict[str, Any]) -> str:
    """All tables as Markdown."""
    about, figures = found["about"], Figures(found)
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    before, after = about["load"]
    rounds = 1 + max(row["round"] for row in found["rows"])
    head = (
        f"By `make bench`: {rounds} rounds in {about['seconds']} seconds on {about['cpus']} CPUs, load average "
        f"{before:.1f} before and {after:.1f} after. Versions: {versions}; Python {about['python']}."
    )
    if "OpenAI" not in about["routes"]:
        head += " imagerouter had its pictures from the A1111-shaped upstream throughout."
    parts = (targets(found), cpu(found), latency(found), starts(figures))
    return "\n\n".join([head, *(table(*part) for part in parts)])


def targets(found: dict[str, Any]) -> tuple[list[str], Iterable[list[str]]]:
    figures, errors = Figures(found), sum(map(len, found["errors"].values()))
    goals = [
        *(_cpu(figures, scenario, "LiteLLM", 0.08, 0.05) for scenario in ("1.5 MB, c=16", "1.5 MB, c=64")),
        *(_cpu(figures, scenario, "nginx", 3, 1.5) for scenario in ("1.5 MB, c=16", "1.5 MB, c=64")),
        _cpu(figures, "1 KB, c=16", "LiteLLM", 0.05, 0.03),
        _added(figures, "LiteLLM", 0.10, None),
        _added(figures, "nginx", None, 2),
        *(_cpu(figures, scenario, "nginx", 3, 2) for scenario in ("A1111, 1.5 MB, c=16", "ComfyUI, 1.5 MB, c=16")),
        _start(figures, "peak memory, 200 in flight of 1.5 MB", "peak_mb", 0.45, 0.25),
        _start(figures, "CPU until it answers", "cpu_s", 0.12, None),
    ]
    last = ["errors of anybody", "-", str(errors), "0", "0", "no" if errors else "stretch"]
    return ["imagerouter's", "to", "ratio [range]", "target", "stretch", "met"], [*(goal.row for goal in goals), last]


def _cpu(figures: Figures, scenario: str, to: str, target: float, stretch: float) -> Goal:
    return Goal(f"CPU a request, {scenario}", to, figures.cpu_ratio(scenario, "imagerouter", to), target, stretch)


def _added(figures: Figures, to: str, target: float | None, stretch: float | None) -> Goal:
    ratio = figures.added_ratio("1.5 MB, c=1", "imagerouter", to)
    return Goal("added median latency, 1.5 MB, c=1", to, ratio, target, stretch)


def _start(figures: Figures, what: str, key: str, target: float, stretch: float | None) -> Goal:
    return Goal(what, "LiteLLM", figures.start_ratio("imagerouter", "LiteLLM", key), target, stretch)


def cpu(found: dict[str, Any]) -> tuple[list[str], Iterable[list[str]]]:
    figures = Figures(found)
    scenarios = [scenario["name"] for scenario in found["about"]["scenarios"]]
    rows = [[name, *(_cell(figures.cpu(scenario, name), ".2f") for scenario in scenarios)] for name in figures.names]
    return ["ms of CPU a request", *scenarios], rows


def latency(found: dict[str, Any]) -> tuple[list[str], Iterable[list[str]]]:
    figures = Figures(found)
    rows = [
        [name, *(_cell(figures.added("1.5 MB, c=1", name, key), ".2f") for key in ("p50_ms", "p99_ms"))]
        for name in figures.names
    ]
    return ["ms added to the upstream's, 1.5 MB, c=1", "median", "99th percentile"], rows


def starts(figures: Figures) -> tuple[list[str], Iterable[list[str]]]:
    columns = (("cpu_s", ".2f"), ("idle_mb", ".0f"), ("peak_mb", ".0f"))
    rows = [[name, *(_cell(figures.start(name, key), form) for key, form in columns)] for name in figures.names]
    return ["", "CPU seconds until it answers", "idle, MB", "peak with 200 in flight, MB"], rows


def _cell(figure: Figure | None, form: str) -> str:
    return figure.shown(form) if figure else "-"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows])


def write(found: dict[str, Any]) -> None:
    """The tables into ``docs/performance.md``, the chart and the rows beside it."""
    page, figures = DOCS / "performance.md", Figures(found)
    between = re.compile(f"(?<={BEGIN}\n).*(?={END})", re.DOTALL)
    renewed = between.sub(lambda _: f"\n{text(found)}\n\n", page.read_text(encoding="utf-8"))
    page.write_text(renewed, encoding="utf-8")
    values = {name: figure.median for name in figures.names if (figure := figures.cpu(SHOWN, name))}
    drawn = bars(f"CPU time a request in ms: {SHOWN}", values)
    (DOCS / "performance.svg").write_text(drawn, encoding="utf-8")
    (DOCS / "performance.json").write_text(json.dumps(found) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
