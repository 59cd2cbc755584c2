"""A server's checkpoints, and the many names that it takes for one of them (``modules/sd_models.py``)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from imagerouter.names import slashed, stem
from imagerouter_a1111.recipe import Checkpoint

_HASH = re.compile(r"\s*\[[0-9a-f]{6,64}\]$")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BEGINNING = re.compile(r"[0-9a-f]{10,64}")


def parse(rows: Any) -> tuple[Checkpoint, ...]:
    """The rows of ``/sdapi/v1/sd-models`` that can be used."""
    found = [_one(row) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return tuple(checkpoint for checkpoint in found if checkpoint is not None)


def _one(row: dict[str, Any]) -> Checkpoint | None:
    title, name = (_text(row.get(key)) for key in ("title", "model_name"))
    file = slashed(_HASH.sub("", title or name))
    if not file:
        return None
    return Checkpoint(title or name, name or stem(file), file, _text(row.get("hash")), _text(row.get("sha256")))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def sha256_of(checkpoint: Checkpoint) -> str:
    """As many digits as are known; none where the server has no hash of the file, but something in its place.

    stable-diffusion.cpp says eights only, and SD.Next the revision of a folder from Hugging Face. Before 2023 a web
    UI had hashes of another kind, of eight digits.
    """
    said, form = (checkpoint.sha256, _SHA256) if checkpoint.sha256 else (checkpoint.hash, _BEGINNING)
    said = said.lower()
    return said if form.fullmatch(said) and len(set(said)) > 1 else ""


@lru_cache(maxsize=4096)
def spellings(checkpoint: Checkpoint) -> frozenset[str]:
    """Everything that surely means this one, and no other of the same server."""
    found = (checkpoint.title, checkpoint.file, checkpoint.name, checkpoint.hash, checkpoint.sha256)
    return frozenset(slashed(spelling) for spelling in found if spelling)


def meant(spelling: str, checkpoints: Iterable[Checkpoint]) -> Checkpoint | None:
    """The checkpoint that one of the server's own spellings stands for."""
    wanted = slashed(spelling)
    without_hash = _HASH.sub("", wanted)
    for checkpoint in checkpoints:
        if wanted in spellings(checkpoint) or without_hash == checkpoint.file:
            return checkpoint
    return None


def denotes_same(one: str, other: str, checkpoints: Iterable[Checkpoint]) -> bool:
    checkpoints = tuple(checkpoints)
    return one == other or ((found := meant(one, checkpoints)) is not None and found == meant(other, checkpoints))
