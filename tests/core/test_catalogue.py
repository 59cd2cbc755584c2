"""Public names → targets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.catalogues import catalogue, resolved, where

from imagerouter.config import Config
from imagerouter.config.loader import load_text
from imagerouter.provider import Model
from imagerouter.routing.catalogue import build
from imagerouter.routing.identity import stem


@pytest.mark.parametrize(
    ("native", "expected"),
    [
        ("sd_xl_base_1.0.safetensors", "sd_xl_base_1.0"),
        ("sub/dir/dream.ckpt", "dream"),
        ("sub\\dream.safetensors", "dream"),
        ("dream.safetensors [31e35c80fc]", "dream"),
        ("stabilityai/sdxl-turbo", "sdxl-turbo"),
        ("flux1-dev.Q4_0.gguf", "flux1-dev.Q4_0"),
    ],
)
def test_the_public_name_is_the_file_stem(native: str, expected: str) -> None:
    assert stem(native) == expected


def test_the_same_stem_on_two_providers_is_one_model() -> None:
    made = catalogue(a=["x/Dream.safetensors"], b=["dream.safetensors [abc]"])
    (model,) = made.models
    assert model.name == "Dream"
    assert [target.provider for target in model.targets] == ["a", "b"]


@pytest.mark.parametrize(
    "spelling", ["Dream", "dream", "DREAM.safetensors", "x/dream.safetensors", "x\\Dream.SAFETENSORS", "X/dream"]
)
def test_a_model_answers_to_every_spelling_of_its_file(spelling: str) -> None:
    assert resolved(catalogue(a=["x/Dream.safetensors"]), spelling).name == "Dream"


def test_a_pin_names_exactly_one_target() -> None:
    assert where(resolved(catalogue(a=["m"], b=["m"]), "b/m")) == ["b/m"]


def test_a_pin_goes_before_a_file_in_a_folder_that_is_called_like_a_provider() -> None:
    made = catalogue(a=["m"], b=["a/m.ckpt"])
    assert where(resolved(made, "a/m")) == ["a/m"]
    assert where(resolved(made, "A/M.ckpt")) == ["a/m", "b/a/m.ckpt"]


def test_a_pin_can_tell_files_apart_whose_names_differ_only_in_case_or_folder() -> None:
    made = catalogue(a=["Dream.ckpt", "dream.ckpt", "x/dream.ckpt"])
    assert made.names() == ["Dream"]
    for name in ("Dream.ckpt", "dream.ckpt", "x/dream.ckpt"):
        assert where(resolved(made, f"a/{name}")) == [f"a/{name}"]


def test_yaml_targets_and_aliases_win_over_files_of_the_same_name() -> None:
    made = catalogue(
        {"models": {"sdxl": {"aliases": ["other"], "targets": [{"provider": "a", "model": "base"}]}}},
        a=["base", "other"],
    )
    assert resolved(made, "other").name == "sdxl"
    assert made.names() == ["sdxl", "base"]


def test_a_yaml_model_without_targets_takes_every_provider_that_has_the_name() -> None:
    made = catalogue(
        {"models": {"m": {"defaults": {"steps": 3}}}, "defaults": {"cfg_scale": 2}}, a=["m"], b=["x/m.ckpt"]
    )
    assert [target.defaults for target in resolved(made, "m").targets] == [{"cfg_scale": 2, "steps": 3}] * 2


def test_a_target_that_no_provider_offers_is_told() -> None:
    made = catalogue({"models": {"m": {"targets": [{"provider": "a", "model": "gone"}]}}}, a=["m2"])
    assert resolved(made, "m").missing == ("`a` has no model `gone`",)


def test_the_default_model_is_the_configured_or_the_first_one() -> None:
    assert resolved(catalogue(a=["one", "two"]), None).name == "one"
    assert resolved(catalogue({"default_model": "two"}, a=["one", "two"]), None).name == "two"
    assert catalogue().resolve(None) is None


@given(st.lists(st.text(min_size=1, max_size=12), max_size=8, unique=True))
def test_every_listed_name_and_every_native_name_resolves(names: list[str]) -> None:
    made = catalogue(a=names)
    for name in (*made.names(), *names):
        assert made.resolve(name) is not None


def test_a_model_with_a_problem_is_not_offered_but_known_by_name() -> None:
    models = [Model(id="bad.safetensors", problem="it draws videos"), Model(id="good.safetensors")]
    made = build(Config(), {"a": models})
    assert made.names() == ["good"]
    assert made.default == "good"
    found = resolved(made, "bad")
    assert found.targets[0].model.problem == "it draws videos"


def test_a_target_with_a_problem_is_missing_for_that_reason() -> None:
    config = Config.model_validate({"models": {"portrait": {"targets": [{"provider": "a"}]}}})
    (model,) = build(config, {"a": [Model(id="portrait", problem="node 3 is gone")]}).models
    assert model.missing == ("`a` can't use `portrait`: node 3 is gone",)


# Aliases with patterns


def test_a_pattern_stands_for_every_name_that_nobody_has() -> None:
    made = catalogue(
        {"models": {"all": {"aliases": ["*"], "targets": [{"provider": "a", "model": "m"}]}}},
        a=["m", "dall-e-9"],
    )
    assert resolved(made, "dall-e-3").name == "all"
    assert resolved(made, "DALL-E-9").name == "dall-e-9"
    assert resolved(made, "a/dall-e-9").name == "a/dall-e-9"
    assert resolved(made, "M").name == "m"
    assert resolved(made, None).name == "all"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dall-e-3", "openai"),
        ("DALL-E-2", "openai"),
        ("dall-e", "rest"),
        ("gpt-image-1", "one"),
        ("gpt-image-10", "openai"),
        ("odd[1]x", "brackets"),
        ("odd1x", "rest"),
        ("deep\\dall-e-3", "slashes"),
    ],
)
def test_the_first_pattern_counts_and_the_one_for_all_comes_last(name: str, expected: str) -> None:
    aliases = {
        "rest": ["*"],
        "brackets": ["odd[1]?"],
        "one": ["gpt-image-?"],
        "openai": ["dall-e-*", "gpt-image-*"],
        "slashes": ["deep/*"],
        "never": ["gpt-image-1*"],
    }
    targets = [{"provider": "a", "model": "m"}]
    made = catalogue({"models": {n: {"aliases": each, "targets": targets} for n, each in aliases.items()}}, a=["m"])
    assert resolved(made, name).name == expected
    assert not made.knows(name)


def test_a_pin_of_a_provider_that_is_not_there_is_not_served_by_another_one() -> None:
    models = {
        "all": {"aliases": ["*"], "targets": [{"provider": "a", "model": "m"}]},
        "mine": {"aliases": ["b/old-*"], "targets": [{"provider": "a", "model": "m"}]},
    }
    made = catalogue({"models": models}, a=["m"], b=[])
    assert made.resolve("b/m") is None
    assert resolved(made, "b/old-m").name == "mine"
    assert resolved(made, "nobody/m").name == "all"


# Names with a wish for an order


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("m:floor", ("m", "price")),
        ("M:Nitro", ("M", "throughput")),
        ("a/m:nitro", ("a/m", "throughput")),
        ("m:other", ("m:other", None)),
        ("unknown:floor", ("unknown", "price")),
        ("odd:floor", ("odd:floor", None)),
        ("odd:floor:floor", ("odd:floor", "price")),
        (":floor", (":floor", None)),
        (None, (None, None)),
    ],
)
def test_a_suffix_asks_for_an_order_unless_it_belongs_to_the_name(name: str | None, expected: Any) -> None:
    assert catalogue(a=["m", "odd:floor"]).variant(name) == expected


def test_a_pattern_takes_no_suffix_away() -> None:
    models = {"m": {"aliases": ["*", "sdxl*"], "targets": [{"provider": "a"}]}}
    assert catalogue({"models": models}, a=["m"]).variant("sdxl:floor") == ("sdxl", "price")


# What the file says about a model and its targets


def test_targets_carry_order_weight_and_price_and_the_model_its_rules() -> None:
    config = load_text("""
providers:
  cloud: {type: 'imagerouter.testing:FakeProvider', price: 0.04}
  own: {type: 'imagerouter.testing:FakeProvider'}
models:
  sdxl:
    targets:
      - {provider: own, model: base, weight: 2}
      - {provider: cloud, model: base, order: 1}
      - {provider: cloud, model: base, order: 2, price: 0, params: {steps: 4}}
    rules: [{deny: "not today"}]
""")
    made = build(config, {"cloud": [Model(id="base")], "own": [Model(id="base")]})
    sdxl = resolved(made, "sdxl")
    told = [(t.provider, t.order, t.weight, t.price.image, t.params) for t in sdxl.targets]
    assert told == [
        ("own", 0, 2.0, 0.0, {}),
        ("cloud", 1, 1.0, 0.04, {}),
        ("cloud", 2, 1.0, 0.0, {"steps": 4}),
    ]
    assert [rule.deny for rule in sdxl.rules] == ["not today"]
    assert [t.price.image for t in resolved(made, "base").targets] == [0.04, 0.0]
    assert resolved(made, "cloud/base").targets[0].price.image == 0.04
    assert resolved(made, "base").rules == ()


# The default model


DEMO = Model(id="builtin", is_demo=True)


def test_a_demo_is_the_default_only_while_there_is_nothing_else() -> None:
    alone = build(Config(), {"local": [DEMO]})
    assert alone.default == "builtin"
    joined = build(Config(), {"local": [DEMO], "desk": [Model(id="sdxl")]}, alone.default)
    assert joined.default == "sdxl"
    later = build(Config(), {"early": [Model(id="first")], "local": [DEMO], "desk": [Model(id="sdxl")]}, joined.default)
    assert later.default == "sdxl"
    assert build(Config(), {"local": [DEMO], "desk": []}, later.default).default == "builtin"


def test_a_model_that_the_file_names_first_is_the_default_even_before_its_provider_is_there() -> None:
    made = catalogue({"models": {"mine": {"targets": [{"provider": "late"}]}}}, a=["m"])
    assert made.default == "mine"


def test_a_model_that_is_loaded_somewhere_is_the_default_rather_than_the_first_file() -> None:
    offered = {"desk": [Model(id="aaa")], "webui": [Model(id="bbb"), Model(id="ccc")]}
    assert build(Config(), offered, loaded={"webui": {"ccc"}}).default == "ccc"
    assert build(Config(), offered, "aaa", loaded={"webui": {"ccc"}}).default == "aaa", "it doesn't change on the way"
    assert build(Config(), offered).default == "aaa"
