"""``did you mean …``: one spelling of it for configuration, requests and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``"; did you mean `sampler`?"`` for the closest known word, or an empty string."""
    spellings = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), spellings, n=1, cutoff=0.6)
    return f"; did you mean `{spellings[close[0]]}`?" if close else ""
