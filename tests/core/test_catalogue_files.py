"""Which files of the providers are one model: by their names, and by what is known of their content."""

from itertools import combinations, permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.catalogues import catalogue, resolved, sized, where

from imagerouter.config import Config
from imagerouter.jobs import Target
from imagerouter.provider import Model
from imagerouter.routing.catalogue import build
from imagerouter.routing.identity import difference, stem, together

X, Y = "31e35c80fc" + "0" * 54, "6ce0161689" + "0" * 54


@pytest.mark.parametrize(
    ("one", "other", "reason"),
    [
        (sized("m"), sized("m", 5, X), None),
        (sized("m", 5), sized("m", 5), None),
        (sized("m", 5), sized("m", 7), "it has 7 bytes, not 5"),
        (sized("m", 5, X), sized("m", 7, X), None),
        (sized("m", 5, X), sized("m", 5, Y), "its sha256 begins with `6ce0161689`, not `31e35c80fc`"),
        (sized("m", 5, X[:10]), sized("m", 7, X), None),
        (sized("m", 5, X[:20] + "1"), sized("m", 5, X), f"its sha256 begins with `{X[:21]}`, not `{X[:20]}1`"),
        (sized("m", 5, X.upper()), sized("m", 7, X), None),
        (sized("m", 5, X[:7]), sized("m", 7, Y), "it has 7 bytes, not 5"),
        (sized("m", 0, X), sized("m", 7), None),
    ],
)
def test_content_differs_where_hashes_do_and_without_them_where_sizes_do(
    one: Model, other: Model, reason: str | None
) -> None:
    assert difference(one, other) == reason


def test_another_file_of_the_same_name_is_a_model_of_its_own_under_its_pin() -> None:
    made = catalogue(
        a=[sized("Dream.safetensors", 5)],
        b=[sized("x/dream.ckpt", 7)],
        c=[sized("dream.safetensors", 5), sized("other")],
    )
    assert made.names() == ["Dream", "b/dream", "other"]
    assert where(resolved(made, "dream")) == ["a/Dream.safetensors", "c/dream.safetensors"]
    for spelling in ("b/dream", "B/Dream", "b/x/dream.ckpt", "dream.ckpt", "x/dream.ckpt"):
        assert where(resolved(made, spelling)) == ["b/x/dream.ckpt"]
    assert made.warnings == (
        "`b/x/dream.ckpt` is another file than `a/Dream.safetensors` (it has 7 bytes, not 5), so it is a model of its "
        "own, `b/dream`; if each may stand for the other, name both in `models.Dream.targets`",
    )


def test_two_different_files_of_one_name_on_one_provider_have_a_pin_each() -> None:
    made = catalogue(a=[sized("m.safetensors", 5), sized("x/m.safetensors", 7), sized("m.ckpt", 9)])
    assert made.names() == ["m", "a/x/m", "a/m.ckpt"]
    assert [where(resolved(made, name)) for name in made.names()] == [
        ["a/m.safetensors"],
        ["a/x/m.safetensors"],
        ["a/m.ckpt"],
    ]


def test_two_files_of_one_name_on_one_provider_are_one_model_as_long_as_nothing_tells_them_apart() -> None:
    made = catalogue(a=["m.safetensors", "x/m.safetensors"])
    assert where(resolved(made, "m")) == ["a/m.safetensors", "a/x/m.safetensors"]
    assert made.warnings == ()


def test_the_first_file_whose_content_is_known_decides_and_an_unknown_one_joins_it() -> None:
    made = catalogue(a=["m"], b=[sized("m", 5)], c=[sized("m", 7)], d=["m"])
    assert where(resolved(made, "m")) == ["a/m", "b/m", "d/m"]
    assert made.names() == ["m", "c/m"]


def test_a_file_that_cannot_be_used_does_not_take_the_name_from_one_that_can() -> None:
    broken = Model(id="m.ckpt", file_size=5, problem="it is no model")
    made = catalogue(a=[broken], b=[sized("m.safetensors", 7)])
    assert made.names() == ["m"]
    assert where(resolved(made, "m")) == ["b/m.safetensors"]
    assert resolved(made, "a/m").targets[0].model.problem == "it is no model"
    assert made.warnings == ()


def test_a_yaml_model_without_targets_takes_those_that_have_the_same_content() -> None:
    made = catalogue({"models": {"m": {}}}, a=[sized("m", 5)], b=[sized("m", 7)], c=[sized("m")])
    assert where(resolved(made, "m")) == ["a/m", "c/m"]
    assert resolved(made, "m").missing == ("`b/m` is another file than `a/m` (it has 7 bytes, not 5)",)
    assert made.names() == ["m", "b/m"]
    assert len(made.warnings) == 1


def test_targets_in_the_file_are_taken_as_written() -> None:
    targets = [{"provider": "b"}, {"provider": "a"}]
    made = catalogue({"models": {"m": {"targets": targets}}}, a=[sized("m", 5)], b=[sized("m", 7)])
    assert where(resolved(made, "m")) == ["b/m", "a/m"]
    assert made.names() == ["m"]
    assert made.warnings == resolved(made, "m").missing == ()


# What always holds

CONTENTS = st.sampled_from([(0, ""), (5, ""), (7, ""), (0, X), (5, X), (0, Y), (7, X[:10]), (5, Y[:8])])
NATIVE = st.one_of(
    st.sampled_from(["m", "M", "m.ckpt", "x/m.safetensors", "x\\M.ckpt", "a/m", "b/m.ckpt", "m [31e35c80fc]", "a"]),
    st.text(min_size=1, max_size=8),
)
MODELS = st.builds(lambda name, content: sized(name, *content), NATIVE, CONTENTS)
FLEETS = st.fixed_dictionaries({p: st.lists(MODELS, max_size=5, unique_by=lambda m: m.id) for p in "abc"})
SUFFIXES = st.sampled_from(["", ":floor", ":nitro", ":Floor"])


@given(FLEETS)
def test_every_model_is_reachable_by_its_pin(fleet: dict[str, list[Model]]) -> None:
    made = build(Config(), fleet)
    for provider, models in fleet.items():
        for model in models:
            assert [t.model for t in resolved(made, f"{provider}/{model.id}").targets] == [model]


@given(FLEETS)
def test_every_listed_name_leads_to_its_model_and_no_target_is_lost(fleet: dict[str, list[Model]]) -> None:
    made = build(Config(), fleet)
    assert len(set(made.names())) == len(made.names())
    for model in made.models:
        assert resolved(made, model.name) == model
    listed = [name for model in made.models for name in where(model)]
    assert sorted(listed) == sorted(f"{provider}/{model.id}" for provider in fleet for model in fleet[provider])


@given(FLEETS)
def test_no_model_has_two_targets_of_different_content_and_each_split_is_told(fleet: dict[str, list[Model]]) -> None:
    made = build(Config(), fleet)
    for model in made.models:
        assert not [pair for pair in combinations(model.targets, 2) if difference(pair[0].model, pair[1].model)]
    groups = {stem(model.id).casefold() or model.id.casefold() for models in fleet.values() for model in models}
    assert len(made.warnings) == len(made.models) - len(groups)


@given(MODELS, MODELS)
def test_splitting_is_symmetric(one: Model, other: Model) -> None:
    assert (difference(one, other) is None) == (difference(other, one) is None)
    assert difference(one, one) is None


@given(st.lists(st.sampled_from([(0, ""), (5, X), (7, Y), (9, "")]), min_size=1, max_size=4))
def test_which_files_are_one_depends_on_the_first_known_one_and_on_no_other_order(contents: list[Any]) -> None:
    targets = [Target(str(place), sized("m", *content)) for place, content in enumerate(contents)]
    first = next((t for t in targets if t.model.file_size), targets[0])
    expected = {target.name for target in together(targets)[0]}
    for order in permutations(targets):
        if next((t for t in order if t.model.file_size), first) == first:
            assert {target.name for target in together(order)[0]} == expected


@given(FLEETS, st.data())
def test_no_suffix_is_taken_from_a_name_that_is_known(fleet: dict[str, list[Model]], data: st.DataObject) -> None:
    fleet["a"].append(Model(id="odd:floor"))
    made = build(Config(), fleet)
    pins = [f"{provider}/{model.id}" for provider, models in fleet.items() for model in models]
    name = data.draw(st.sampled_from([*made.names(), *pins])) + data.draw(SUFFIXES)
    found, sort = made.variant(name)
    assert (found, sort) == (name, None) if made.knows(name) else name.startswith(f"{found}:")


@given(st.lists(st.text(min_size=1, max_size=12), max_size=8, unique=True), st.text(max_size=12))
def test_a_pattern_never_takes_a_name_from_a_model_that_has_it(names: list[str], other: str) -> None:
    models = {"all": {"aliases": ["?*", "*"], "targets": [{"provider": "a"}]}}
    bare, caught = catalogue(a=names), catalogue({"models": models}, a=names)
    for name in [*names, other]:
        if bare.knows(name) and name.casefold() != "all":
            assert where(resolved(caught, name)) == where(resolved(bare, name))
