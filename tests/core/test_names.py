"""What a name means that somebody has written, among the names that a server has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter import ProviderRejectedError, names

FILES = ["a/x.safetensors", "c/x.safetensors", "b\\y.ckpt", "a/z.ckpt", "a/z.safetensors"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("a/x.safetensors", "a/x.safetensors"),
        ("a\\X.safetensors", "a/x.safetensors"),
        ("a/x", "a/x.safetensors"),
        ("y", "b\\y.ckpt"),
        ("b/y", "b\\y.ckpt"),
        ("Y.CKPT", "b\\y.ckpt"),
        ("z.ckpt", "a/z.ckpt"),
        ("x", None),
        ("z", None),
        ("a/z", None),
        ("c/y", None),
        ("c/y.ckpt", None),
        ("", None),
    ],
)
def test_a_file_is_found_however_it_is_spelled_if_only_one_is_meant(wanted: str, found: str | None) -> None:
    assert names.find(wanted, FILES) == found


def test_a_name_as_long_as_a_request_takes_no_longer_than_others() -> None:
    assert names.find("É" * 200_000, [f"styles/{index}.safetensors" for index in range(5000)]) is None


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("euler", "euler"), ("Euler", "euler"), ("eul", None), ("x/euler", None), ("v1.5", None), ("V1", "v1")],
)
def test_a_word_that_is_no_file_is_meant_as_it_is_but_for_case(wanted: str, found: str | None) -> None:
    assert names.find(wanted, ["euler", "dpmpp/euler", "v1", "v1.5b"]) == found


def test_exact_case_comes_first() -> None:
    assert names.find("Ink", ["style/ink.pt", "style/Ink.pt"]) == "style/Ink.pt"
    assert names.find("INK", ["style/ink.pt", "style/Ink.pt"]) is None


@given(st.lists(st.text("aA/\\.bckpt", max_size=8), max_size=6), st.text("aA/\\.bckpt", max_size=8))
def test_what_is_there_is_found_and_what_is_found_is_there(listed: list[str], wanted: str) -> None:
    assert all(names.find(name, listed) == name for name in listed)
    found = names.find(wanted, listed)
    assert found is None or found in listed


@given(st.lists(st.text("aA/\\.bckpt", max_size=8), max_size=6))
def test_each_name_is_found_by_its_short_spelling(listed: list[str]) -> None:
    listed = list(dict.fromkeys(listed))
    assert [names.find(name, listed) for name in names.short(listed)] == listed


def test_a_short_spelling_has_no_folder_and_no_ending_unless_it_takes_them_to_be_found() -> None:
    listed = ["style/ink.safetensors", "Lanczos", "a/x.pt", "c\\X.pt", "a/z.ckpt", "a/z.pt", "v1.pt.pt", "Lanczos"]
    assert names.short(listed) == ["ink", "Lanczos", "a/x", "c/X", "a/z.ckpt", "a/z.pt", "v1.pt.pt"]


def test_a_refusal_names_those_that_may_be_meant_else_close_ones_else_some() -> None:
    def refused(wanted: str) -> str:
        with pytest.raises(ProviderRejectedError) as caught:
            names.demand(wanted, FILES, "vae", "VAE")
        assert caught.value.param == "vae"
        return caught.value.message

    assert refused("x") == "`vae`: there is no VAE `x` here; did you mean `a/x.safetensors` or `c/x.safetensors`?"
    assert refused("zz") == "`vae`: there is no VAE `zz` here; did you mean `a/z.safetensors`?"
    assert refused("other").startswith("`vae`: there is no VAE `other` here; there is a/x.safetensors, ")
    assert len(refused("x" * 5000)) < 300
    assert names.instead("x", []) == ""
    assert names.instead("x", [f"{number}!" for number in range(12)]).endswith("9! and 2 more")
