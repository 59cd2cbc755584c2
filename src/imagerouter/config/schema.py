"""`Config` and the installed adapters' own keys as one JSON schema, for editors and for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import msgspec

from imagerouter.config import Config
from imagerouter.openai.body import GenerationBody
from imagerouter.parameters import DECLARABLE
from imagerouter.registry import ProviderTypeError, installed

DRAFT = "https://json-schema.org/draft/2020-12/schema"
PER_REQUEST = frozenset({"seed", "images", "mask", "partial_images"})
"""Parameters that make no sense as a default."""

_VARIABLE = r"\$\{env\."


def render(types: Iterable[str] | None = None) -> str:
    """The text of ``configs/schema.json``."""
    return json.dumps(build(types), indent=2, ensure_ascii=False) + "\n"


def build(types: Iterable[str] | None = None) -> dict[str, Any]:
    """The schema, for the given provider types or for all that are installed."""
    schema = Config.model_json_schema()
    definitions: dict[str, Any] = schema.setdefault("$defs", {})
    for unused in ("ProviderEntry", "ProviderConfig"):
        definitions.pop(unused, None)
    names = sorted(_importable() if types is None else types)
    for name in names:
        definitions |= _provider(name)
    choices = [{"$ref": f"#/$defs/provider.{name}"} for name in (*names, "private")]
    schema["properties"]["providers"] |= {
        "additionalProperties": {"oneOf": choices},
        "propertyNames": {"pattern": r"^[A-Za-z0-9][A-Za-z0-9._-]*$"},
    }
    definitions["provider.private"] = {
        "description": "A private adapter: `module:Class`.",
        "properties": {"type": {"pattern": r"^[\w.]+:\w+$", "type": "string"}},
        "required": ["type"],
        "type": "object",
    }
    _add_definitions(definitions["Target"], names)
    definitions["parameters"] = _parameters(definitions)
    for owner, key in (
        (schema, "defaults"),
        (definitions["ModelEntry"], "defaults"),
        (definitions["Target"], "params"),
        *((rule, "set") for name, rule in definitions.items() if name.rpartition(".")[2] == "Rule"),
    ):
        described: dict[str, Any] = owner["properties"]
        described[key] = {"$ref": "#/$defs/parameters", "description": described[key]["description"]}
    tidied: dict[str, Any] = _tidy({**schema, "description": "The configuration file of imagerouter."})
    return {"$schema": DRAFT, **tidied}


def _importable() -> Iterator[str]:
    """An installed type that lacks its dependencies has no keys that could be told."""
    for name in installed().names:
        with suppress(ProviderTypeError):
            installed().provider_class(name, ready=False)
            yield name


def _provider(name: str) -> dict[str, Any]:
    """The definitions of one type; its nested ones keep out of other types' way by a prefix."""
    adapter = installed().provider_class(name, ready=False)
    schema = adapter.Config.model_json_schema(ref_template=f"#/$defs/provider.{name}.{{model}}")
    nested = {f"provider.{name}.{key}": value for key, value in schema.pop("$defs", {}).items()}
    type_key = {"const": name, "description": "Provider type."}
    schema["properties"] = {"type": type_key, **schema["properties"]}
    schema["required"] = ["type", *schema.get("required", [])]
    return {f"provider.{name}": schema, **nested}


def _add_definitions(target: dict[str, Any], names: Iterable[str]) -> None:
    """A target may hold whatever defines a model of some type."""
    for name in names:
        kind = installed().provider_class(name, ready=False).ModelConfig
        if kind is not None:
            schema = kind.model_json_schema(ref_template=f"#/$defs/provider.{name}.{{model}}")
            for key, value in schema["properties"].items():
                target["properties"].setdefault(key, value)


def _parameters(definitions: dict[str, Any]) -> dict[str, Any]:
    """Canonical parameters as the wire's own struct declares them."""
    _, components = msgspec.json.schema_components([GenerationBody], ref_template="#/$defs/{name}")
    properties = components["GenerationBody"]["properties"]
    chosen = {name: properties[name] for name in sorted(DECLARABLE - PER_REQUEST)}
    for name in ("Lora", "Hires"):
        definitions[name] = {**components[name], "additionalProperties": False}
    return {"additionalProperties": False, "properties": chosen, "type": "object"}


def _tidy(node: Any) -> Any:
    """Drop pydantic's titles, and let every scalar also be a variable, as the loader does."""
    if isinstance(node, list):
        return [_tidy(item) for item in node]
    if not isinstance(node, dict):
        return node
    tidied = {key: _tidy_item(key, value) for key, value in node.items() if key != "title"}
    if "gt" in tidied:
        tidied["exclusiveMinimum"] = tidied.pop("gt")
    if "enum" in tidied:
        choice = {key: tidied.pop(key) for key in ("enum", "type") if key in tidied}
        tidied = {"anyOf": [choice, {"pattern": _VARIABLE, "type": "string"}], **tidied}
    elif tidied.get("type") in ("integer", "number", "boolean"):
        # A pattern only ever applies to text, the limits only to numbers.
        tidied |= {"type": [tidied["type"], "string"], "pattern": _VARIABLE}
    elif tidied.get("type") == "string" and "pattern" in tidied:
        tidied["pattern"] = f"{tidied['pattern']}|{_VARIABLE}"
    return tidied


def _tidy_item(key: str, value: Any) -> Any:
    if key in ("properties", "$defs"):
        return {name: _tidy(child) for name, child in value.items()}
    return value if key in ("default", "const", "required") else _tidy(value)
