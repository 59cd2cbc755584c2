"""How configuration messages show values: in backticks, on one line, never long."""

from __future__ import annotations

from collections.abc import Iterable

LONGEST = 80


def quote(value: object) -> str:
    """A value for the middle of a message, in YAML's spelling."""
    text = str(value).lower() if isinstance(value, bool) else "null" if value is None else str(value)
    text = printable(text)
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[: LONGEST - 1]}…`"


def printable(text: str) -> str:
    """One line, whatever is in it: no line breaks, no terminal escapes, nothing that UTF-8 can't encode."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listing(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
