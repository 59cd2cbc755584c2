import re
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imagerouter.config import Config, loader
from imagerouter.config.loader import discover, find, load, load_text, resolve
from imagerouter.errors import ConfigError
from imagerouter.registry import GROUP, Registry
from imagerouter.testing import FakeProvider

GOLDENS = sorted((Path(__file__).parent / "configs").glob("*.yaml"))
FAKE = "imagerouter.testing:FakeProvider"
PROVIDERS = f'providers: {{desk: {{type: "{FAKE}"}}, attic: {{type: "{FAKE}"}}}}\n'


def use(monkeypatch: pytest.MonkeyPatch, **types: str) -> None:
    registry = Registry(EntryPoint(name, value, GROUP) for name, value in types.items())
    monkeypatch.setattr(loader, "installed", lambda: registry)


@pytest.fixture(autouse=True)
def _types(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fake=FAKE, comfyui=FAKE, a1111="no_such_module_of_ours:Adapter")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load_text(text, "f")
    return raised.value.problems


@pytest.mark.parametrize("path", GOLDENS, ids=lambda path: path.stem)
def test_a_faulty_file_is_answered_with_every_problem_in_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMFY_URL", raising=False)
    monkeypatch.setenv("SECRET", "hunter2")
    with pytest.raises(ConfigError) as raised:
        load_text(path.read_text(), path.name)
    assert raised.value.problems == path.with_suffix(".expected").read_text().splitlines()


def test_there_are_goldens() -> None:
    assert len(GOLDENS) >= 5


def test_an_empty_file_is_all_defaults() -> None:
    for text in ("", "# nothing\n", "providers:\nmodels:\nlimits:\nserver:\ndefaults:\n", "{}"):
        assert load_text(text) == Config()


def test_a_provider_is_checked_by_its_adapters_own_config() -> None:
    config = load_text("providers: {desk: {type: fake, models: [a, b], concurrency: 3}}")
    entry = config.providers["desk"]
    assert (entry.type, type(entry.config), entry.config.concurrency) == ("fake", FakeProvider.Config, 3)


def test_yaml_1_1_traps_are_not_sprung() -> None:
    config = load_text("default_model: 22:30\nmodels: {on: , no: {}, 1: {}, 2026-01-01: {}}")
    assert config.default_model == "22:30"
    assert list(config.models) == ["on", "no", "1", "2026-01-01"]


def test_numbers_are_read_as_yaml_1_2_writes_them() -> None:
    values = "[0o17, 017, 0x1F, 1e3, .5, -1, .inf, true, 1_000, yes]"
    data = loader.read(f"a: {values}", "f").data
    assert data["a"] == [15, 17, 31, 1000.0, 0.5, -1, float("inf"), True, "1_000", "yes"]


def test_merge_keys_work_and_the_mappings_own_keys_win() -> None:
    text = f"""
providers:
  one: &base {{type: "{FAKE}", concurrency: 2, timeout: 5}}
  two: {{<<: *base, concurrency: 3}}
"""
    two = load_text(text).providers["two"].config
    assert (two.concurrency, two.timeout) == (3, 5)


def test_a_variable_fills_in_any_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAME", "desk")
    monkeypatch.setenv("COUNT", "7")
    monkeypatch.setenv("EMPTY", "")
    text = "limits: {max_n: '${env.COUNT}', queue: '${env.EMPTY:-9}'}\ndefault_model: a-${env.NAME}-${env.EMPTY}"
    config = load_text(text)
    assert (config.limits.max_n, config.limits.queue, config.default_model) == (7, 9, "a-desk-")


def test_a_variable_can_not_become_yaml(monkeypatch: pytest.MonkeyPatch) -> None:
    value = "x}\nserver: {port: 1} # ${env.COUNT}"
    monkeypatch.setenv("EVIL", value)
    assert load_text("default_model: ${env.EVIL}").default_model == value


def test_a_variable_that_holds_digits_is_text_where_text_is_wanted_and_a_number_where_a_number_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIGITS", "0123")
    text = "default_model: ${env.DIGITS}\ndefaults:\n  steps: ${env.DIGITS}\n  negative_prompt: ${env.DIGITS}"
    config = load_text(text)
    assert config.default_model == "0123"
    assert config.defaults == {"steps": 123, "negative_prompt": "0123"}


def test_a_dollar_can_be_escaped() -> None:
    assert load_text("default_model: a $${env.X} $5").default_model == "a ${env.X} $5"


def test_a_secret_never_shows_up_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    assert problems("server: {port: '${env.SECRET}'}") == [
        "f:1:16: server.port: must be a whole number, not `${env.SECRET}`"
    ]


def test_an_anchor_can_neither_loop_nor_fill_the_memory() -> None:
    assert problems("models: &a [*a]") == ["f:1:9: models.0: an anchor can't contain itself"]
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
    assert "more than 100000 values" in problems(bomb)[0]
    merges = "a0: &a0 {}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40))
    assert "more than 100000 values" in problems(merges)[0]


def test_a_file_that_can_not_be_read_is_one_clear_line(tmp_path: Path) -> None:
    missing, folder, latin = tmp_path / "none.yaml", tmp_path, tmp_path / "latin.yaml"
    latin.write_bytes(b"providers: {}\ndefault_model: caf\xe9\n")
    for path, expected in (
        (missing, f"{missing}: no such file"),
        (folder, f"{folder}: can't be read: is a directory"),
        (latin, f"{latin}:2:19: not UTF-8 text: byte 0xe9"),
    ):
        with pytest.raises(ConfigError) as raised:
            load(path)
        assert raised.value.problems == [expected]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfdefault_model: x\n")
    assert load(path).default_model == "x"


def test_a_private_adapter_beside_the_file_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    source = "from imagerouter.testing import FakeProvider\nclass Mine(FakeProvider): pass\n"
    (tmp_path / "adapter_beside_the_file.py").write_text(source)
    path = tmp_path / "c.yaml"
    path.write_text('providers: {mine: {type: "adapter_beside_the_file:Mine"}}')
    assert load(path).providers["mine"].type == "adapter_beside_the_file:Mine"


def test_the_file_is_searched_here_first_and_then_in_the_users_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = tmp_path / "here", tmp_path / "home"
    for folder in (here, home / "imagerouter"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home))
    assert find() is None
    (home / "imagerouter" / "imagerouter.yaml").write_text("")
    assert find() == home / "imagerouter" / "imagerouter.yaml"
    (here / "imagerouter.yaml").write_text("")
    assert find() == Path("imagerouter.yaml")


class Here(FakeProvider):
    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        return {"local": {"concurrency": 2}}


class Broken(FakeProvider):
    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        raise RuntimeError("no")


class Hanging(FakeProvider):
    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        await __import__("asyncio").Event().wait()
        return {}


class Wrong(FakeProvider):
    @classmethod
    async def discover(cls) -> dict[str, dict[str, Any]]:
        return {"x": {"no_such_key": 1}}


async def test_without_a_file_every_type_is_asked_what_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "DISCOVERY_SECONDS", 0.01)
    classes = {"b": Here, "c": Here, "d": Broken, "e": Hanging, "f": Wrong}
    monkeypatch.setitem(__import__("sys").modules, "found_here", type("M", (), classes))
    use(monkeypatch, a="no_such_module_of_ours:X", **{name: f"found_here:{name}" for name in classes})
    config = await discover()
    assert {name: (e.type, e.config.concurrency) for name, e in config.providers.items()} == {
        "local": ("b", 2),
        "c-local": ("c", 2),
    }


async def test_if_nothing_is_here_the_error_says_what_to_install() -> None:
    with pytest.raises(ConfigError) as raised:
        await discover()
    first, second = raised.value.problems
    assert first == "no providers in imagerouter.yaml, and no backend found on this machine"
    assert "a1111" in second


async def test_a_file_without_providers_keeps_its_word_and_uses_what_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "found_here", type("M", (), {"Here": Here}))
    use(monkeypatch, here="found_here:Here")
    path = tmp_path / "c.yaml"
    path.write_text("server: {port: 9}")
    config = await resolve(path)
    assert (config.server.port, list(config.providers)) == (9, ["local"])


WORDS = st.sampled_from(
    [
        *[
            "providers",
            "models",
            "defaults",
            "limits",
            "server",
            "targets",
            "aliases",
            "params",
            "provider",
            "model",
            "type",
            "max_n",
        ],
        *[
            "fake",
            FAKE,
            "desk",
            "steps",
            "loras",
            "- ",
            ": ",
            "\n",
            "\n  ",
            "{",
            "}",
            "[",
            "]",
            ", ",
            "'",
            '"',
        ],
        *[
            "${env.HOME}",
            "${env.NOPE}",
            "${x}",
            "&a ",
            "*a",
            "<<",
            "!!int ",
            "!x ",
            "? ",
            "|\n",
            "1",
            "on",
            "null",
        ],
        *["\t", "\x85", "\u2028", "\ud800", "\0", "é", '"\\ud800"', '"\\UFFFFFFFF"', "%YAML 9", "---\n"],
    ]
)
TEXTS = st.one_of(st.text(), st.lists(WORDS, max_size=25).map("".join))
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)
HYPOTHESIS = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(text: str) -> None:
    try:
        config = load_text(text, "f")
    except ConfigError as error:
        found = error.problems
    else:
        assert isinstance(config, Config)
        return
    assert found
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    for problem in found:
        assert problem.isprintable()
        match = re.fullmatch(r"f:(\d+):(\d+): .+", problem)
        assert match, problem
        line, column = int(match[1]), int(match[2])
        assert 1 <= line <= len(lines), problem
        assert 1 <= column <= len(lines[line - 1]) + 1, problem


@HYPOTHESIS
@given(TEXTS)
@example("a: " + "[" * 1000)
@example('"\\UFFFFFFFF"')
@example("? [a]\n: 1")
@example("!!float abc")
@example("1" * 5000)
@example("default_model: !!int '1'")
@example("\ufeff[")
def test_any_text_is_a_config_or_an_error_that_points_into_it(text: str) -> None:
    check(text)


@HYPOTHESIS
@given(
    st.fixed_dictionaries(
        {},
        optional={
            "providers": st.dictionaries(st.just("desk"), st.fixed_dictionaries({"type": st.just("fake")}) | TREES),
            "models": st.dictionaries(WORDS, TREES, max_size=3),
            "defaults": st.dictionaries(st.sampled_from(["steps", "loras", "hires", "style", "cfg"]), TREES),
            "limits": TREES,
            "default_model": TREES,
        },
    )
)
def test_any_tree_is_a_config_or_an_error_that_points_into_it(tree: dict[str, Any]) -> None:
    check(yaml.safe_dump(tree, allow_unicode=True))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "providers: {desk: {type: fake}, Desk: {type: fake}}",
            "f:1:33: providers.Desk: differs from the provider `desk` only in case",
        ),
        (
            "models: {a/b: {}, 'A\\b': {}}",
            "f:1:19: models.A\\b: differs from the model `a/b` only in case and kind of slash",
        ),
        (
            "models: {m: {aliases: ['']}}",
            "f:1:24: models.m.aliases.0: an alias can't be empty or hold control characters",
        ),
        ("breaker: {cooldown: .inf}", "f:1:21: breaker.cooldown: must be a finite number, not `.inf`"),
        (
            "providers: {desk: {type: fake, price: .inf}}",
            "f:1:39: providers.desk.price: must be a finite number, not `.inf`",
        ),
    ],
)
def test_names_that_are_one_for_the_catalogue_and_numbers_without_end_are_errors(text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_a_price_may_come_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRICE", "0.04")
    config = load_text("providers: {desk: {type: fake, price: '${env.PRICE}'}}")
    assert config.providers["desk"].config.price.image == 0.04


def test_an_address_without_its_scheme_is_told_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, comfyui="imagerouter_comfyui:ComfyProvider")
    (problem,) = problems("providers: {desk: {type: comfyui, base_url: 'desk:8188'}}")
    assert problem == "f:1:45: providers.desk.base_url: must begin with `http://` or `https://`, not `desk:8188`"
