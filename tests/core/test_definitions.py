"""Models that a target of the YAML defines."""

import pytest

from imagerouter.config.loader import load_text
from imagerouter.errors import ConfigError

HEAD = "providers: {desk: {type: diffusers}, fake: {type: 'imagerouter.testing:FakeProvider'}}\nmodels:\n"

TWO = """
  a: {{targets: [{{provider: desk, model: m, source: {}}}]}}
  b: {{targets: [{{provider: desk, model: m, source: {}}}]}}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_text(HEAD + text)
    return raised.value.problems


def test_a_target_can_define_its_model_which_the_provider_then_has():
    config = load_text(HEAD + "  portrait: {targets: [{provider: desk, source: some/where, params: {steps: 4}}]}")
    (target,) = config.models["portrait"].targets
    assert (target.provider, target.model, target.params) == ("desk", "portrait", {"steps": 4})
    assert config.providers["desk"].config.models["portrait"].source == "some/where"


def test_it_is_called_as_the_target_says():
    config = load_text(HEAD + "  portrait: {targets: [{provider: desk, model: inner, source: some/where}]}")
    assert config.models["portrait"].targets[0].model == "inner"
    assert list(config.providers["desk"].config.models) == ["inner"]


def test_the_same_definition_may_stand_in_several_targets():
    text = TWO.format("x", "x")
    assert list(load_text(HEAD + text).providers["desk"].config.models) == ["m"]


def test_two_different_definitions_of_one_name_are_reported():
    text = TWO.format("x", "y")
    (problem,) = problems(text)
    assert problem.startswith("configuration:5:17: models.b.targets.0: `m` is already defined otherwise")


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "{provider: desk, source: x, sorce: y}",
            "4:43: models.a.targets.0.sorce: unknown key; did you mean `source`?",
        ),
        ("{provider: desk, source: x, parms: {}}", "models.a.targets.0.parms: unknown key; did you mean `params`?"),
        ("{provider: desk, source: 3}", "models.a.targets.0.source: must be text, not `3`; put it in quotes"),
        ("{provider: fake, modle: x}", "models.a.targets.0.modle: unknown key; did you mean `model`?"),
        ("{provider: fake, workflow: x}", "unknown key; known here: model, order, params, price, provider, weight"),
        ("{provider: dsk, source: x}", "no provider named `dsk`; did you mean `desk`?"),
    ],
)
def test_what_is_wrong_in_a_definition_is_told_where_it_stands(target, expected):
    (problem,) = problems(f"  a:\n    targets: [{target}]")
    assert expected in problem
