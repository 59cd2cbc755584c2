"""Public names → targets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.catalogue import build, stem
from imagerouter.config import Config
from imagerouter.provider import Model


def catalogue(yaml: dict[str, object] | None = None, **reported: list[str]):  # type: ignore[no-untyped-def]
    config = Config.model_validate(yaml or {})
    return build(config, {name: [Model(id=i) for i in ids] for name, ids in reported.items()})


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
    found = catalogue(a=["x/Dream.safetensors"]).resolve(spelling)
    assert found is not None
    assert found.name == "Dream"


def test_a_pin_names_exactly_one_target() -> None:
    found = catalogue(a=["m"], b=["m"]).resolve("b/m")
    assert [target.provider for target in found.targets] == ["b"]


def test_yaml_targets_and_aliases_win_over_files_of_the_same_name() -> None:
    made = catalogue(
        {"models": {"sdxl": {"aliases": ["other"], "targets": [{"provider": "a", "model": "base"}]}}},
        a=["base", "other"],
    )
    assert made.resolve("other").name == "sdxl"
    assert made.names() == ["sdxl", "base"]


def test_a_yaml_model_without_targets_takes_every_provider_that_has_the_name() -> None:
    made = catalogue(
        {"models": {"m": {"defaults": {"steps": 3}}}, "defaults": {"cfg_scale": 2}}, a=["m"], b=["x/m.ckpt"]
    )
    assert [target.defaults for target in made.resolve("m").targets] == [{"cfg_scale": 2, "steps": 3}] * 2


def test_a_target_that_no_provider_offers_is_told() -> None:
    made = catalogue({"models": {"m": {"targets": [{"provider": "a", "model": "gone"}]}}}, a=["m2"])
    assert made.resolve("m").missing == ("`a` has no model `gone`",)


def test_the_default_model_is_the_configured_or_the_first_one() -> None:
    assert catalogue(a=["one", "two"]).resolve(None).name == "one"
    assert catalogue({"default_model": "two"}, a=["one", "two"]).resolve(None).name == "two"
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
    found = made.resolve("bad")
    assert found is not None
    assert found.targets[0].model.problem == "it draws videos"


def test_a_target_with_a_problem_is_missing_for_that_reason() -> None:
    config = Config.model_validate({"models": {"portrait": {"targets": [{"provider": "a"}]}}})
    (model,) = build(config, {"a": [Model(id="portrait", problem="node 3 is gone")]}).models
    assert model.missing == ("`a` can't use `portrait`: node 3 is gone",)
