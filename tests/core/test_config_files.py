import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from imagerouter.config import (
    BreakerSettings,
    Config,
    Dialects,
    Inputs,
    Key,
    Limits,
    ModelEntry,
    Results,
    Server,
    Target,
    schema,
)
from imagerouter.config.loader import load
from imagerouter.openai import typed_parameters
from imagerouter.parameters import DECLARABLE
from imagerouter.provider import ProviderConfig
from imagerouter.registry import installed
from imagerouter.routing.rules import Range, Rule, When

CONFIGS = Path(__file__).parents[2] / "configs"
REFERENCE = (CONFIGS / "reference.yaml").read_text()
DISTRIBUTION = "imagerouter"
OURS = installed().names_from(DISTRIBUTION)

SHARED = ProviderConfig.model_fields

SECTIONS: list[tuple[type[BaseModel], str]] = [
    (Config, ""),
    (ModelEntry, "models.*"),
    (Target, "models.*.targets.*"),
    (Rule, "rules.*"),
    (When, "rules.*.when"),
    (Range, "rules.*.when.megapixels"),
    (Key, "keys.*"),
    (Limits, "limits"),
    (BreakerSettings, "breaker"),
    (Inputs, "inputs"),
    (Results, "results"),
    (Dialects, "dialects"),
    (Server, "server"),
]


@cache
def entries() -> dict[str, tuple[str, str]]:
    """Each key's path in reference.yaml: (description, "required" or default).

    Names and indices are ``*``, but a provider's name is its type, unless the key is one that all of them have.
    """
    found: dict[str, tuple[str, str]] = {}
    root = yaml.compose(REFERENCE)
    comments = comments_above()
    walk(root, "", comments, found)
    return found


def comments_above() -> dict[int, str]:
    """Line number → the comment that ends on the line before it, as one text."""
    block: list[str] = []
    above = {}
    for number, line in enumerate(REFERENCE.splitlines(), start=1):
        text = line.strip().removeprefix("- ")
        if text.startswith("#"):
            block.append(text.removeprefix("#").strip())
        else:
            above[number] = " ".join(block)
            block = []
    return above


def walk(node: Any, path: str, comments: dict[int, str], found: dict[str, tuple[str, str]]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            walk(item, f"{path}.*", comments, found)
    if not isinstance(node, yaml.MappingNode):
        return
    if re.fullmatch(r"providers\.[^.]+", path):
        kind = next(value.value for key, value in node.value if key.value == "type")
        path = f"providers.{kind}"
    for key, value in node.value:
        comment = comments.get(key.start_mark.line + 1, "")
        match = re.search(rf"(?:^| ){key.value}: (.*?)(?: - (?:optional, default: (.*)|(required.*)))?$", comment)
        name = key.value if match else "*"
        shared = path.count(".") == 1 and name in SHARED
        inner = f"providers.*.{name}" if shared and path.startswith("providers.") else f"{path}.{name}".lstrip(".")
        if match:
            found[inner] = (match[1], match[2] or match[3] or "")
        walk(value, inner, comments, found)


def fields() -> Iterator[tuple[str, str, type[BaseModel], FieldInfo]]:
    sections = list(SECTIONS)
    for kind in OURS:
        sections += nested(installed().provider_class(kind, ready=False).Config, f"providers.{kind}")
    for model, path in sections:
        for name, info in model.model_fields.items():
            inner = f"{path}.{name}".lstrip(".")
            if issubclass(model, ProviderConfig) and name in SHARED:
                inner = f"providers.*.{name}"
            yield inner, name, model, info


def nested(model: type[BaseModel], path: str) -> list[tuple[type[BaseModel], str]]:
    """A provider's ``Config`` and the models in its mappings."""
    found = [(model, path)]
    for name, info in model.model_fields.items():
        for inner in re.findall(r"\b([A-Z]\w+)\b", str(info.annotation)):
            candidate = getattr(__import__(model.__module__, fromlist=["x"]), inner, None)
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                found.append((candidate, f"{path}.{name}.*"))
    return found


FIELDS = list(fields())


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_names_its_schema(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./schema.json"
    assert load(path).providers


def test_the_minimal_file_is_minimal() -> None:
    assert len((CONFIGS / "minimal.yaml").read_text().splitlines()) <= 8


@pytest.mark.parametrize(("path", "name", "model", "info"), FIELDS, ids=[field[0] for field in FIELDS])
def test_the_reference_describes_every_key_and_its_true_default(
    path: str, name: str, model: type[BaseModel], info: FieldInfo
) -> None:
    described = entries()
    assert path in described, f"configs/reference.yaml lacks `{path}`"
    description, default = described[path]
    if info.description:
        assert description == info.description
    if isinstance(info.get_default(call_default_factory=True), BaseModel):
        return
    if info.is_required():
        assert default.startswith("required")
        return
    stated = parsed(model, name, default)
    assert stated == info.get_default(call_default_factory=True)


def parsed(model: type[BaseModel], name: str, text: str) -> Any:
    required = {key: "x" * 8 for key, info in model.model_fields.items() if info.is_required()}
    return getattr(model.model_validate({**required, name: yaml.safe_load(text)}), name)


def test_the_reference_knows_no_key_that_does_not_exist() -> None:
    known = {path for path, *_ in FIELDS} | {f"providers.{kind}.type" for kind in OURS}
    assert set(entries()) <= known


def test_the_schema_is_the_one_that_the_code_makes() -> None:
    hint = "run: imagerouter config schema > configs/schema.json"
    assert (CONFIGS / "schema.json").read_text() == schema.render(OURS), hint


def test_the_schema_has_each_provider_types_own_keys() -> None:
    definitions = schema.build(OURS)["$defs"]
    for kind in OURS:
        keys = definitions[f"provider.{kind}"]["properties"]
        assert keys["type"]["const"] == kind
        config = installed().provider_class(kind, ready=False).Config
        assert set(keys) == {"type", *config.model_fields}


def test_the_schema_refers_to_nothing_that_it_lacks() -> None:
    text = schema.render(OURS)
    assert set(re.findall(r'"#/\$defs/([^"]+)"', text)) <= set(json.loads(text)["$defs"])


def test_the_schema_offers_exactly_the_parameters_that_may_be_defaults() -> None:
    offered = set(schema.build([])["$defs"]["parameters"]["properties"])
    refused = {name for name in DECLARABLE if "unknown" in str(typed_parameters({name: 1}, Limits())[1])}
    assert offered == DECLARABLE - refused - {"seed"}
