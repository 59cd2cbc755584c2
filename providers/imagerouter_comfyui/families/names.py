"""File names as servers and people spell them: separators, endings and case are forgiven."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

_ENDINGS = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf")


def slashed(name: str) -> str:
    """A server on Windows lists ``folder\\file``."""
    return name.replace("\\", "/")


def base(name: str) -> str:
    """The file's name without its folder."""
    return slashed(name).rpartition("/")[2]


def stem(name: str) -> str:
    """The file's name without folder and ending."""
    found = base(name)
    ending = next((ending for ending in _ENDINGS if found.lower().endswith(ending)), "")
    return found[: len(found) - len(ending)]


def _bare(name: str) -> str:
    """Folder and name without the ending."""
    folder, slash, _ = slashed(name).rpartition("/")
    return (folder + slash + stem(name)).casefold()


def find(wanted: str, names: Sequence[str]) -> str | None:
    """The one of ``names`` that is meant: exactly, by path, or by its bare name if that fits only one."""
    if wanted in names:
        return wanted
    path = [name for name in names if slashed(name).casefold() == slashed(wanted).casefold()]
    bare = [name for name in names if _bare(name) == _bare(wanted)]
    file = [name for name in names if stem(name).casefold() == stem(wanted).casefold()] if _is_plain(wanted) else []
    return next((found[0] for found in (path, bare, file) if len(found) == 1), None)


def _is_plain(name: str) -> bool:
    return "/" not in slashed(name)


def close(wanted: str, names: Iterable[str]) -> str:
    """``"; close to it are `a`, `b`"``, or nothing where nothing is."""
    by_stem = {stem(name).casefold(): name for name in names}
    found = get_close_matches(stem(wanted).casefold(), by_stem, n=3, cutoff=0.5)
    if not found:
        return ""
    return f"; close to it {'is' if len(found) == 1 else 'are'} {', '.join(f'`{by_stem[name]}`' for name in found)}"
