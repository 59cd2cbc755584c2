"""Data → pydantic models, with pydantic's findings put into words that name the key and the remedy."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from imagerouter.config.positions import Document, Path
from imagerouter.suggest import did_you_mean
from imagerouter.wording import listing, quote

M = TypeVar("M", bound=BaseModel)

SHORTEST_SECRET = 4
"""Characters; replacing shorter texts would only garble messages."""
_EXPECTED = {
    "bool": "true or false",
    "date": "a date",
    "dict": "a mapping of keys to values",
    "finite": "a finite number",
    "float": "a number",
    "frozen": "a list",
    "int": "a whole number",
    "list": "a list",
    "mapping": "a mapping of keys to values",
    "model": "a mapping of keys to values",
    "path": "a path",
    "set": "a list",
    "string": "text",
    "tuple": "a list",
}
"""What is expected, by the first word of pydantic's error type (`int_parsing`, `int_type`, …)."""
_COMPARISONS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def validate(document: Document, model: type[M], data: Any, at: Path) -> M | None:
    """Build ``model`` from the part of the document at ``at``; report what is wrong and give ``None``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found: dict[Path, list[str]] = {}
        for detail in error.errors(include_url=False):
            path = _path(document, at, detail)
            found.setdefault(path, []).append(_sentence(document, model, at, path, detail))
        for path, sentences in found.items():
            unknown = sentences[0].startswith("unknown key")
            document.report(path, "; or ".join(dict.fromkeys(sentences)), at_key=unknown)
        return None


def _path(document: Document, at: Path, detail: ErrorDetails) -> Path:
    """Pydantic adds the members of a union and ``[key]`` to its locations; keep what the file has."""
    path = (*at, *detail["loc"])
    known = path
    while known and known not in document.values:
        known = known[:-1]
    return path if detail["type"] == "missing" and len(known) == len(path) - 1 else known


def _sentence(document: Document, model: type[BaseModel], at: Path, path: Path, detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    shown = "`…`" if _is_secret(model, path[len(at) :]) else _shown(document, path, value)
    expected = _EXPECTED.get(kind.partition("_")[0]) or detail["msg"].removeprefix("Input should be ")
    sentence = f"must be {expected}, not {shown}"
    match kind:
        case "missing":
            sentence = "is missing"
        case "value_error":
            # The adapter's own words may quote the value, which may be a secret from a variable.
            sentence = str(context["error"]).replace(repr(value), shown)
            if document.is_variable(path) and len(value) >= SHORTEST_SECRET:
                sentence = sentence.replace(value, document.written[path])
        case "extra_forbidden":
            known = keys_of(model, path[len(at) : -1])
            hint = did_you_mean(str(path[-1]), known) or f"; known here: {listing(known)}"
            sentence = f"unknown key{hint}"
        case "literal_error" | "enum":
            names = re.findall(r"'([^']*)'", str(context["expected"]))
            hint = did_you_mean(str(value), names)
            sentence = f"must be one of {', '.join(map(quote, names))}, not {shown}{hint}"
        case "string_pattern_mismatch":
            sentence = _mismatch(field_at(model, path[len(at) :]), context["pattern"], value, shown)
        case "string_too_short":
            least = context["min_length"]
            sentence = f"must have at least {least} character{'s' if least > 1 else ''}"
        case "string_type" if isinstance(value, bool | int | float):
            sentence = f"must be text, not {shown}; put it in quotes"
        case _ if kind in _COMPARISONS:
            words, limit = _COMPARISONS[kind]
            sentence = f"must be {words} {str(context[limit]).removesuffix('.0')}, not {shown}"
    return sentence


def _mismatch(field: FieldInfo | None, pattern: str, value: str, shown: str) -> str:
    if pattern.startswith("^https?://") and "://" not in value:
        return f"must begin with `http://` or `https://`, not {shown}"
    return f"can't be {shown}. {(field and field.description) or pattern}"


def _shown(document: Document, path: Path, value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return document.shown(path, value)


def _is_secret(model: type[BaseModel], path: Path) -> bool:
    """Whether the value may stand in no message: a `SecretStr`, or a field without ``repr``."""
    field = field_at(model, path)
    return _plain(_type_at(model, path)) is SecretStr or (field is not None and not field.repr)


def keys_of(model: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The keys that may stand at ``path`` below ``model``."""
    section = _section(_type_at(model, path))
    return [info.alias or name for name, info in section.model_fields.items()] if section else []


def field_at(model: type[BaseModel], path: Path) -> FieldInfo | None:
    """The field that the last key of ``path`` sets, if it is one and not an item of a list or mapping."""
    section = _section(_type_at(model, path[:-1]))
    return section.model_fields.get(str(path[-1])) if section and path else None


def _type_at(model: type[BaseModel], path: Iterable[str | int]) -> Any:
    here: Any = model
    for part in path:
        section = _section(here)
        if section is None:
            here = next(iter(reversed(get_args(_plain(here)))), None)
        else:
            info = section.model_fields.get(str(part))
            here = info.annotation if info else None
    return here


def _section(annotation: Any) -> type[BaseModel] | None:
    plain = _plain(annotation)
    return plain if isinstance(plain, type) and issubclass(plain, BaseModel) else None


def _plain(annotation: Any) -> Any:
    """``Annotated[X | None, …]`` → ``X``."""
    while get_origin(annotation) in (Annotated, Union, types.UnionType):
        annotation = next((arg for arg in get_args(annotation) if arg is not type(None)), None)
    return annotation
