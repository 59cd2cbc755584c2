"""A server's list of models → what is offered of it, and how each one is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from imagerouter import IMAGE, Descriptor, Model, Operation, between
from imagerouter.parameters import DECLARABLE
from imagerouter_openai.answers import text_of
from imagerouter_openai.config import OpenAIConfig
from imagerouter_openai.dialects import Dialect, GptImage, Parameter, gpt_image

Entry = Mapping[str, Any]

_NATIVE = 1024
"""Pixels of a side where the server doesn't tell, which only matters for a shape without a size."""
_SIDE = between(16, 16384)
_UNWRITTEN = frozenset({"width", "height", "images", "mask", "partial_images"})
"""Canonical parameters that aren't written as values under a name of their own."""


@dataclass(frozen=True)
class Offer:
    """One model, and how requests for it are written."""

    model: Model
    dialect: Dialect
    written: Mapping[str, Parameter]
    """Canonical parameter → how its value is written."""
    response_format: str | None
    is_ready: bool = True
    is_resident: bool = False

    @property
    def batch(self) -> int:
        """Images that one request may ask for."""
        return self.dialect.batch if self.dialect.name == "imagerouter" or "seed" not in self.written else 1


def offers(entries: Sequence[Entry], dialect: Dialect, config: OpenAIConfig) -> dict[str, Offer]:
    """By name; those of the configuration, else those that draw, as far as the list tells."""
    listed = {name: entry for entry in entries if (name := text_of(entry.get("id")))}
    host = httpx.URL(config.root).host
    wanted: Iterable[str] = config.models or [name for name, entry in listed.items() if _draws(name, entry, host)]
    listed = {**_aliases(entries), **listed}
    return {name: _offer(name, listed.get(name, {}), dialect, config) for name in wanted}


def _aliases(entries: Sequence[Entry]) -> dict[str, Entry]:
    """What else another imagerouter calls its models."""
    known = [(entry.get("aliases"), entry) for entry in entries]
    return {name: entry for names, entry in known if isinstance(names, list) for name in map(text_of, names)}


def _draws(name: str, entry: Entry, host: str) -> bool:
    if host.endswith("api.openai.com"):
        return gpt_image(name) is not None
    outputs = _outputs(entry)
    if outputs is not None:
        return "image" in outputs
    task = text_of(entry.get("task_type"))  # SGLang: T2I, TI2I, I2I, T2V, …
    kind = text_of(entry.get("type"))  # Together: chat, image, embedding, …
    return (not task or task.endswith("2I")) and kind in ("", "image", "model")


def _outputs(entry: Entry) -> list[Any] | None:
    architecture = entry.get("architecture")
    places = (entry, architecture if isinstance(architecture, dict) else {})
    return next((found for place in places if isinstance(found := place.get("output_modalities"), list)), None)


def _offer(name: str, entry: Entry, dialect: Dialect, config: OpenAIConfig) -> Offer:
    known = gpt_image(name) if dialect.name == "openai" else None
    unwritten, written = _parameters(entry, dialect, known)
    written |= {key: Parameter(theirs) for key, theirs in config.parameters.items()}
    operations = frozenset(config.operations) or _operations(entry, dialect, known)
    width, height = _size(text_of(entry.get("size")))
    created = entry.get("created")
    return Offer(
        Model(
            id=name,
            operations=operations,
            parameters=_for(operations, {**unwritten, **{key: each.limits for key, each in written.items()}}),
            width=width,
            height=height,
            size_multiple=dialect.multiple if known is None else known.multiple,
            description=text_of(entry.get("description")),
            created=created if isinstance(created, int) else 0,
            options=frozenset(config.client_options),
        ),
        dialect,
        written,
        dialect.response_format if known is None else None,
        is_ready=_some_target(entry, "ready", unknown=True),
        is_resident=_some_target(entry, "resident", unknown=False),
    )


def _parameters(
    entry: Entry, dialect: Dialect, known: GptImage | None
) -> tuple[dict[str, Descriptor], dict[str, Parameter]]:
    """Those that aren't written under a name of their own, and those that are."""
    if dialect.name == "imagerouter":
        told = _told(entry.get("supported_parameters"))
        written = {key: Parameter(key, limits) for key, limits in told.items() if key not in _UNWRITTEN}
        return {key: limits for key, limits in told.items() if key in _UNWRITTEN}, written
    if known is not None:
        return known.limits, {**dialect.parameters, **known.parameters}
    return {"width": _SIDE, "height": _SIDE}, dict(dialect.parameters)


def _operations(entry: Entry, dialect: Dialect, known: GptImage | None) -> frozenset[Operation]:
    told = entry.get("operations")
    if dialect.name == "imagerouter" and isinstance(told, list):
        return frozenset(Operation(each) for each in told if each in set(Operation))
    architecture = entry.get("architecture")
    inputs = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    if isinstance(inputs, list):
        return dialect.operations | {Operation.EDIT} if "image" in inputs else frozenset({Operation.GENERATE})
    return dialect.operations if known is None else frozenset(Operation)


def _for(operations: frozenset[Operation], limits: Mapping[str, Descriptor]) -> dict[str, Descriptor]:
    """With the pictures that the operations need, and without what only they have a use for."""
    pictures = {"images": bool(operations - {Operation.GENERATE}), "mask": Operation.INPAINT in operations}
    found = {name: each for name, each in limits.items() if pictures.get(name, True)}
    return found | {name: IMAGE for name, is_needed in pictures.items() if is_needed}


def _told(found: Any) -> dict[str, Descriptor]:
    """The limits that another imagerouter tells, as far as they make sense here."""
    limits: dict[str, Descriptor] = {}
    for name, told in found.items() if isinstance(found, dict) else ():
        try:
            each = msgspec.convert(told, Descriptor)
        except msgspec.ValidationError:
            continue
        if name in DECLARABLE:
            is_odd = each.default is not None and each.refusal(each.default) is not None
            limits[name] = msgspec.structs.replace(each, default=None) if is_odd else each
    return limits


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else (_NATIVE, _NATIVE)


def _some_target(entry: Entry, trait: str, *, unknown: bool) -> bool:
    """Whether one of those that another imagerouter has for a model is ``ready``, or has it ``resident``."""
    targets = entry.get("targets")
    known = [each for each in targets if isinstance(each, dict)] if isinstance(targets, list) else []
    return any(each.get(trait) is True for each in known) if known else unknown
