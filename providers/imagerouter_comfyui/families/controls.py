"""``provider.options.controlnet``: a list of ``{name, image, strength, start, end}``, or one such object."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagerouter import InvalidParameterError
from imagerouter.names import demand
from imagerouter_comfyui.families.kit import Kit

OPTION = "controlnet"
_PARAM = f"provider.options.{OPTION}"
_KEYS = frozenset({"name", "image", "strength", "start", "end"})


@dataclass(frozen=True)
class Control:
    """One ControlNet. ``start`` and ``end`` are shares of the sampling, 0 to 1."""

    file: str
    image: str
    """As `LoadImage` takes it."""
    strength: float = 1.0
    start: float = 0.0
    end: float = 1.0


def controls(options: Mapping[str, Any], images: tuple[str, ...], kit: Kit) -> tuple[Control, ...]:
    """Raises `InvalidParameterError`."""
    given = options.get(OPTION)
    items = [given] if isinstance(given, dict) else given
    if not items:
        return ()
    if not kit.family.has_controlnet:
        raise InvalidParameterError(f"{kit.traits.title} takes no ControlNet here", param=_PARAM)
    if not isinstance(items, list) or len(items) != len(images):
        raise InvalidParameterError(f"`{_PARAM}` must be a list of objects with a `name` and an `image`", param=_PARAM)
    return tuple(
        _control(item, image, f"{_PARAM}[{index}]", kit)
        for index, (item, image) in enumerate(zip(items, images, strict=True))
    )


def _control(item: Any, image: str, param: str, kit: Kit) -> Control:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise InvalidParameterError(f"`{param}.name` must be the name of a ControlNet", param=f"{param}.name")
    if unknown := sorted(map(str, item.keys() - _KEYS)):
        raise InvalidParameterError(f"`{param}` has no `{unknown[0]}`", param=f"{param}.{unknown[0]}")
    file = demand(item["name"], kit.controlnets, f"{param}.name", "ControlNet")
    strength = _number(item, "strength", 1.0, 10.0, param)
    start = _number(item, "start", 0.0, 1.0, param)
    return Control(file, image, strength, start, _number(item, "end", 1.0, 1.0, param))


def _number(item: dict[str, Any], key: str, usual: float, largest: float, param: str) -> float:
    value = item.get(key)
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= largest:
        raise InvalidParameterError(f"`{param}.{key}` must be between 0 and {largest:g}", param=f"{param}.{key}")
    return float(value)
