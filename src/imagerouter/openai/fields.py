"""The keys of a body under canonical names: aliases resolved, shapes of other dialects made into ours."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import FIELDS, NESTED
from imagerouter.parameters import CANONICAL_OF


def canonical(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """Aliases resolved and ``null`` dropped; contradictions raise.

    Returns the known fields, the unknown names, and the sent name of each field that was sent under another one.
    """
    pairs = _pairs(fields)
    # Whoever tells the two apart speaks of a distilled model, whose `guidance_scale` is no CFG.
    canonical_of = _DISTILLED if "true_cfg_scale" in {key for key, _, _ in pairs} else CANONICAL_OF
    known: dict[str, Any] = {}
    renamed: dict[str, str] = {}
    unknown: list[str] = []
    for key, sent, value in pairs:
        name = canonical_of.get(key, key)
        if name not in FIELDS:
            unknown.append(sent)
            continue
        shaped = shape(name, value) if name in _SHAPED else value
        if name not in known:
            known[name] = shaped
            if sent != name:
                renamed[name] = sent
        elif known[name] != shaped:
            raise _contradiction(renamed.get(name, name), sent)
    for name in NESTED:
        if name in known:
            unknown += strangers(name, known[name])
    return known, unknown, renamed


WRAPPERS = ("image_config", "extra_body")
"""Objects that clients put parameters into: OpenRouter's, and what SDKs unpack and people who write JSON don't."""
_DISTILLED = {**CANONICAL_OF, "guidance_scale": "guidance"}


def _pairs(fields: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str, Any]]:
    """Every key that says something, with the name to call it by; those of wrappers come last."""
    wrapped = [name for name in WRAPPERS if name in fields and isinstance(fields[name], dict)]
    said = [(key, prefix + key, value) for key, value in fields.items() if value is not None and key not in wrapped]
    for name in wrapped:
        said += _pairs(fields[name], f"{prefix}{name}.")
    return said


def _contradiction(first: str, second: str) -> InvalidParameterError:
    return InvalidParameterError(
        f"`{first}` and `{second}` are two names of one parameter with different values", param=second
    )


def strangers(name: str, value: Any) -> Iterator[str]:
    """Keys inside an object, or a list of objects, that mean nothing: ``loras[0].colour``, ``provider.sort.up``."""
    if name not in NESTED:
        return
    items: Iterable[tuple[str, Any]] = [(name, value)]
    if isinstance(value, list):
        items = ((f"{name}[{index}]", item) for index, item in enumerate(value))
    for place, item in items:
        for key, inner in item.items() if isinstance(item, dict) else ():
            if key in NESTED[name]:
                yield from strangers(f"{name}.{key}", inner)
            else:
                yield f"{place}.{key}"


LORA_KEYS = {"path": "name", "lora_name": "name", "model": "name", "scale": "weight", "strength": "weight"}


_SHAPED = frozenset({"images", "mask", "width", "height", "parity", *NESTED})
"""Fields that `shape` may change."""


def shape(name: str, value: Any) -> Any:
    """Shapes that other dialects use: one picture or LoRA without a list, sizes and prices as text."""
    if name == "images":
        return [_reference(item, f"images[{index}]") for index, item in enumerate(_listed(value))]
    if name == "mask":
        return _reference(value, name)
    if name == "loras":
        return [_lora(item, f"loras[{index}]") for index, item in enumerate(_listed(value))]
    if name in ("width", "height") and isinstance(value, str) and value.isdecimal() and len(value) < 7:
        return int(value)
    if name in NESTED:
        return _preferences(value) if name == "provider" else _said(value)
    # YAML takes a bare `off` for a no.
    return "off" if name == "parity" and value is False else value


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _said(value: Any) -> Any:
    """Without the keys that are ``null``, which is the same as absent."""
    return {key: item for key, item in value.items() if item is not None} if isinstance(value, dict) else value


_PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?")


def _preferences(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    said = {key: _said(item) for key, item in value.items() if item is not None}
    if isinstance(prices := said.get("max_price"), dict):
        said["max_price"] = {key: _price(item) for key, item in prices.items()}
    return said


def _price(value: Any) -> Any:
    return float(value) if isinstance(value, str) and _PRICE.fullmatch(value) else value


def _reference(item: Any, place: str) -> Any:
    """``{"image_url": {"url": …}}`` in its three spellings → the URL or base64 itself."""
    while isinstance(item, dict):
        inner = next((item[key] for key in ("image_url", "url", "b64_json") if item.get(key) is not None), None)
        if inner is None and "file_id" in item:
            what = "files can't be uploaded here first; send the picture as base64, data URL or in a form"
            raise InvalidParameterError(f"`{place}`: {what}", param=place)
        if inner is None:
            return item
        item = inner
    return item


def _lora(item: Any, place: str) -> Any:
    if isinstance(item, str):
        return {"name": item}
    if not isinstance(item, dict):
        return item
    known: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, value in _said(item).items():
        name = LORA_KEYS.get(key, key)
        if known.setdefault(name, value) != value:
            raise _contradiction(f"{place}.{origin[name]}", f"{place}.{key}")
        origin.setdefault(name, key)
    return known
