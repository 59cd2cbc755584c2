"""Durations and sizes as people write them in YAML."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_BYTES = {
    "": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
    "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


def _parse(value: Any, units: dict[str, float] | dict[str, int], example: str) -> Any:
    if not isinstance(value, str):
        return value
    match = _QUANTITY.fullmatch(value)
    if match is None or match[2].lower() not in units:
        raise ValueError(f"{value!r} can't be read; write it like {example}")
    return float(match[1]) * units[match[2].lower()]


def parse_seconds(value: Any) -> Any:
    """``"10m"`` → 600.0; numbers pass through for pydantic to check."""
    return _parse(value, _SECONDS, "`90`, `90s`, `10m` or `1h`")


def parse_bytes(value: Any) -> Any:
    """``"8GiB"`` → 8589934592; numbers pass through for pydantic to check."""
    parsed = _parse(value, _BYTES, "`1048576`, `32MiB` or `8GB`")
    return int(parsed) if isinstance(parsed, float) else parsed


Seconds = Annotated[
    float,
    BeforeValidator(parse_seconds),
    Field(gt=0, allow_inf_nan=False, json_schema_extra={"type": ["number", "string"]}),
]
"""A field that takes ``90``, ``"90s"``, ``"10m"`` or ``"1h"``."""

Bytes = Annotated[int, BeforeValidator(parse_bytes), Field(gt=0, json_schema_extra={"type": ["integer", "string"]})]
"""A field that takes ``1048576``, ``"32MiB"`` or ``"8GB"``."""
