"""How messages speak of words that somebody got wrong: ``did you mean …``, and long ones cut short."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

LONGEST_WORD = 100
"""Characters; the search for close words takes time that grows with the square of the length."""
LONGEST_ECHO = 60


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean `sampler`?"`` for the closest known word, or an empty string."""
    if len(word) > LONGEST_WORD:
        return ""
    spellings = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), spellings, n=1, cutoff=0.6)
    return f"; did you mean `{spellings[close[0]]}`?" if close else ""


def shortened(text: str) -> str:
    """What a client sent, for a message: whole if it is short, else its beginning."""
    return text if len(text) <= LONGEST_ECHO else f"{text[: LONGEST_ECHO - 1]}…"
