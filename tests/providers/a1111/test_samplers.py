"""Canonical samplers and schedulers in the labels of each dialect."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.a1111.stocks import A1111_1_7, A1111_1_10, FORGE, OLDEST, SDCPP, SDNEXT, STOCKS

from imagerouter import ProviderRejectedError
from imagerouter_a1111.recipe import Sampler, Stock
from imagerouter_a1111.samplers import Samplers

every_stock = pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS)


def _labels(stock: Stock) -> set[str]:
    return {row["name"] for row in stock.samplers}


@every_stock
def test_every_pair_that_is_offered_is_written_with_labels_that_the_server_lists(stock: Stock) -> None:
    samplers = Samplers(stock)
    values = {row["label"] for row in stock.schedulers} or {
        *("Automatic", "karras", "exponential", "polyexponential"),
        *("default", "betas", "flowmatch", "lambdas"),
    }
    for sampler in samplers.samplers:
        for scheduler in (None, *samplers.of(sampler)):
            found = samplers.find(sampler, scheduler)
            assert found.label in _labels(stock)
            assert found.scheduler is None or found.scheduler in values


@every_stock
def test_every_scheduler_that_is_offered_goes_with_some_sampler(stock: Stock) -> None:
    samplers = Samplers(stock)
    assert set(samplers.schedulers) == {one for sampler in samplers.samplers for one in samplers.of(sampler)}


@every_stock
@settings(max_examples=30)
@given(sampler=st.text(max_size=20), scheduler=st.none() | st.text(max_size=20))
def test_what_nobody_offers_is_refused_with_the_parameter_s_name(
    stock: Stock, sampler: str, scheduler: str | None
) -> None:
    try:
        found = Samplers(stock).find(sampler, scheduler)
    except ProviderRejectedError as error:
        assert error.param in ("sampler", "scheduler")
        assert "must be one of" in error.message
    else:
        assert found.label in _labels(stock)


@pytest.mark.parametrize(
    ("stock", "sampler", "scheduler", "found"),
    [
        (OLDEST, "dpmpp_2m", "karras", Sampler("DPM++ 2M Karras")),
        (OLDEST, "dpmpp_2m", None, Sampler("DPM++ 2M")),
        (OLDEST, "euler", "normal", Sampler("Euler")),
        (A1111_1_7, "dpmpp_2m", "karras", Sampler("DPM++ 2M Karras", "Automatic")),
        (A1111_1_7, "euler", "karras", Sampler("Euler", "karras")),
        (A1111_1_7, "euler", None, Sampler("Euler", "Automatic")),
        (A1111_1_7, "Restart", "karras", Sampler("Restart", "Automatic")),
        (A1111_1_10, "dpmpp_2m", None, Sampler("DPM++ 2M", "Automatic")),
        (A1111_1_10, "dpmpp_2m", "normal", Sampler("DPM++ 2M", "Normal")),
        (A1111_1_10, "euler", "align your steps", Sampler("Euler", "Align Your Steps")),
        (A1111_1_10, "ddim", "ddim_uniform", Sampler("DDIM", "Automatic")),
        (FORGE, "ipndm", "simple", Sampler("IPNDM", "Simple")),
        (FORGE, "[forge] flux realistic", "beta", Sampler("[Forge] Flux Realistic", "Beta")),
        (SDNEXT, "euler", "beta", Sampler("Euler", "betas")),
        (SDNEXT, "euler", None, Sampler("Euler", "default")),
        (SDNEXT, "Euler EDM", "exponential", Sampler("Euler EDM", "exponential")),
        (SDCPP, "euler_ancestral", "karras", Sampler("euler_a", "karras")),
        (SDCPP, "dpmpp_2s_ancestral", None, Sampler("dpm++2s_a")),
        (SDCPP, "euler", "normal", Sampler("euler", "normal")),
    ],
)
def test_a_pair_is_written_as_its_server_does(
    stock: Stock, sampler: str, scheduler: str | None, found: Sampler
) -> None:
    assert Samplers(stock).find(sampler, scheduler) == found


@pytest.mark.parametrize(
    ("stock", "sampler", "scheduler"),
    [
        (OLDEST, "euler", "karras"),
        (A1111_1_7, "ddim", "karras"),
        (A1111_1_10, "uni_pc", "karras"),
        (SDNEXT, "euler_ancestral", "karras"),
        (SDNEXT, "Euler EDM", "normal"),
    ],
)
def test_a_pair_that_the_server_would_quietly_replace_is_refused(stock: Stock, sampler: str, scheduler: str) -> None:
    with pytest.raises(ProviderRejectedError, match=f"with `{sampler}` must be one of") as refused:
        Samplers(stock).find(sampler, scheduler)
    assert refused.value.param == "scheduler"


def test_an_unknown_sampler_is_refused_with_what_there_is() -> None:
    with pytest.raises(ProviderRejectedError, match=r"`sampler` must be one of .*euler_ancestral") as refused:
        Samplers(A1111_1_10).find("eulerr")
    assert refused.value.param == "sampler"


def test_a_combined_label_is_offered_as_the_pair_that_it_is() -> None:
    samplers = Samplers(OLDEST)
    assert set(samplers.of("dpmpp_2m_sde")) == {"normal", "karras", "exponential"}
    assert "DPM++ 2M Karras" not in samplers.samplers


def test_names_that_stand_for_nothing_in_particular_are_not_offered() -> None:
    assert not {"default", "── Other ──"} & {*Samplers(SDCPP).samplers, *Samplers(SDNEXT).samplers}
    assert not {"default", "Automatic"} & {*Samplers(SDCPP).schedulers, *Samplers(A1111_1_10).schedulers}


def test_of_two_labels_for_one_name_the_other_is_offered_as_it_is() -> None:
    assert Samplers(SDNEXT).find("ipndm").label == "IPNDM"
    assert Samplers(SDNEXT).find("PNDM").label == "IPNDM"
    assert "PNDM" in Samplers(SDNEXT).samplers


@pytest.mark.parametrize(
    ("stock", "setting"),
    [(OLDEST, None), (A1111_1_7, "k_sched_type"), (A1111_1_10, None), (SDNEXT, "schedulers_sigma")],
)
def test_the_scheduler_s_place_depends_on_the_server(stock: Stock, setting: str | None) -> None:
    assert Samplers(stock).scheduler_setting == setting


def test_a_server_s_own_choice_is_known_where_it_tells() -> None:
    assert Samplers(A1111_1_10).own("dpmpp_2m") == "karras"
    assert Samplers(A1111_1_10).own("euler") == "normal"
    assert Samplers(SDCPP).own("euler") is None


def test_a_sampler_whose_plain_label_is_hidden_is_still_offered_with_the_scheduler_that_it_has() -> None:
    stock = replace(OLDEST, samplers=tuple(row for row in OLDEST.samplers if row["name"] == "DPM++ 2M Karras"))
    samplers = Samplers(stock)
    assert samplers.find("dpmpp_2m") == samplers.find("dpmpp_2m", "karras") == Sampler("DPM++ 2M Karras")
    assert samplers.own("dpmpp_2m") == "karras"


def test_a_server_that_takes_no_scheduler_offers_none_but_its_own() -> None:
    samplers = Samplers(replace(SDNEXT, fields=SDNEXT.fields - {"schedulers_sigma"}))
    assert samplers.find("euler", "normal") == Sampler("Euler")
    assert samplers.schedulers == ("normal", "karras")
    assert samplers.of("Euler EDM") == ("karras",)


def test_a_long_list_is_not_repeated_in_a_refusal() -> None:
    many = replace(SDCPP, samplers=tuple({"name": f"Sampler {index}"} for index in range(100)))
    with pytest.raises(ProviderRejectedError, match="and 90 more") as refused:
        Samplers(many).find("euler")
    assert len(refused.value.message) < 300


def test_rows_that_cannot_be_read_are_left_out() -> None:
    odd: tuple[Any, ...] = ({}, {"name": None}, {"name": ""}, {"name": "Euler", "options": None}, "Heun")
    samplers = Samplers(replace(A1111_1_10, samplers=odd, schedulers=({"name": "karras"}, {"label": "Beta"})))
    assert samplers.samplers == ("euler",)
    assert samplers.find("euler", "karras") == Sampler("Euler", "karras")
