"""Where a parameter is written, and how its value becomes the input's."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal

from imagerouter import InvalidParameterError
from imagerouter.names import demand
from imagerouter_comfyui.config import Binding
from imagerouter_comfyui.graph import Place
from imagerouter_comfyui.nodes import Input

Source = Literal["file", "title", "automatic"]
"""Who says so: the configuration file, a title in the workflow, or the automatic rule."""


@dataclass(frozen=True, slots=True)
class Target:
    """One input that a parameter is written into. A link that is there is replaced."""

    place: Place
    source: Source
    input: Input | None = None
    """What the server says about the input; ``None`` for those that only exist with some settings of the node."""
    rule: Binding | None = None
    factor: float = 1.0
    """What numbers are multiplied by."""
    derived: bool = False
    """A number that depends on the parameter; it is kept within the input's limits, not refused."""

    def write(self, value: Any, param: str) -> Any:
        """``value`` as the input takes it; raises `InvalidParameterError`."""
        if self.rule is not None and str(value) in self.rule.map:
            value = self.rule.map[str(value)]
        elif _is_number(value):
            value = self._ruled(value)
        return self._typed(value, param)

    def fold_seed(self, seed: int) -> int:
        """Some nodes take 31 bits; a seed that was drawn for the request must fit them all."""
        most = self.input.max if self.input else None
        return seed if most is None or seed <= most else seed % (int(most) + 1)

    def _ruled(self, value: float) -> float:
        rule = self.rule
        value = value * self.factor if self.factor != 1.0 else value
        if rule is None:
            return value
        if rule.round_to is not None:
            value = round(value / rule.round_to) * rule.round_to
        value = value if rule.min is None else max(rule.min, value)
        return value if rule.max is None else min(rule.max, value)

    def _typed(self, value: Any, param: str) -> Any:
        match self.input.type if self.input else None:
            case "INT" | "FLOAT" as kind:
                number = self._limited(_number(value, param), param)
                return round(number) if kind == "INT" else number
            case "BOOLEAN":
                if not isinstance(value, bool):
                    raise InvalidParameterError(f"`{param}` must be true or false", param=param)
                return value
            case "STRING":
                return str(value)
            case "COMBO" if self.input is not None and self.input.options is not None:
                return demand(str(value), self.input.options, param)
        return value

    def _limited(self, number: float, param: str) -> float:
        assert self.input is not None
        low = number if self.input.min is None else max(self.input.min, number)
        limited = low if self.input.max is None else min(self.input.max, low)
        if limited != number and not self.derived:
            limits = f"{_shown(self.input.min)} and {_shown(self.input.max)}"
            raise InvalidParameterError(f"`{param}` must be between {limits}", param=param)
        return limited


Targets = tuple[Target, ...]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(value: Any, param: str) -> float:
    if not _is_number(value) or not isfinite(value):
        raise InvalidParameterError(f"`{param}` must be a number", param=param)
    return float(value) if isinstance(value, float) else int(value)


def _shown(limit: float | None) -> str:
    return "any" if limit is None else f"{limit:g}"
