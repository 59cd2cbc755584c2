"""The keys of a body under canonical names: aliases resolved, shapes of other dialects made into ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import FIELDS
from imagerouter.parameters import CANONICAL_OF


def canonical(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], dict[str, str]]:
    """Aliases resolved and ``null`` dropped; contradictions raise.

    Returns the known fields, the unknown names, and for each known field the name it was sent under.
    """
    flat = {**fields, **extra} if isinstance(extra := fields.get("extra_body"), dict) else {**fields}
    if flat.get("true_cfg_scale") is not None and "guidance_scale" in flat:
        # Whoever tells the two apart speaks of a distilled model, whose `guidance_scale` is no CFG.
        flat.setdefault("guidance", flat.pop("guidance_scale"))
    known: dict[str, Any] = {}
    origin: dict[str, str] = {}
    unknown: list[str] = []
    for key, value in flat.items():
        if value is None or key == "extra_body":
            continue
        name = CANONICAL_OF.get(key, key)
        if name not in FIELDS:
            unknown.append(key)
            continue
        shaped = shape(name, value)
        if name in known and known[name] != shaped:
            raise InvalidParameterError(
                f"`{origin[name]}` and `{key}` are two names of one parameter with different values",
                param=key,
            )
        known[name] = shaped
        origin.setdefault(name, key)
    return known, unknown, origin


_LORA_KEYS = {"path": "name", "lora_name": "name", "model": "name", "scale": "weight", "strength": "weight"}


def shape(name: str, value: Any) -> Any:
    """Shapes that other dialects use: one picture or LoRA without a list, numbers as text for the size."""
    if name == "images":
        items = value if isinstance(value, list) else [value]
        return [_reference(item) for item in items]
    if name == "mask":
        return _reference(value)
    if name == "loras":
        items = value if isinstance(value, list) else [value]
        return [_lora(item) for item in items]
    if name in ("width", "height") and isinstance(value, str) and value.isdecimal() and len(value) < 7:
        return int(value)
    return value


def _reference(item: Any) -> Any:
    """``{"image_url": {"url": …}}`` in its three spellings → the URL or base64 itself."""
    while isinstance(item, dict):
        inner = item.get("image_url", item.get("url", item.get("b64_json")))
        if inner is None:
            return item
        item = inner
    return item


def _lora(item: Any) -> Any:
    if isinstance(item, str):
        return {"name": item}
    if isinstance(item, dict):
        return {_LORA_KEYS.get(key, key) if key not in ("name", "weight") else key: v for key, v in item.items()}
    return item
