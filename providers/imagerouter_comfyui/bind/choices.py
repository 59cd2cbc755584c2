"""Names out of a server's lists: files above all, which clients and workflows spell in several ways."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from imagerouter import ProviderRejectedError

_SHOWN = 10
_LONGEST = 100
_EXTENSION = re.compile(r"\.(safetensors|sft|ckpt|pt|pth|bin|gguf|onnx)$", re.IGNORECASE)


def slashed(name: str) -> str:
    """A server on Windows lists its files with backslashes."""
    return name.replace("\\", "/")


def same_file(name: str, options: Iterable[str]) -> str | None:
    """The option that is ``name`` but for the slashes."""
    return next((option for option in options if slashed(option) == slashed(name)), None)


def pick(name: str, options: Sequence[str]) -> str | None:
    """The option that ``name`` means: itself, without folder or extension, or in other letters; ``None`` if none is."""
    if name in options:
        return name
    for reading in (slashed, _file, _stem, _folded):
        if (found := next((option for option in options if reading(option) == reading(name)), None)) is not None:
            return found
    return None


def demand(name: str, options: Sequence[str], param: str) -> str:
    """The option that ``name`` means; raises `ProviderRejectedError` with some of those that there are."""
    found = pick(name, options)
    if found is None:
        raise ProviderRejectedError(f"`{param}`: no `{name[:_LONGEST]}` here; {some(options)}", param=param)
    return found


def some(options: Sequence[str]) -> str:
    shown = ", ".join(options[:_SHOWN])
    more = f" and {len(options) - _SHOWN} more" if len(options) > _SHOWN else ""
    return f"there is {shown}{more}" if options else "there is none"


def hint(word: str, known: Iterable[str]) -> str:
    """``"; did you mean `sampler`?"`` or an empty string."""
    if len(word) > _LONGEST:
        return ""
    spellings = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), spellings, n=1, cutoff=0.6)
    return f"; did you mean `{spellings[close[0]]}`?" if close else ""


def _file(name: str) -> str:
    return slashed(name).rpartition("/")[2]


def _stem(name: str) -> str:
    return _EXTENSION.sub("", _file(name))


def _folded(name: str) -> str:
    return _stem(name).casefold()
