"""``override_settings`` from clients: which values of the server's settings are taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.a1111.stocks import A1111_1_10, CONFIG, SDNEXT, recipe

from imagerouter import InvalidParameterError
from imagerouter_a1111.config import HARMLESS_SETTINGS, A1111Config
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.options import checked
from imagerouter_a1111.recipe import Stock

SETTINGS: dict[str, Any] = {
    **DIALECTS["a1111"].defaults,
    "emphasis": "Original",
    "enable_quantization": False,
    "sgm_noise_multiplier": False,
    "hires_list": ["Latent"],
    "note": "a",
    "number": 0.5,
    "unset": None,
}
SERVER = replace(A1111_1_10, settings=SETTINGS)
OWN = A1111Config(client_settings=[*HARMLESS_SETTINGS, "hires_list", "note", "number", "unset"])


def takes(name: str, value: Any, stock: Stock = SERVER) -> bool:
    try:
        checked({"override_settings": {name: value}}, stock, OWN, recipe(stock))
    except InvalidParameterError as refused:
        assert refused.param is not None
        assert refused.param.startswith("provider.options.override_settings")
        return False
    return True


@pytest.mark.parametrize("stock", [SERVER, SDNEXT], ids=["listed", "not listed"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eta_ddim", 0.5),
        ("eta_ddim", 1),
        ("eta_noise_seed_delta", 2**32 - 1),
        ("comma_padding_backtrack", 74),
        ("initial_noise_multiplier", 10),
        ("img2img_fix_steps", True),
        ("randn_source", "NV"),
        ("emphasis", "No norm"),
    ],
)
def test_what_a_setting_can_be_is_taken(stock: Stock, name: str, value: object) -> None:
    assert takes(name, value, stock)


@pytest.mark.parametrize("stock", [SERVER, SDNEXT], ids=["listed", "not listed"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("eta_ddim", 1.5),
        ("eta_ddim", True),
        ("eta_ddim", "0.5"),
        ("eta_ddim", float("nan")),
        ("eta_ancestral", float("-inf")),
        ("eta_ancestral", None),
        ("eta_noise_seed_delta", 2**32),
        ("eta_noise_seed_delta", -1),
        ("eta_noise_seed_delta", 0.5),
        ("comma_padding_backtrack", 75),
        ("img2img_extra_noise", 11),
        ("s_min_uncond", 16.0),
        ("token_merging_ratio_hr", -0.1),
        ("img2img_fix_steps", 1),
        ("enable_quantization", "yes"),
        ("randn_source", "TPU"),
        ("randn_source", ["GPU"]),
        ("emphasis", "none"),
        ("token_merging_ratio", [0.5]),
        ("sgm_noise_multiplier", {}),
    ],
)
def test_what_would_make_jobs_fail_is_refused(stock: Stock, name: str, value: object) -> None:
    assert not takes(name, value, stock)


def test_other_settings_that_the_owner_allows_keep_their_type() -> None:
    assert takes("hires_list", ["Lanczos"])
    assert not takes("hires_list", "Lanczos")
    assert takes("note", "b" * 200)
    assert not takes("note", "b" * 201)
    assert not takes("note", 5)
    assert takes("number", 2**31 - 1)
    assert not takes("number", 2**31)
    assert takes("unset", "b")
    assert not takes("unset", {})


def test_a_refusal_says_what_is_taken() -> None:
    with pytest.raises(InvalidParameterError, match="must be a whole number between 0 and 74") as refused:
        checked({"override_settings": {"comma_padding_backtrack": "a"}}, SERVER, CONFIG, recipe(SERVER))
    assert refused.value.param == "provider.options.override_settings.comma_padding_backtrack"


@given(name=st.sampled_from(HARMLESS_SETTINGS), value=st.integers() | st.floats() | st.booleans() | st.text(max_size=9))
def test_a_setting_that_is_taken_is_of_the_server_s_type(name: str, value: object) -> None:
    if takes(name, value):
        usual = SETTINGS[name]
        assert isinstance(value, bool) == isinstance(usual, bool)
        assert isinstance(value, str) == isinstance(usual, str)
        assert isinstance(usual, float) or not isinstance(value, float)
