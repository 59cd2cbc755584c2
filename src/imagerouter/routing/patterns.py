"""Patterns of the YAML file: ``*`` stands for any characters, ``?`` for exactly one, all others for themselves."""

from __future__ import annotations

from fnmatch import fnmatchcase

WILDCARDS = frozenset("*?")


def is_pattern(text: str) -> bool:
    return not WILDCARDS.isdisjoint(text)


def is_like(text: str, pattern: str) -> bool:
    """Whether ``text`` as a whole has the form of ``pattern``. Case counts; fold both where it shouldn't."""
    # Names of models hold brackets, which mean nothing here.
    return fnmatchcase(text, pattern.replace("[", "[[]"))
