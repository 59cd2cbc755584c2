"""The texts of a form → the fields that a JSON body would hold.

Clients spell what is nested in brackets: ``provider[order][]``, ``loras[][name]``, ``loras[0][name]``, ``image[1]``.
An object or a list may also come as JSON text. Numbers and booleans are texts that become what `GenerationBody`
declares for their field, or what they read as where it declares nothing; one that doesn't fit stays a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import msgspec
from msgspec import inspect

from imagerouter.errors import InvalidParameterError
from imagerouter.openai.body import GenerationBody
from imagerouter.openai.fields import LORA_KEYS
from imagerouter.parameters import CANONICAL_OF
from imagerouter.suggest import shortened

DEEPEST = 8
"""Brackets after one name."""

Path = tuple[str, ...]
"""What stands in the brackets, one after the other; ``""`` is the next element of a list."""
Entries = list[tuple[Path, str]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a place in the body takes, as far as it matters to a text that is to become it."""

    scalars: frozenset[type] = frozenset()
    item: Kind | None = None
    """Of a list's elements; ``None`` where no list is taken."""
    fields: Mapping[str, Kind] | None = None
    """Of an object's keys; ``None`` where no object is taken."""

    def __or__(self, other: Kind) -> Kind:
        fields = other.fields if self.fields is None else self.fields
        return Kind(self.scalars | other.scalars, self.item or other.item, fields)


ANYTHING = Kind()
_SCALARS: dict[type, frozenset[type]] = {
    inspect.IntType: frozenset({float}),
    inspect.FloatType: frozenset({float}),
    inspect.BoolType: frozenset({bool}),
    inspect.StrType: frozenset({str}),
    inspect.LiteralType: frozenset({str}),
}
_ALIASES = {**CANONICAL_OF, **LORA_KEYS}


def _kind(info: inspect.Type) -> Kind:
    match info:
        case inspect.Metadata(type=inner):
            return _kind(inner)
        case inspect.UnionType(types=types):
            return reduce(or_, map(_kind, types))
        case inspect.VarTupleType(item_type=item):
            return Kind(item=_kind(item))
        case inspect.DictType():
            return Kind(fields={})
        case inspect.StructType(fields=fields):
            own = {field.name: _kind(field.type) for field in fields}
            return Kind(fields=own | {alias: own[name] for alias, name in _ALIASES.items() if name in own})
    return Kind(_SCALARS.get(type(info), frozenset()))


_FIELDS = dict(_kind(inspect.type_info(GenerationBody)).fields or {})
_FIELDS["extra_body"] = Kind(fields=_FIELDS)

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")


def split(name: str) -> tuple[str, Path]:
    """``loras[][name]`` → ``("loras", ("", "name"))``; a name that isn't spelled like this is a field of its own."""
    match = _NAME.fullmatch(name)
    if match is None:
        return name, ()
    path = tuple(match[2][1:-1].split("][")) if match[2] else ()
    if len(path) > DEEPEST:
        raise wrong(match[1], "is nested too deeply")
    return match[1], path


def takes_pictures(field: str) -> bool:
    return CANONICAL_OF.get(field, field) in ("images", "mask")


def is_known(field: str) -> bool:
    return field in _FIELDS


def fields_of(sent: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Names and texts, in their order of arrival → the fields of a body.

    Input pictures are one list under ``images``, whatever names they came under: by their indices where they have
    some, else as they arrived. An empty text is the same as none. A field that takes one value and is sent twice has
    to be the same both times. Raises `InvalidParameterError`.
    """
    grouped: dict[str, Entries] = {}
    for name, text in sent:
        field, path = split(name)
        if is_known(field) and _NO_OBJECT.fullmatch(text):
            raise wrong(field, "arrived as `[object Object]`: send it as JSON text, or its parts in brackets")
        field = "images" if CANONICAL_OF.get(field) == "images" else field
        grouped.setdefault(field, []).append((path, text))
    fields = {name: _value(name, entries, _FIELDS.get(name, ANYTHING)) for name, entries in grouped.items()}
    return {name: value for name, value in fields.items() if value is not None}


_NO_OBJECT = re.compile(r"\[object Object\](,\[object Object\])*")
"""What JavaScript makes of an object, or a list of them, that has to be a text."""


def wrong(place: str, reason: str) -> InvalidParameterError:
    place = shortened(place)
    return InvalidParameterError(f"`{place}` {reason}", param=place)


def _value(place: str, entries: Entries, kind: Kind) -> Any:
    """What several texts say about one place, each with the rest of its path."""
    listed = any(path[:1] == ("",) for path, _ in entries)
    if kind.item is not None or (kind == ANYTHING and (listed or _repeats(entries))):
        return _list(place, entries, kind.item or ANYTHING)
    if listed:  # `mask[]`: clients put brackets behind whatever they were given a list for
        entries = [(path[1:] if path[:1] == ("",) else path, text) for path, text in entries]
    if not any(path for path, _ in entries):
        said = {text for _, text in entries if text}
        if len(said) > 1:
            raise wrong(place, "is sent more than once, with different values")
        return _typed(place, said.pop(), kind) if said else None
    return _object(place, entries, kind.fields or {})


def _repeats(entries: Entries) -> bool:
    return len(entries) > 1 and not any(path for path, _ in entries)


def _object(place: str, entries: Entries, kinds: Mapping[str, Kind]) -> dict[str, Any] | None:
    grouped: dict[str, Entries] = {}
    for path, text in entries:
        if not path or not path[0]:
            raise wrong(place, "is sent both as a whole and in parts")
        grouped.setdefault(path[0], []).append((path[1:], text))
    values = {key: _value(f"{place}.{key}", inner, kinds.get(key, ANYTHING)) for key, inner in grouped.items()}
    return {key: value for key, value in values.items() if value is not None} or None


def _list(place: str, entries: Entries, kind: Kind) -> list[Any] | None:
    if len(entries) == 1 and not entries[0][0] and entries[0][1].lstrip().startswith("["):
        return [item for item in _json(place, entries[0][1]) if item is not None] or None
    if all(path and path[0] and not path[0].isdecimal() for path, _ in entries):
        entries = [(("0", *path), text) for path, text in entries]
    values = [_value(f"{place}[{index}]", inner, kind) for index, inner in enumerate(_elements(place, entries))]
    return [value for value in values if value is not None] or None


def _elements(place: str, entries: Entries) -> list[Entries]:
    """The texts of each element: indices say where it stands, and without one it stands where it arrived."""
    found: list[tuple[int, Entries]] = []
    indexed: dict[int, Entries] = {}
    rows: Entries = []
    for arrival, (path, text) in enumerate(entries):
        head, rest = (path[0], path[1:]) if path else ("", ())
        if head.isdecimal():
            if int(head) not in indexed:
                found.append((int(head), indexed.setdefault(int(head), [])))
            indexed[int(head)].append((rest, text))
        elif head:
            raise wrong(place, "is sent both as a list and as an object")
        elif rest:
            rows.append((rest, text))
        else:
            found.append((arrival, [((), text)]))
    found.sort(key=lambda element: element[0])
    return [inner for _, inner in found] + _rows(place, rows)


def _rows(place: str, entries: Entries) -> list[Entries]:
    """``loras[][name]`` and its like, which don't say whose name it is: the first is of the first object, and so on.

    OpenAI's Python SDK sends all values of one key before those of the next, its JavaScript SDK one object after the
    other. Either way objects that lack a key can't be told from others that do.
    """
    columns: dict[Path, Entries] = {}
    for path, text in entries:
        columns.setdefault(path, []).append((path, text))
    if any("" in path for path in columns):
        raise wrong(place, "holds lists inside a list: send it as JSON text")
    if len({len(column) for column in columns.values()}) > 1:
        raise wrong(place, "is ambiguous: send it as JSON text, or with indices (`[0]`, `[1]`) instead of `[]`")
    return [list(row) for row in zip(*columns.values(), strict=True)]


def _typed(place: str, text: str, kind: Kind) -> Any:
    if kind.fields is not None and text.lstrip().startswith("{"):
        return _json(place, text)
    if str in kind.scalars:
        return text
    if bool in kind.scalars:
        with suppress(msgspec.ValidationError):
            return msgspec.convert(text.strip(), bool, strict=False)
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text
    return text if isinstance(value, str) else value


def _json(place: str, text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise wrong(place, f"is not valid JSON: {shortened(str(error))}") from None
