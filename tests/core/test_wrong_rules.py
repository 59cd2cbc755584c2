"""What the loader has to say about wrong rules, and where."""

import json
import re
from importlib.metadata import EntryPoint

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagerouter.config import Config, loader
from imagerouter.config.loader import load_text
from imagerouter.errors import ConfigError
from imagerouter.registry import GROUP, Registry
from imagerouter.routing.rules import Rule, When

FAKE = "imagerouter.testing:FakeProvider"
HEAD = (
    "providers: {desk: {type: fake}, attic: {type: comfyui}}\n"
    "keys: {team: {secret: a-long-secret}, guest: {secret: another-secret}}\n"
)


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry(EntryPoint(name, FAKE, GROUP) for name in ("fake", "comfyui"))
    monkeypatch.setattr(loader, "installed", lambda: registry)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_text(text, "f")
    return raised.value.problems


SEEN = (
    "background, cfg_scale, clip_skip, guidance, height, hires, images, loras, mask, negative_prompt, quality, "
    "sampler, scheduler, seed, steps, strength, style, vae, width"
)
DAYS = "`mon`, `tue`, `wed`, `thu`, `fri`, `sat`, `sun`"
PLACE = "put it into `rules` or `models.NAME.rules`"


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        # Keys and their values.
        ("whn: {n: 1}, deny: x", "4:6: rules.0.whn: unknown key; did you mean `when`?"),
        ("when: {header: {a: b}, headr: 1}, deny: x", "4:29: rules.0.when.headr: unknown key; did you mean `header`?"),
        ("when: {steps: {mim: 1}}, deny: x", "4:21: rules.0.when.steps.mim: unknown key; did you mean `min`?"),
        ("when: [], deny: x", "4:12: rules.0.when: must be a mapping of keys to values, not a list"),
        ("when: , deny: x", "4:11: rules.0.when: must be a mapping of keys to values, not ``"),
        ("deny: true", "4:12: rules.0.deny: must be text, not `true`; put it in quotes"),
        ("deny: ' '", "4:12: rules.0.deny: can't be empty"),
        ("name: '', deny: x", "4:12: rules.0.name: can't be empty"),
        ("only: [desk, '']", "4:19: rules.0.only.1: can't be empty"),
        ("only: {desk: 1}", "4:12: rules.0.only: must be a list, not a mapping"),
        ("set: steps", "4:11: rules.0.set: must be a mapping of keys to values, not `steps`"),
        # Conditions.
        (
            "when: {time: '22:00'}, deny: x",
            "4:19: rules.0.when.time: `22:00` can't be read; write it like `22:00-06:00`",
        ),
        ("when: {time: 22-6}, deny: x", "4:19: rules.0.when.time: `22-6` can't be read; write it like `22:00-06:00`"),
        (
            "when: {time: 22:60-06:00}, deny: x",
            "4:19: rules.0.when.time: `22:60-06:00` can't be read; write it like `22:00-06:00`",
        ),
        (
            "when: {time: 24:00-06:00}, deny: x",
            "4:19: rules.0.when.time: `24:00-06:00` can't be read; write it like `22:00-06:00`",
        ),
        (
            "when: {time: 22:00-24:01}, deny: x",
            "4:19: rules.0.when.time: `22:00-24:01` can't be read; write it like `22:00-06:00`",
        ),
        ("when: {time: 5}, deny: x", "4:19: rules.0.when.time: `5` can't be read; write it like `22:00-06:00`"),
        (
            "when: {time: 8:00-08:00}, deny: x",
            "4:19: rules.0.when.time: `8:00-08:00` is the whole day; leave `time` out",
        ),
        (
            "when: {time: 0:00-24:00}, deny: x",
            "4:19: rules.0.when.time: `0:00-24:00` is the whole day; leave `time` out",
        ),
        (
            "when: {days: [mon, monday]}, deny: x",
            f"4:25: rules.0.when.days.1: must be one of {DAYS}, not `monday`; did you mean `mon`?",
        ),
        ("when: {days: 1}, deny: x", f"4:19: rules.0.when.days: must be one of {DAYS}, not `1`"),
        (
            "when: {operation: [edit, upscale]}, deny: x",
            "4:31: rules.0.when.operation.1: must be one of `generate`, `edit`, `inpaint`, not `upscale`",
        ),
        (
            "when: {size: 1024}, deny: x",
            "4:19: rules.0.when.size: `1024` isn't of the form WIDTHxHEIGHT, where `*` stands for any digits",
        ),
        (
            "when: {size: [1024x*, 1024*1024]}, deny: x",
            "4:28: rules.0.when.size.1: `1024*1024` isn't of the form WIDTHxHEIGHT, where `*` stands for any digits",
        ),
        (
            "when: {steps: many}, deny: x",
            "4:20: rules.0.when.steps: must be a number or a mapping with `min` and `max`, not `many`",
        ),
        ("when: {steps: true}, deny: x", "4:20: rules.0.when.steps: must be a mapping of keys to values, not `true`"),
        ("when: {n: {min: .inf}}, deny: x", "4:22: rules.0.when.n.min: must be a finite number, not `.inf`"),
        ("when: {n: -1}, deny: x", "4:16: rules.0.when.n: must be at least 0, not `-1`"),
        (
            "when: {megapixels: 1}, deny: x",
            "4:25: rules.0.when.megapixels: must be a mapping of keys to values, not `1`",
        ),
        ("when: {n: {}}, deny: x", "4:16: rules.0.when.n: needs `min` or `max`"),
        (
            "when: {steps: {min: 30, max: 2.5}}, deny: x",
            "4:26: rules.0.when.steps.min: must be at most `max`, 2.5, not 30",
        ),
        ("when: {key: teem}, deny: x", "4:18: rules.0.when.key: there is no API key `teem`; did you mean `team`?"),
        ("when: {key: [team, 'x*']}, deny: x", "4:25: rules.0.when.key.1: there is no API key `x*`. Keys: guest, team"),
        ("when: {key: admin}, deny: x", "4:18: rules.0.when.key: there is no API key `admin`. Keys: guest, team"),
        ("when: {has: setps}, deny: x", "4:18: rules.0.when.has: unknown parameter; did you mean `steps`?"),
        (
            "when: {has: [mask, lora]}, deny: x",
            "4:25: rules.0.when.has.1: unknown parameter; the parameter is called `loras` here",
        ),
        (
            "when: {has: num_images}, deny: x",
            "4:18: rules.0.when.has: unknown parameter; there is the condition `n` for it",
        ),
        (
            "when: {has: size}, deny: x",
            "4:18: rules.0.when.has: unknown parameter; there is the condition `size` for it",
        ),
        ("when: {has: user}, deny: x", f"4:18: rules.0.when.has: unknown parameter. Known here: {SEEN}"),
        ("when: {header: {x-a: 1}}, deny: x", "4:27: rules.0.when.header.x-a: must be text, not `1`; put it in quotes"),
        ("when: {header: {x-*: a}}, deny: x", "4:22: rules.0.when.header.x-*: `x-*` can't be the name of a header"),
        (
            "when: {header: {x-a: a, X-A: b}}, deny: x",
            "4:30: rules.0.when.header.X-A: differs from the header `x-a` only in case",
        ),
        ("when: {}, deny: x", "4:12: rules.0.when: is empty; leave it out"),
        ("when: {n: 1, model: []}, deny: x", "4:26: rules.0.when.model: is empty; leave it out"),
        ("when: {n: 1, header: {}}, deny: x", "4:27: rules.0.when.header: is empty; leave it out"),
        # Effects.
        ("name: x", "4:5: rules.0: does nothing; it needs one of `only`, `avoid`, `prefer`, `set`, `deny`"),
        (
            "when: {n: 1}, deny: null",
            "4:5: rules.0: does nothing; it needs one of `only`, `avoid`, `prefer`, `set`, `deny`",
        ),
        ("only: []", "4:12: rules.0.only: is empty; leave it out"),
        ("only: desk, set: {}", "4:23: rules.0.set: is empty; leave it out"),
        ("only: desk, deny: x", "4:6: rules.0.only: has no effect beside `deny`"),
        ("deny: x, set: {steps: 3}", "4:15: rules.0.set: has no effect beside `deny`"),
        ("only: dek", "4:12: rules.0.only: no provider has the name or type `dek`; did you mean `desk`?"),
        (
            "avoid: [desk, comfy]",
            "4:20: rules.0.avoid.1: no provider has the name or type `comfy`; did you mean `comfyui`?",
        ),
        (
            "prefer: Forge",
            "4:14: rules.0.prefer: no provider has the name or type `Forge`. Known here: attic, comfyui, desk, fake",
        ),
        ("set: {stps: 3}", "4:12: rules.0.set.stps: unknown parameter; did you mean `steps`?"),
        ("set: {cfg: 3}", "4:12: rules.0.set.cfg: unknown parameter; the parameter is called `cfg_scale` here"),
        ("set: {steps: 500}", "4:19: rules.0.set.steps: `steps` must be at most 200, not 500"),
        (
            "set: {seed: 1}",
            "4:18: rules.0.set.seed: a seed belongs to a request: a fixed one would draw the same picture for ever",
        ),
        (
            "set: {quality: auto}",
            "4:21: rules.0.set.quality: sets nothing; a rule can't take away what the client sent",
        ),
        ("set: {loras: []}", "4:19: rules.0.set.loras: sets nothing; a rule can't take away what the client sent"),
    ],
)
def test_a_wrong_rule_is_answered_at_the_wrong_word(written: str, problem: str) -> None:
    assert problems(f"{HEAD}rules:\n  - {{{written}}}") == [f"f:{problem}"]


def test_one_wrong_list_is_answered_with_everything_that_is_wrong_in_it() -> None:
    text = f"""{HEAD}models:
  m:
    rules:
      - when: {{has: [cfg, mask, stlye]}}
        only: [desk, dsk]
        set: {{steps: 0.5}}
      - {{}}
"""
    assert problems(text) == [
        "f:6:22: models.m.rules.0.when.has.0: unknown parameter; the parameter is called `cfg_scale` here",
        "f:6:33: models.m.rules.0.when.has.2: unknown parameter; did you mean `style`?",
        "f:7:22: models.m.rules.0.only.1: no provider has the name or type `dsk`; did you mean `desk`?",
        "f:8:22: models.m.rules.0.set.steps: Invalid value for `steps`: it must be an integer of at least 1, not 0.5",
        "f:9:9: models.m.rules.1: does nothing; it needs one of `only`, `avoid`, `prefer`, `set`, `deny`",
    ]


def test_without_keys_no_request_has_the_administrators() -> None:
    text = "server: {admin_key: a-long-secret}\nrules: [{when: {key: admin}, set: {steps: 1}}]"
    assert problems(text) == ["f:2:22: rules.0.when.key: there is no API key `admin`. Keys: none"]


@pytest.mark.parametrize(
    ("first", "second", "problem"),
    [
        ("deny: x", "when: {n: 1}, deny: y", "4:5: rules.1: can never apply: `rules.0` comes first and always applies"),
        ("name: all, only: desk", "deny: y", "4:5: rules.1: can never apply: `all` comes first and always applies"),
        (
            "when: {n: 1, days: mon}, deny: x",
            "when: {days: [mon], n: {min: 1, max: 1}}, deny: y",
            "4:5: rules.1: can never apply: `rules.0` comes first and has the same conditions",
        ),
        (
            "when: {n: {min: 2}, model: 'sd*'}, deny: x",
            "when: {n: {min: 4, max: 8}, model: [SDXL, sd15], operation: edit}, deny: y",
            "4:5: rules.1: can never apply: `rules.0` comes first and takes all of its requests",
        ),
    ],
)
def test_a_rule_that_another_one_always_forestalls_is_an_error(first: str, second: str, problem: str) -> None:
    text = f"providers: {{desk: {{type: fake}}}}\nrules:\n  - {{{first}}}\n  - {{{second}}}"
    assert problems(text) == [f"f:{problem}"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (
            "only: attic",
            f"1:41: providers.desk.rules.0.only: a provider's own rule can't choose between providers; {PLACE}",
        ),
        (
            "set: {steps: 3}, avoid: desk",
            f"1:58: providers.desk.rules.0.avoid: a provider's own rule can't choose between providers; {PLACE}",
        ),
        (
            "prefer: desk",
            f"1:41: providers.desk.rules.0.prefer: a provider's own rule can't choose between providers; {PLACE}",
        ),
        ("name: x", "1:40: providers.desk.rules.0: does nothing; it needs one of `set`, `deny`"),
        ("set: {stps: 3}", "1:47: providers.desk.rules.0.set.stps: unknown parameter; did you mean `steps`?"),
        ("set: {steps: 3}, deny: x", "1:41: providers.desk.rules.0.set: has no effect beside `deny`"),
        ("deny: 3", "1:47: providers.desk.rules.0.deny: must be text, not `3`; put it in quotes"),
    ],
)
def test_a_providers_rule_may_set_and_deny(written: str, problem: str) -> None:
    text = f"providers: {{desk: {{type: fake, rules: [{{{written}}}]}}, attic: {{type: fake}}}}"
    assert problems(text) == [f"f:{problem}"]


def test_what_a_variable_holds_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    for written in (
        "only: '${env.SECRET}'",
        "deny: x, when: {key: '${env.SECRET}'}",
        "deny: x, when: {size: '${env.SECRET}'}",
    ):
        (problem,) = problems(f"{HEAD}rules:\n  - {{{written}}}")
        assert "${env.SECRET}" in problem
        assert "hunter2" not in problem


WORDS = st.sampled_from("desk comfyui team mon edit 1x1 1024x* * 22:00-06:00 steps loras ${env.HOME} 30".split())
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WHEN = st.dictionaries(st.sampled_from([*When.model_fields]), TREES | WORDS, max_size=3)
EFFECTS = st.dictionaries(st.sampled_from([name for name in Rule.model_fields if name != "when"]), TREES | WORDS)
RULES = st.tuples(EFFECTS, WHEN).map(lambda pair: {**pair[0], "when": pair[1]})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(RULES | TREES, max_size=3) | TREES)
@example([{"when": {"steps": 10**900}}])
def test_any_rules_are_a_config_or_an_error_that_points_at_them(rules: object) -> None:
    try:
        assert isinstance(load_text(f"{HEAD}rules:\n  {json.dumps(rules)}", "f"), Config)
    except ConfigError as error:
        for problem in error.problems:
            assert re.match(r"f:[34]:\d+: rules", problem), problem
