"""Models that know few words: other words become the nearest one that they know, and the reply says so.

Such a model has a `words.json` beside its weights: ``known``, the words that mean something to it, and
``means``, other words with the known ones that come nearest (nothing at all for words like *very*).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path

import msgspec

from imagerouter import ImageRequest
from imagerouter.suggest import shortened

FILE = "words.json"
# A number after a colon is a weight, not a word.
_WORD = re.compile(r"\b(?!(?<=[:.+-])\d)\w+(?:['\u2019]\w+)*")
_MOST_TOLD = 8
_MOST_LOOKED_UP = 60
"""Unknown words of a prompt whose spelling is compared; the model reads little more than the beginning anyway."""


@dataclass
class _Reading:
    """What became of the words of one request."""

    instead: dict[str, str] = field(default_factory=dict)
    """Unknown word → what was read instead; empty when it was left out."""
    looked_up: int = 0

    @property
    def notes(self) -> tuple[str, ...]:
        taken = [f"`{shortened(word)}` as `{known}`" for word, known in self.instead.items() if known]
        lost = [f"`{shortened(word)}`" for word, known in self.instead.items() if not known]
        said = (("read ", taken), ("left out words that this model doesn't know: ", lost))
        return tuple(start + _listed(words) for start, words in said if words)


def _listed(words: list[str]) -> str:
    more = len(words) - _MOST_TOLD
    return ", ".join(words[:_MOST_TOLD]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Vocabulary:
    known: frozenset[str]
    means: dict[str, str]

    def understood(self, request: ImageRequest) -> tuple[ImageRequest, tuple[str, ...]]:
        """The request in words that the model knows, and sentences about those that it doesn't."""
        reading = _Reading()
        changed = {"prompt": self._read(request.prompt, reading)}
        if request.negative_prompt:
            changed["negative_prompt"] = self._read(request.negative_prompt, reading)
        return msgspec.structs.replace(request, **changed), reading.notes

    def _read(self, text: str, reading: _Reading) -> str:
        return _WORD.sub(lambda match: self._nearest(match[0], reading), text)

    def _nearest(self, written: str, reading: _Reading) -> str:
        word = written.casefold().replace("\u2019", "'")
        if word in self.known:
            return written
        if (meant := self.means.get(word)) == "":
            return ""
        if word not in reading.instead:
            reading.looked_up += 1
            by_spelling = reading.looked_up <= _MOST_LOOKED_UP
            reading.instead[word] = meant or self._inflected(word) or (self._spelled(word) if by_spelling else "")
        return reading.instead[word]

    def _inflected(self, word: str) -> str:
        """Several of what is known by its singular, or one of what is known by its plural."""
        for ending in ("s", "es", "y", "ish", "'s"):
            stem = word.removesuffix(ending)
            if stem == word:
                continue
            if stem in self.known:
                return stem
            meant = self.means.get(stem, "")
            if meant:
                return f"{meant}s" if ending in ("s", "es") and f"{meant}s" in self.known else meant
        return f"{word}s" if f"{word}s" in self.known else ""

    def _spelled(self, word: str) -> str:
        if not 4 <= len(word) <= 20:
            return ""
        close = get_close_matches(word, [*self.known, *self.means], n=1, cutoff=0.8)
        return self.means.get(close[0], close[0]) if close else ""


@lru_cache(maxsize=64)
def of(folder: Path | None) -> Vocabulary | None:
    """The vocabulary of the model in a folder; ``None`` for the many that take any words."""
    if folder is None or not (folder / FILE).is_file():
        return None
    told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Vocabulary(frozenset(told["known"]), told["means"])
