"""From the rows of a run to medians and ratios. Ratios are taken within a round, and only then is their median."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A median with its range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure | None:
        return cls(statistics.median(values), min(values), max(values)) if values else None

    def shown(self, form: str, unit: str = "") -> str:
        return f"{self.median:{form}}{unit} [{self.least:{form}}, {self.most:{form}}]"


class Figures:
    """What a run found."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._rows, self._starts = found["rows"], found["starts"]
        self.names = [*found["about"]["versions"]]

    def cpu(self, scenario: str, name: str) -> Figure | None:
        """Milliseconds a request."""
        return Figure.of([*self._by_round(scenario, name, "cpu_ms").values()])

    def cpu_ratio(self, scenario: str, name: str, unit: str) -> Figure | None:
        return self._ratio(lambda who: self._by_round(scenario, who, "cpu_ms"), name, unit)

    def added(self, scenario: str, name: str, key: str = "p50_ms") -> Figure | None:
        """Milliseconds by the clock beyond the upstream's own."""
        return Figure.of([*self._added(scenario, name, key).values()])

    def added_ratio(self, scenario: str, name: str, unit: str) -> Figure | None:
        return self._ratio(lambda who: self._added(scenario, who, "p50_ms"), name, unit)

    def start(self, name: str, key: str) -> Figure | None:
        """``cpu_s``, ``idle_mb`` or ``peak_mb``."""
        return Figure.of([*self._of_start(name, key).values()])

    def start_ratio(self, name: str, unit: str, key: str) -> Figure | None:
        return self._ratio(lambda who: self._of_start(who, key), name, unit)

    def _of_start(self, name: str, key: str) -> dict[int, float]:
        return {row["round"]: row[key] for row in self._starts if row["contestant"] == name}

    def _by_round(self, scenario: str, name: str, key: str) -> dict[int, float]:
        rows = (row for row in self._rows if (row["scenario"], row["contestant"]) == (scenario, name))
        return {row["round"]: row[key] for row in rows if key in row}

    def _added(self, scenario: str, name: str, key: str) -> dict[int, float]:
        direct = self._by_round(scenario, "direct", key)
        return {number: value - direct[number] for number, value in self._by_round(scenario, name, key).items()}

    @staticmethod
    def _ratio(values: Callable[[str], dict[int, float]], name: str, unit: str) -> Figure | None:
        mine, others = values(name), values(unit)
        return Figure.of([mine[number] / others[number] for number in mine if others.get(number, 0) > 0])
