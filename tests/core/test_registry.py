from collections.abc import Callable
from importlib.metadata import distributions, entry_points
from pathlib import Path

import pytest

from imagerouter.registry import GROUP, ProviderTypeError, Registry, installed, provider_class
from imagerouter.testing import FakeProvider

Install = Callable[..., Registry]

ADAPTER = "from imagerouter.testing import FakeProvider\nclass Adapter(FakeProvider): "


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Write distributions with one type and one module each, as an installer would, and scan them."""
    monkeypatch.syspath_prepend(tmp_path)

    def _install(*dists: tuple[str, str, str, str], extras: tuple[str, ...] = ()) -> Registry:
        for dist, kind, module, source in dists:
            info = tmp_path / f"{dist.replace('-', '_')}-1.0.dist-info"
            info.mkdir()
            provides = "".join(f"Provides-Extra: {extra}\n" for extra in extras)
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: 1.0\n{provides}")
            (info / "entry_points.txt").write_text(f"[{GROUP}]\n{kind} = {module}:Adapter\n")
            (tmp_path / f"{module}.py").write_text(source)
        return Registry(point for dist in distributions(path=[str(tmp_path)]) for point in dist.entry_points)

    return _install


def refusal(registry: Registry, name: str) -> str:
    with pytest.raises(ProviderTypeError) as raised:
        registry.provider_class(name)
    return str(raised.value)


def test_every_adapter_of_this_project_is_found() -> None:
    assert installed().names_from("imagerouter") == sorted(
        point.name for point in entry_points(group=GROUP) if point.dist and point.dist.name == "imagerouter"
    )
    assert "diffusers" in installed().names


def test_a_type_of_another_distribution_is_found_like_our_own(install: Install) -> None:
    registry = install(("acme-images", "acme", "acme_one", ADAPTER + "pass"))
    assert registry.provider_class("acme").__name__ == "Adapter"
    assert registry.names_from("acme-images") == ["acme"]


def test_a_private_adapter_needs_no_packaging() -> None:
    assert provider_class("imagerouter.testing:FakeProvider") is FakeProvider


def test_an_unknown_type_is_answered_with_the_closest_one_and_all_that_are_there(install: Install) -> None:
    registry = install(("a", "a1111", "mod_a", ""), ("c", "comfyui", "mod_c", ""))
    expected = "unknown provider type `ComfUI`; did you mean `comfyui`? Installed: a1111, comfyui"
    assert refusal(registry, "ComfUI") == expected
    assert refusal(registry, "zzz") == "unknown provider type `zzz`. Installed: a1111, comfyui"


def test_a_missing_module_is_named_with_the_extra_that_brings_it(install: Install) -> None:
    registry = install(("imagerouter", "big", "mod_big", "import no_such_module.deep"), extras=("big",))
    expected = "provider type `big` needs `no_such_module`, which is not installed"
    assert refusal(registry, "big") == f"{expected}: pip install 'imagerouter[big]'"


def test_no_extra_is_guessed_where_the_distribution_has_none(install: Install) -> None:
    registry = install(("acme-images", "acme", "mod_acme", "import no_such_module"))
    assert refusal(registry, "acme") == "provider type `acme` needs `no_such_module`, which is not installed"


def test_what_a_class_imports_late_is_checked_too(install: Install) -> None:
    source = ADAPTER + "requires = ('json', 'no_such_module')"
    registry = install(("imagerouter", "late", "mod_late", source), extras=("late",))
    expected = "provider type `late` needs `no_such_module`, which is not installed"
    assert refusal(registry, "late") == f"{expected}: pip install 'imagerouter[late]'"
    assert registry.provider_class("late", ready=False).requires == ("json", "no_such_module")


def test_a_defect_of_the_adapter_is_not_taken_for_a_missing_extra(install: Install) -> None:
    registry = install(
        ("a", "own", "mod_own", "import mod_own.typo"),
        ("b", "broken", "mod_broken", "1 / 0"),
        ("c", "other", "mod_other", "Adapter = dict"),
        ("d", "empty", "mod_empty", ""),
    )
    assert "can't be imported: No module named 'mod_own.typo'" in refusal(registry, "own")
    assert "can't be imported: ZeroDivisionError" in refusal(registry, "broken")
    assert refusal(registry, "other") == "provider type `other` is not a subclass of `imagerouter.Provider`"
    assert "has no attribute 'Adapter'" in refusal(registry, "empty")


def test_two_distributions_that_claim_one_type_are_both_named(install: Install) -> None:
    registry = install(("one", "same", "mod_one", ""), ("two", "same", "mod_two", ""))
    expected = "provider type `same` is claimed by `one` and `two`; uninstall one of them"
    assert refusal(registry, "same") == expected
