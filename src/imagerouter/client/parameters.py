"""A request's parameters as a program gives them, made into what the body of one over HTTP says.

The names are those of the body (docs/parameters.md), and so are the values, but for pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

import msgspec

from imagerouter.client.pictures import picture
from imagerouter.errors import InvalidParameterError
from imagerouter.openai import decode
from imagerouter.parameters import CANONICAL_OF
from imagerouter.types import Hires, Image, Lora

_NO_BASE64 = re.compile(r"(?![a-z][a-z0-9+.-]+:)[^.~\\]*[.~\\]", re.IGNORECASE)
"""What begins like no address and has a character that paths and sentences have."""


class Parameters(TypedDict, total=False):
    """What a request may say beside its prompt and its pictures; ``None`` is the same as nothing."""

    model: str | None
    n: int | None
    size: str | None
    width: int | None
    height: int | None
    aspect_ratio: str | None
    resolution: str | None
    negative_prompt: str | None
    steps: int | None
    cfg_scale: float | None
    guidance: float | None
    seed: int | None
    sampler: str | None
    scheduler: str | None
    mask_channel: Literal["alpha", "white"] | None
    strength: float | None
    loras: Sequence[str | Lora | Mapping[str, Any]] | None
    clip_skip: int | None
    vae: str | None
    hires: Hires | Mapping[str, Any] | None
    quality: str | None
    background: str | None
    style: str | None
    output_format: Literal["png", "jpeg", "jpg", "webp", "avif"] | None
    output_compression: int | None
    metadata: Literal["strip", "embed"] | None
    parity: Literal["off", "best_effort", "strict"] | None
    strict: bool | None
    models: Sequence[str] | None
    provider: Mapping[str, Any] | None
    priority: int | None
    queue_timeout: float | None


def body_of(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Image]]:
    """The fields of a body, and the pictures by the keys that stand for them there.

    Files are read and pixels encoded, so it is for a thread. Raises `InvalidRequestError`.
    """
    fields: dict[str, Any] = {}
    pictures: dict[str, Image] = {}
    for name, value in parameters.items():
        if CANONICAL_OF.get(name, name) not in ("images", "mask"):
            fields[name] = _plain(name, value)
        elif _is_list(value):
            fields[name] = [_kept(item, f"{name}[{index}]", pictures) for index, item in enumerate(value)]
        else:
            fields[name] = _kept(value, name, pictures)
    return fields, pictures


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)


def _kept(given: Any, param: str, pictures: dict[str, Image]) -> Any:
    """What stands for the picture in the fields."""
    if isinstance(given, str) and _NO_BASE64.match(given):
        message = f"`{param}` is neither base64 nor a data URL; a file is given as a `pathlib.Path`, not as a text"
        raise InvalidParameterError(message, param=param)
    if given is None or isinstance(given, str | Mapping):
        return given
    key = f"picture:{len(pictures)}"
    pictures[key] = picture(given, param)
    return key


def _plain(name: str, value: Any) -> Any:
    """The value as it would arrive over HTTP."""
    try:
        plain = msgspec.to_builtins(value, builtin_types=(bytes, bytearray, memoryview), enc_hook=_number)
        body = json.dumps({name: plain}, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidParameterError(f"`{name}` holds what no JSON can: {error}", param=name) from None
    return decode(body.encode())[name]


def _number(value: Any) -> Any:
    """NumPy's, and those of its kin, know how to become Python's."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(type(value).__name__)
