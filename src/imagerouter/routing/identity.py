"""Which models of the providers are the same file: its name, all ways to spell it, and what is known of its content.

Pure. A provider tells as much as it knows cheaply: some a hash, some a size, some neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imagerouter import names
from imagerouter.jobs import Target
from imagerouter.names import key
from imagerouter.provider import Model

T = TypeVar("T")

_SHORTEST_HASH = 8
_SHOWN_DIGITS = 10
"""As A1111 shows them."""


def stem(native: str) -> str:
    """The file name without folders, ending and A1111's ``[hash]``: ``sub\\x.safetensors [31e3]`` → ``x``."""
    return names.stem(native.rsplit(" [", 1)[0] if native.endswith("]") else native)


def public_name(model: Model) -> str:
    return model.name or stem(model.id) or model.id


def spellings(model: Model) -> tuple[str, ...]:
    """What a model of one provider answers to, always as many; the native name first, which no other one has."""
    folder, slash, file = names.slashed(model.id).rpartition("/")
    short = stem(model.id) or model.id
    return model.id, public_name(model), folder + slash + short, file or model.id, short


def index(rows: Iterable[tuple[str, T]]) -> dict[str, T]:
    """As written, then whatever the case; of several with one spelling the first counts."""
    known: dict[str, T] = {}
    for spelling, found in rows:
        known.setdefault(spelling, found)
    for spelling, found in [*known.items()]:
        known.setdefault(key(spelling), found)
    return known


def look_up(known: Mapping[str, T], name: str) -> T | None:
    """What an `index` knows under a name."""
    return known[name] if name in known else known.get(key(name))


def by_rank(rows: Sequence[tuple[Sequence[str], T]]) -> Iterator[tuple[str, T]]:
    """The first spelling of each, then the second of each, and so on."""
    for same in zip(*([(spelling, found) for spelling in row] for row, found in rows), strict=True):
        yield from same


def difference(one: Model, other: Model) -> str | None:
    """What shows that two files differ, told of ``other``; ``None`` where nothing does, as far as it is known."""
    first, second = _hash(one), _hash(other)
    if first and second:
        if first.startswith(second) or second.startswith(first):
            return None
        unlike = next(place for place, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        shown = max(_SHOWN_DIGITS, unlike + 1)
        return f"its sha256 begins with `{second[:shown]}`, not `{first[:shown]}`"
    if one.file_size > 0 < other.file_size != one.file_size:
        return f"it has {other.file_size} bytes, not {one.file_size}"
    return None


def _hash(model: Model) -> str:
    return model.sha256.casefold() if len(model.sha256) >= _SHORTEST_HASH else ""


@dataclass(frozen=True, slots=True)
class Split:
    """A target that has the name of a model and other content."""

    target: Target
    reason: str


def together(targets: Iterable[Target]) -> tuple[list[Target], list[Split]]:
    """Of targets of one name those that may be one file, and the others.

    The first whose content is known decides what the name stands for, those that can be used before those that
    can't; one of which nothing is known is taken for the same.
    """
    kept: list[Target] = []
    others: list[Split] = []
    for target in sorted(targets, key=lambda target: bool(target.model.problem)):
        for before in kept:
            if (found := difference(before.model, target.model)) is not None:
                reason = f"`{target.name}` is another file than `{before.name}` ({found})"
                others.append(Split(target, reason))
                break
        else:
            kept.append(target)
    return kept, others
