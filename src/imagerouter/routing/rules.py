"""Routing rules of the YAML file: what they look like, and which of them a job on a target meets.

Rules stand at the top level, at a model and at a provider. In each of the three places the first one that matches
counts. They are looked at for each target by itself, since steps and size may depend on the target's defaults.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from imagerouter.names import key
from imagerouter.routing.patterns import is_like
from imagerouter.types import Operation

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = get_args(Day)

_DAY_MINUTES = 24 * 60
_WINDOW = re.compile(r"([0-9]{1,2}):([0-9]{2})\s*-\s*([0-9]{1,2}):([0-9]{2})")
_SIZE = re.compile(r"[1-9*?][0-9*?]*x[1-9*?][0-9*?]*")


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the day in minutes: ``begin`` since midnight is in it, ``begin + length`` no longer."""

    begin: int
    length: int

    def day_of(self, now: datetime) -> int | None:
        """The weekday (Monday is 0) on which the window that ``now`` is in began; ``None`` outside of it."""
        minute = now.hour * 60 + now.minute
        since = (minute - self.begin) % _DAY_MINUTES
        return (now.weekday() - (since > minute)) % 7 if since < self.length else None


def _window(value: Any) -> Any:
    if isinstance(value, Window):
        return value
    match = _WINDOW.fullmatch(value) if isinstance(value, str) else None
    hours = [int(group) for group in match.groups()] if match else [24, 0, 24, 0]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if not (begin < _DAY_MINUTES and end <= _DAY_MINUTES and max(hours[1::2]) < 60):
        raise ValueError(f"{value!r} can't be read; write it like `22:00-06:00`")
    length = (end - begin) % _DAY_MINUTES
    if not length:
        raise ValueError(f"{value!r} is the whole day; leave `time` out")
    return Window(begin, length)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


def _filled(value: str) -> str:
    if not value.strip():
        raise ValueError("can't be empty")
    return value


def _size(value: Any) -> Any:
    if not _SIZE.fullmatch(str(value)):
        raise ValueError(f"{value!r} isn't of the form WIDTHxHEIGHT, where `*` stands for any digits")
    return value


Text = Annotated[str, AfterValidator(_filled)]
Words = Annotated[tuple[Text, ...], BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...])]
"""A field that takes one text or a list of them."""


class Range(BaseModel):
    """Numbers from ``min`` to ``max``, both included; a plain number in YAML is exactly that one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="The least.")
    max: float | None = Field(default=None, ge=0, allow_inf_nan=False, description="The most.")

    def holds(self, number: float | None) -> bool:
        """Whether ``number`` is in it; one that isn't known is not."""
        if number is None:
            return False
        return (self.min is None or number >= self.min) and (self.max is None or number <= self.max)

    def covers(self, other: Range | None) -> bool:
        """Whether it holds wherever ``other`` does."""
        if other is None:
            return False
        is_below = self.min is None or (other.min is not None and other.min >= self.min)
        return is_below and (self.max is None or (other.max is not None and other.max <= self.max))


def _from_number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"must be a number or a mapping with `min` and `max`, not {value!r}") from None
    return {"min": number, "max": number}


AnyRange = Annotated[Range, BeforeValidator(_from_number, json_schema_input_type=float | Range)]
"""A field that takes ``30`` or ``{min: 20, max: 40}``."""


class When(BaseModel):
    """Conditions, all of which have to hold; one that isn't given always does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Words = Field(default=(), description="Model names, with `*` and `?`.")
    operation: Annotated[
        tuple[Operation, ...], BeforeValidator(_listed, json_schema_input_type=Operation | tuple[Operation, ...])
    ] = Field(default=(), description="generate, edit or inpaint, or several of them.")
    size: Annotated[
        tuple[Annotated[str, BeforeValidator(_size)], ...],
        BeforeValidator(_listed, json_schema_input_type=str | tuple[str, ...]),
    ] = Field(default=(), description="Sizes like `1024x1024`, with `*` and `?`: `1024x*`.")
    megapixels: Range | None = Field(
        default=None, description="Megapixels of one image, as `{min, max}`; 1024x1024 are 1.05."
    )
    steps: AnyRange | None = Field(default=None, description="Sampling steps, as a number or `{min, max}`.")
    n: AnyRange | None = Field(default=None, description="Images per request, as a number or `{min, max}`.")
    key: Words = Field(default=(), description="Names of API keys from `keys`, with `*` and `?`.")
    header: dict[str, str] = Field(
        default={},
        description="Request headers by name, each with the value that it must have, `*` and `?` included.",
    )
    has: Words = Field(default=(), description="Parameters that the client must have set, such as `loras`.")
    time: Annotated[Window, BeforeValidator(_window, json_schema_input_type=str)] | None = Field(
        default=None, description="Local time of day, like `22:00-06:00`."
    )
    days: Annotated[tuple[Day, ...], BeforeValidator(_listed, json_schema_input_type=Day | tuple[Day, ...])] = Field(
        default=(),
        description="Days of the week: mon, tue, wed, thu, fri, sat, sun; with `time` those on which it begins.",
    )

    def covers(self, other: When) -> bool:
        """Whether it surely holds wherever ``other`` does; where that is hard to tell it is taken not to."""
        return (
            _covered([*map(key, other.model)], [*map(key, self.model)])
            and all(_covered(getattr(other, name), getattr(self, name)) for name in ("operation", "size", "key"))
            and all(
                (limits := getattr(self, name)) is None or limits.covers(getattr(other, name))
                for name in ("megapixels", "steps", "n")
            )
            and _headers_covered(other.header, self.header)
            and set(self.has) <= set(other.has)
            and (self.time == other.time or (self.time is None and not self.days))
            and (not self.days or (bool(other.days) and set(other.days) <= set(self.days)))
        )


def _covered(words: Sequence[str], patterns: Sequence[str]) -> bool:
    """Whether all that one of ``words``, maybe patterns themselves, stands for is like one of ``patterns``."""
    return not patterns or (bool(words) and all(any(_includes(p, word) for p in patterns) for word in words))


def _includes(pattern: str, word: str) -> bool:
    # A `?` may meet a `*` of the word, which stands for more than one character.
    return pattern == word or ("?" not in pattern and is_like(word, pattern))


def _headers_covered(wanted: Mapping[str, str], needed: Mapping[str, str]) -> bool:
    values = {name.lower(): value for name, value in wanted.items()}
    return all(name.lower() in values and _includes(value, values[name.lower()]) for name, value in needed.items())


class Rule(BaseModel):
    """What happens where the conditions hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Text | None = Field(default=None, description="What `imagerouter explain` calls it; by default its place.")
    when: When = Field(default=When(), description="When it applies; by default always.")
    only: Words = Field(default=(), description="No other providers than these, by name or type.")
    avoid: Words = Field(default=(), description="These providers only if no other one can serve the request.")
    prefer: Words = Field(default=(), description="These providers first, where several have room.")
    set: dict[str, Any] = Field(default={}, description="Canonical parameters that win over the client's.")
    deny: Text | None = Field(default=None, description="Refuse the request, with this message.")


@dataclass(frozen=True, slots=True)
class Facts:
    """One job on one target, before any rule changed it. What is ``None`` isn't known, and meets no condition."""

    model: str
    """The public name."""
    asked: str | None
    """What the client called it: an alias, a file name …"""
    operation: Operation
    width: int | None
    height: int | None
    steps: int | None
    n: int
    key: str | None
    """Name of the API key."""
    headers: Mapping[str, str]
    """By lower-case name."""
    has: frozenset[str]
    """The canonical parameters that the client itself set."""
    now: datetime
    """In the server's local time."""


def first_match(rules: Sequence[Rule], facts: Facts) -> Rule | None:
    """The rule that counts among those of one place."""
    return next((rule for rule in rules if holds(rule.when, facts)), None)


def holds(when: When, facts: Facts) -> bool:
    """Whether all of the conditions hold."""
    return (
        (not when.model or _is_model(when.model, facts))
        and (not when.operation or facts.operation in when.operation)
        and _fits_size(when, facts)
        and (when.steps is None or when.steps.holds(facts.steps))
        and (when.n is None or when.n.holds(facts.n))
        and (not when.key or (facts.key is not None and _is_one(facts.key, when.key)))
        and all(_is_sent(name, value, facts) for name, value in when.header.items())
        and facts.has.issuperset(when.has)
        and _is_time(when, facts.now)
    )


def _is_model(patterns: Iterable[str], facts: Facts) -> bool:
    folded = [key(pattern) for pattern in patterns]
    return any(_is_one(key(name), folded) for name in (facts.model, facts.asked) if name is not None)


def _is_sent(name: str, pattern: str, facts: Facts) -> bool:
    value = facts.headers.get(name.lower())
    return value is not None and is_like(value, pattern)


def _is_one(text: str, patterns: Iterable[str]) -> bool:
    return any(is_like(text, pattern) for pattern in patterns)


def _fits_size(when: When, facts: Facts) -> bool:
    if not when.size and when.megapixels is None:
        return True
    if facts.width is None or facts.height is None:
        return False
    if when.size and not _is_one(f"{facts.width}x{facts.height}", when.size):
        return False
    return when.megapixels is None or when.megapixels.holds(facts.width * facts.height / 1e6)


def _is_time(when: When, now: datetime) -> bool:
    day = now.weekday() if when.time is None else when.time.day_of(now)
    return day is not None and (not when.days or DAYS[day] in when.days)
