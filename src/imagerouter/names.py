"""Names out of a server's lists, above all of files, which clients and workflows spell in several ways."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from difflib import get_close_matches

from imagerouter.errors import ProviderRejectedError

_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pt2", ".pth", ".bin", ".pkl", ".gguf", ".onnx")
_SHOWN = 10
_CLOSE = 3
_LONGEST = 100
"""Characters of a client's name that are repeated, and up to which it is compared with others."""


def slashed(name: str) -> str:
    """A server on Windows lists ``folder\\file``."""
    return name.replace("\\", "/")


def key(name: str) -> str:
    """What spellings of one name have in common, whatever the case and the kind of slash."""
    return slashed(name).casefold()


def base(name: str) -> str:
    """The file's name without its folder."""
    return slashed(name).rpartition("/")[2]


def stem(name: str) -> str:
    """The file's name without folder and ending."""
    found = base(name)
    return found[: len(found) - len(_ending(found))]


def short(names: Iterable[str]) -> list[str]:
    """Each name once, and as briefly as `find` finds it: of a file without the ending and, if possible, the folder."""
    names = list(dict.fromkeys(names))
    meanings = Counter(
        meaning
        for name in names
        for meaning in {key(name), key(_without_ending(name)), key(base(name)), key(stem(name))}
    )

    def is_enough(spelling: str) -> bool:
        return bool(spelling.strip()) and not _ending(spelling) and meanings[key(spelling)] == 1

    return [
        next(filter(is_enough, (stem(name), _without_ending(name))), name) if _ending(name) else name for name in names
    ]


def find(wanted: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is meant; ``None`` if none is, or several may be."""
    found = candidates(wanted, names)
    return found[0] if len(found) == 1 else None


def candidates(wanted: str, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that may be meant, by the strictest reading that fits any.

    Slashes and case are forgiven; of a file also the ending, and the folder where ``wanted`` has none.
    """
    names = list(dict.fromkeys(names))
    files = [name for name in names if _ending(name)]
    readings: list[tuple[Callable[[str], str], list[str]]] = [(str, names), (slashed, names), (_without_ending, files)]
    if "/" not in slashed(wanted):
        readings += [(base, files), (stem, files)]
    for read, among in readings:
        for fold in (str, str.casefold):
            meant = fold(read(wanted))  # once: a client's name may be as long as a request
            if found := [name for name in among if fold(read(name)) == meant]:
                return found
    return []


def demand(wanted: str, names: Iterable[str], param: str, kind: str = "") -> str:
    """The one of ``names`` that is meant; raises `ProviderRejectedError`, which says what else there is."""
    names = list(names)
    found = find(wanted, names)
    if found is None:
        what = f"{kind} `{_short(wanted)}`" if kind else f"`{_short(wanted)}`"
        raise ProviderRejectedError(f"`{param}`: there is no {what} here{instead(wanted, names)}", param=param)
    return found


def instead(wanted: str, names: Iterable[str]) -> str:
    """What there is, to follow the news that ``wanted`` isn't: close names, else the first of all."""
    names = list(names)
    shown = ", ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return close(wanted, names) or (f"; there is {shown}{more}" if names else "")


def close(wanted: str, names: Iterable[str]) -> str:
    """``"; did you mean `a` or `b`?"``, of those that may be meant, else of similar ones; empty where none is."""
    names = list(names)
    if len(wanted) > _LONGEST:
        return ""
    found = candidates(wanted, names)[:_SHOWN]
    if not found:
        spellings = {stem(name).casefold(): name for name in names}
        found = [spellings[like] for like in get_close_matches(stem(wanted).casefold(), spellings, _CLOSE)]
    *others, last = [f"`{name}`" for name in found] or [""]
    either = f"{', '.join(others)} or {last}" if others else last
    return f"; did you mean {either}?" if either else ""


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}…"


def _ending(name: str) -> str:
    lowered = name.lower()
    return next((ending for ending in _ENDINGS if lowered.endswith(ending)), "")


def _without_ending(name: str) -> str:
    return slashed(name)[: len(name) - len(_ending(name))]
