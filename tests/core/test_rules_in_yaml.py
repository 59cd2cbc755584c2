"""Rules in the YAML file: what the loader makes of them."""

from importlib.metadata import EntryPoint
from typing import Any

import pytest

from imagerouter.config import Config, loader
from imagerouter.config.loader import load_text
from imagerouter.registry import GROUP, Registry
from imagerouter.routing.rules import Range, Rule, Window
from imagerouter.types import Lora, Operation

FAKE = "imagerouter.testing:FakeProvider"
HEAD = (
    "providers: {desk: {type: fake}, attic: {type: comfyui}}\n"
    "keys: {team: {secret: a-long-secret}, guest: {secret: another-secret}}\n"
)


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(EntryPoint(name, FAKE, GROUP) for name in ("fake", "comfyui"))
    monkeypatch.setattr(loader, "installed", lambda: registry)


def rule(text: str) -> Rule:
    (found,) = load_text(f"{HEAD}rules:\n  - {{{text}}}").rules
    return found


def in_all_places(rules: str) -> Config:
    return load_text(
        f"providers: {{desk: {{type: fake, rules: {rules}}}}}\nmodels: {{m: {{rules: {rules}}}}}\nrules: {rules}"
    )


def test_rules_stand_in_three_places_and_are_called_after_them() -> None:
    config = in_all_places("[{name: small, when: {n: 1}, set: {steps: 4}}, {deny: closed}]")
    places = {
        "rules.1": config.rules,
        "models.m.rules.1": config.models["m"].rules,
        "providers.desk.rules.1": config.providers["desk"].config.rules,
    }
    for place, rules in places.items():
        assert [(rule.name, rule.set, rule.deny) for rule in rules] == [
            ("small", {"steps": 4}, None),
            (place, {}, "closed"),
        ]


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("sampler: DPM++ 2M Karras", {"sampler": "dpmpp_2m", "scheduler": "karras"}),
        ("loras: [{path: x, scale: 1}]", {"loras": (Lora("x", 1.0),)}),
        ("width: '512'", {"width": 512}),
    ],
)
def test_what_a_rule_sets_is_typed_wherever_it_stands(written: str, typed: dict[str, Any]) -> None:
    config = in_all_places(f"[{{set: {{{written}}}}}]")
    for rules in (config.rules, config.models["m"].rules, config.providers["desk"].config.rules):
        assert rules[0].set == typed


def test_one_word_is_as_good_as_a_list_of_one() -> None:
    found = rule("when: {model: a, operation: edit, size: 1x1, key: team, has: mask, days: mon}, only: desk")
    conditions = found.when
    assert (conditions.model, conditions.size, conditions.key, conditions.has) == (
        ("a",),
        ("1x1",),
        ("team",),
        ("mask",),
    )
    assert (conditions.operation, conditions.days, found.only) == ((Operation.EDIT,), ("mon",), ("desk",))


def test_a_number_is_a_range_of_one_number() -> None:
    conditions = rule("when: {steps: 30, n: {max: 2}}, deny: x").when
    assert (conditions.steps, conditions.n) == (Range(min=30, max=30), Range(max=2))


def test_a_time_is_minutes_of_the_day() -> None:
    assert rule("when: {time: 22:00-06:00}, deny: x").when.time == Window(22 * 60, 8 * 60)
    assert rule("when: {time: 9:30 - 24:00}, deny: x").when.time == Window(9 * 60 + 30, 14 * 60 + 30)


def test_a_variable_may_stand_for_a_number_a_name_and_a_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPS", "40")
    monkeypatch.setenv("WHERE", "desk")
    found = rule(
        "when: {steps: {min: '${env.STEPS}'}, n: '${env.STEPS}'}, only: '${env.WHERE}', set: {steps: '${env.STEPS}'}"
    )
    assert (found.when.steps, found.when.n) == (Range(min=40), Range(min=40, max=40))
    assert (found.only, found.set) == (("desk",), {"steps": 40})


def test_providers_may_be_named_by_their_type_and_keys_by_a_pattern() -> None:
    assert rule("when: {key: ['t*', guest]}, avoid: [comfyui, desk], prefer: fake").avoid == ("comfyui", "desk")


def test_the_administrators_key_is_called_admin() -> None:
    text = HEAD + "server: {admin_key: a-third-secret}\nrules: [{when: {key: admin}, set: {steps: 1}}]"
    assert load_text(text).rules[0].when.key == ("admin",)


def test_models_that_only_providers_know_are_no_error() -> None:
    assert rule("when: {model: [sdxl.safetensors, 'flux*']}, only: desk").when.model[0] == "sdxl.safetensors"


def test_the_same_conditions_may_stand_in_different_places() -> None:
    in_all_places("[{when: {n: 1}, set: {steps: 4}}, {set: {steps: 8}}]")


def test_the_schema_allows_what_the_loader_does() -> None:
    properties = Rule.model_json_schema()["$defs"]["When"]["properties"]
    kinds = {
        name: {choice.get("type", "mapping") for choice in value.get("anyOf", [])} for name, value in properties.items()
    }
    assert all(kinds[name] >= {"string", "array"} for name in ("model", "size", "key", "has", "days"))
    assert kinds["steps"] == kinds["n"] == {"number", "mapping", "null"}
    assert kinds["time"] == {"string", "null"}
