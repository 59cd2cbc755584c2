"""Canonical samplers and schedulers ↔ the labels of one server.

A server up to 1.8 has labels for pairs ("DPM++ 2M Karras"), and the setting ``k_sched_type`` for the pairs that have
none. From 1.9 on the scheduler is a field of its own (``modules/sd_schedulers.py``). SD.Next's field
``schedulers_sigma`` takes what a sampler's options name (``modules/sd_samplers_diffusers.py``), and
stable-diffusion.cpp writes its own names in small letters.

What can't be written is refused: from 1.9 on a server draws with another sampler rather than say that it hasn't one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from imagerouter import ProviderRejectedError
from imagerouter import samplers as canonical
from imagerouter.names import close, instead
from imagerouter_a1111.recipe import Sampler, Stock

PLAIN = "normal"
"""The canonical scheduler that all of k-diffusion's samplers have without being told of any."""
_AUTOMATIC = "Automatic"
_UNSCHEDULED = frozenset({"DDIM", "DDIM CFG++", "PLMS", "UniPC", "DPM fast", "DPM adaptive"})
"""Web UI samplers with a schedule of their own: they don't look at the one they are given."""
_OF_SETTING = ("karras", "exponential", "polyexponential")
"""Values of ``k_sched_type``, which are canonical names too."""
_SIGMAS = {
    "use_karras_sigmas": ("karras", "karras"),
    "use_exponential_sigmas": ("exponential", "exponential"),
    "use_beta_sigmas": ("beta", "betas"),
    "use_flow_sigmas": ("flowmatch", "flowmatch"),
    "use_lu_lambdas": ("lambdas", "lambdas"),
}
"""Option of an SD.Next sampler → canonical scheduler, and the value of ``schedulers_sigma`` that turns it on."""
_NOT_ONE = ("default", "none")
"""Rows of a list that stand for no sampler or scheduler in particular."""
_LISTED = 40
"""Names in a message, and characters of a name in it."""


@dataclass(frozen=True)
class _Row:
    """One sampler of a server's list."""

    label: str
    own: str | None = None
    """The scheduler that it has where none is chosen, by the server's name."""
    sigmas: tuple[str, ...] = ()
    """SD.Next: options by which it can be given a scheduler."""


Pairs = dict[tuple[str, str | None], Sampler]
"""Canonical sampler and scheduler, ``None`` for the server's own choice → how they are written."""


class Samplers:
    """What a server offers, in canonical names where the core has one, else in the server's."""

    def __init__(self, stock: Stock) -> None:
        rows, labels = tuple(_rows(stock.samplers)), tuple(_labels(stock.schedulers))
        self.scheduler_setting = _setting(stock)
        """What takes `Sampler.scheduler` where that isn't the field ``scheduler``. It may be a field as well."""
        is_written = self.scheduler_setting is not None or _has_field(stock)
        self._pairs, self._own = _table(stock.dialect.name, rows, labels, is_written)
        self.samplers = tuple(dict.fromkeys(sampler for sampler, _ in self._pairs))
        self.schedulers = tuple(dict.fromkeys(scheduler for _, scheduler in self._pairs if scheduler))

    def find(self, sampler: str, scheduler: str | None = None) -> Sampler:
        """How the server writes the pair. Raises `ProviderRejectedError`, which names what is valid.

        :param scheduler: ``None`` leaves it to the server.
        """
        name = self.named(sampler)
        if scheduler is None:
            return self._pairs[name, None]
        chosen = _known(canonical.scheduler(scheduler), self.schedulers)
        if chosen is None:
            raise _refused("scheduler", scheduler, "`scheduler`", self.schedulers)
        if (name, chosen) not in self._pairs:
            raise _refused("scheduler", scheduler, f"`scheduler` with `{name}`", self.of(name))
        return self._pairs[name, chosen]

    def named(self, sampler: str) -> str:
        """What it is called in `samplers`. Raises `ProviderRejectedError`."""
        name = _known(canonical.split(sampler)[0], self.samplers)
        if name is None:
            raise _refused("sampler", sampler, "`sampler`", self.samplers)
        return name

    def of(self, sampler: str) -> tuple[str, ...]:
        """The schedulers that a canonical sampler can have."""
        return tuple(scheduler for name, scheduler in self._pairs if name == sampler and scheduler)

    def own(self, sampler: str) -> str | None:
        """The scheduler of a canonical sampler where the server chooses it; ``None`` where it doesn't tell."""
        return self._own.get(sampler)


def _has_field(stock: Stock) -> bool:
    return bool(stock.schedulers) and (not stock.fields or "scheduler" in stock.fields)


def _setting(stock: Stock) -> str | None:
    if stock.dialect.name == "sdnext":
        name = "schedulers_sigma"
        return name if name in stock.fields or stock.knows_setting(name) else None
    return "k_sched_type" if not _has_field(stock) and stock.knows_setting("k_sched_type") else None


def _refused(param: str, wanted: str, what: str, valid: tuple[str, ...]) -> ProviderRejectedError:
    if len(valid) > _LISTED:  # SD.Next has more than a hundred samplers
        message = f"{what} can't be `{wanted[:_LISTED]}`{instead(wanted, valid)}"
    elif valid:
        message = f"{what} must be one of {', '.join(valid)}{close(wanted, valid)}"
    else:
        message = f"{what} can't be chosen here"
    return ProviderRejectedError(message, param=param)


def _known(name: str, offered: tuple[str, ...]) -> str | None:
    """A server's own name may be written with other case and spaces."""
    if name in offered:
        return name
    folded = _folded(name)
    return next((one for one in offered if _folded(one) == folded), None)


def _folded(name: str) -> str:
    return name.casefold().replace("_", " ").replace("-", " ").strip()


def _rows(listed: Iterable[Mapping[str, Any]]) -> Iterator[_Row]:
    for label, row in _named(listed, "name"):
        options = row.get("options")
        options = options if isinstance(options, dict) else {}
        own = options.get("scheduler") or options.get("sigma_schedule")
        sigmas = tuple(key for key in (*_SIGMAS, "sigma_schedule") if key in options)
        yield _Row(label, own if isinstance(own, str) else None, sigmas)


def _labels(listed: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for name, row in _named(listed, "name"):
        label = row.get("label")
        yield label if isinstance(label, str) and label else name


def _named(listed: Iterable[Mapping[str, Any]], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Rows that can be chosen; SD.Next has lines of dashes between them."""
    for row in listed:
        name = row.get(key) if isinstance(row, dict) else None
        if isinstance(name, str) and name.strip("─ ") == name and name and name.casefold() not in _NOT_ONE:
            yield name, row


@lru_cache(maxsize=32)
def _table(
    dialect: str, rows: tuple[_Row, ...], schedulers: tuple[str, ...], is_written: bool
) -> tuple[Pairs, dict[str, str | None]]:
    """All pairs, and the samplers' own schedulers. Once per list: it is asked for every checkpoint and request."""
    pairs: Pairs = {}
    own: dict[str, str | None] = {}
    if dialect == "sdnext":
        _add_sigmas(pairs, own, rows, is_written=is_written)
    elif schedulers and is_written:
        _add_product(pairs, own, rows, schedulers, is_web_ui=dialect != "sdcpp")
    else:
        _add_combined(pairs, own, rows, is_written=is_written)
    return pairs, own


def _add_sigmas(pairs: Pairs, own: dict[str, str | None], rows: Iterable[_Row], *, is_written: bool) -> None:
    """SD.Next: each sampler has some. One that it hasn't makes the request fail, or is left out in silence."""
    for name, row in _by_name(rows):
        untold = Sampler(row.label, "default" if is_written else None)
        own[name] = row.own or PLAIN
        pairs[name, None] = pairs[name, own[name]] = untold
        if not is_written:
            continue
        for option in row.sigmas:
            choices = [_SIGMAS[option]] if option in _SIGMAS else [("karras", "karras"), ("exponential", "exponential")]
            for scheduler, value in choices:
                pairs.setdefault((name, scheduler), Sampler(row.label, value))


def _add_product(
    pairs: Pairs, own: dict[str, str | None], rows: Iterable[_Row], labels: Iterable[str], *, is_web_ui: bool
) -> None:
    """From 1.9 on: every sampler with every scheduler, but for those that look at none."""
    written = _schedulers(labels)
    untold = _AUTOMATIC if is_web_ui else None
    for name, row in _by_name(rows):
        automatic = Sampler(row.label, untold)
        pairs[name, None] = automatic
        own[name] = (canonical.scheduler(row.own) if row.own else _plain(row)[-1]) if is_web_ui else None
        if is_web_ui and row.label in _UNSCHEDULED:
            pairs |= dict.fromkeys(((name, scheduler) for scheduler in _plain(row)), automatic)
        else:
            pairs |= {(name, scheduler): Sampler(row.label, label) for scheduler, label in written.items()}


def _schedulers(labels: Iterable[str]) -> dict[str, str]:
    """Canonical scheduler → label. Of two that mean the same, the one that is called so."""
    found: dict[str, str] = {}
    for label in labels:
        if label == _AUTOMATIC:
            continue
        name = PLAIN if label == "discrete" else canonical.scheduler(label)
        if name not in found or _folded(label) == _folded(name):
            found[name] = label
    return found


def _add_combined(pairs: Pairs, own: dict[str, str | None], rows: Iterable[_Row], *, is_written: bool) -> None:
    """Up to 1.8: pairs have labels of their own, and the setting goes before what a label says."""
    rows = list(rows)
    labels = frozenset(row.label for row in rows)
    automatic = _AUTOMATIC if is_written else None
    split = [(row, *_split(row.label, labels)) for row in rows]
    for row, name, scheduler in split:
        if scheduler is None:
            own[name] = canonical.scheduler(row.own) if row.own else _plain(row)[-1]
            plain = [own[name], *(_plain(row) if row.label in _UNSCHEDULED else ())]
            pairs |= {(name, one): Sampler(row.label, automatic) for one in (None, *plain)}
    for row, name, scheduler in split:
        if scheduler is not None:
            pairs[name, scheduler] = Sampler(row.label, automatic)
            if (name, None) not in pairs:  # the owner has hidden the plain one
                own[name], pairs[name, None] = scheduler, Sampler(row.label, automatic)
    for row, name, scheduler in split if is_written else ():
        if scheduler is None and row.label not in _UNSCHEDULED:
            for value in _OF_SETTING:
                pairs.setdefault((name, value), Sampler(row.label, value))


def _plain(row: _Row) -> tuple[str, ...]:
    """What a sampler with a schedule of its own may be said to have; the last one is what it is called elsewhere."""
    return (PLAIN, "ddim_uniform") if row.label.startswith("DDIM") else (PLAIN,)


def _by_name(rows: Iterable[_Row]) -> list[tuple[str, _Row]]:
    """Canonical samplers. Of two rows with the same, the one that is called so; the other keeps its label."""
    found: dict[str, _Row] = {}
    for row in rows:
        name = _name(row.label)
        if name in found and _folded(row.label) == _folded(name):
            other = found[name]
            found[other.label] = other
        elif name in found:
            name = row.label
        found[name] = row
    return list(found.items())


def _name(label: str) -> str:
    name, scheduler = canonical.split(label)
    return name if scheduler is None else label


def _split(label: str, labels: frozenset[str]) -> tuple[str, str | None]:
    """``"DPM++ 2M Karras"`` → ``("dpmpp_2m", "karras")``, and the same of samplers that the core doesn't know."""
    name, scheduler = canonical.split(label)
    if name != label or scheduler is not None:
        return name, scheduler
    head, _, tail = label.rpartition(" ")
    return (head, canonical.scheduler(tail)) if head in labels and tail in ("Karras", "Exponential") else (label, None)
