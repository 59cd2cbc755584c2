"""Tags in prompts: the client's, which are refused, and ours."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.a1111.stocks import A1111_1_10, CONFIG, SDCPP, STOCKS, asked

from imagerouter import InvalidParameterError, Lora, ProviderRejectedError
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.prompts import check, is_writable, loras, with_loras
from imagerouter_a1111.recipe import Stock

TAGS = A1111Config(prompt_tags=True)
AS_THE_SERVER_READS = re.compile(r"<(\w+):([^>]+)>")


@pytest.mark.parametrize("tag", ["<lora:ink:1>", "<hypernet:ink:0.5>", "<LoRA:ink>", "<lyco:a<b:1>", "<x:a\nb>"])
@pytest.mark.parametrize("param", ["prompt", "negative_prompt"])
def test_a_client_s_tag_is_refused_in_favour_of_loras(tag: str, param: str) -> None:
    with pytest.raises(ProviderRejectedError, match="use `loras` instead") as refused:
        check(f"a cat {tag}, best quality", param, A1111_1_10, CONFIG)
    assert refused.value.param == param


@pytest.mark.parametrize(
    "text", ["", "1 < 2 > 0", "<3 a cat", "<lora:>", "<lora", "(a:1.2) [b:c:0.5] <a b:c>", "> < lora:a"]
)
def test_what_the_server_takes_for_text_is_text(text: str) -> None:
    check(text, "prompt", A1111_1_10, CONFIG)


@pytest.mark.parametrize("config", [CONFIG, TAGS])
@pytest.mark.parametrize("text", ["a cat <lora:secret:1:1:4:", "<lora:", "> <lora:a"])
def test_a_tag_that_another_one_behind_the_prompt_would_close_is_one(text: str, config: A1111Config) -> None:
    with pytest.raises(ProviderRejectedError):
        check(text, "prompt", A1111_1_10, config)


@given(st.text(alphabet="<>:a é\n", max_size=30))
def test_exactly_what_the_server_could_read_as_a_tag_is_refused(text: str) -> None:
    read = AS_THE_SERVER_READS.search(f"{text} <lora:of_a_style:1>")
    if read is not None and read.start() < len(text):
        with pytest.raises(ProviderRejectedError):
            check(text, "prompt", A1111_1_10, CONFIG)
    else:
        check(text, "prompt", A1111_1_10, CONFIG)


@pytest.mark.parametrize(
    "text", ["<" * 200_000, "<a:" * 70_000, "<a" * 100_000, "<lora:ink:1>" * 20_000, "<a:b>" * 40_000]
)
@pytest.mark.parametrize("config", [CONFIG, TAGS])
def test_a_prompt_made_of_brackets_takes_no_longer_than_others(text: str, config: A1111Config) -> None:
    try:
        check(text, "prompt", A1111_1_10, config)
    except ProviderRejectedError as refused:
        assert len(refused.message) < 300


def test_tags_pass_where_the_owner_lets_them() -> None:
    check("a cat <lora:ink:0.5> <hypernet:anything:1>", "prompt", A1111_1_10, TAGS)


def test_a_lora_that_the_server_would_leave_out_without_a_word_is_refused_even_then() -> None:
    with pytest.raises(ProviderRejectedError, match="there is no LoRA `inc` here; did you mean `ink`") as refused:
        check("a cat <lora:ink:1> <lora:inc:0.5>", "prompt", A1111_1_10, TAGS)
    assert refused.value.param == "prompt"
    with pytest.raises(ProviderRejectedError, match="write `ink`"):
        check("<lora:INK:1>", "prompt", A1111_1_10, TAGS)


def test_tags_never_pass_where_they_have_no_effect() -> None:
    with pytest.raises(ProviderRejectedError, match="use `loras` instead"):
        check("<lora:ink:1>", "prompt", SDCPP, TAGS)


@pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS)
@pytest.mark.parametrize("config", [CONFIG, TAGS])
def test_arguments_in_a_prompt_never_pass(stock: object, config: A1111Config) -> None:
    with pytest.raises(ProviderRejectedError, match="can't hold"):
        check('a <sd_cpp_extra_args>{"seed":1}</sd_cpp_extra_args>', "prompt", stock, config)  # type: ignore[arg-type]


def test_loras_come_by_the_server_s_names() -> None:
    wanted = asked(loras=(Lora("INK", 0.5), Lora("ink.safetensors"), Lora("brush")))
    assert loras(wanted, A1111_1_10) == (("ink", 0.5), ("ink", 1.0), ("brush", 1.0))
    assert loras(asked(loras=(Lora("ink"),)), SDCPP) == (("loras/ink.safetensors", 1.0),)


def test_a_missing_lora_is_named_by_its_place() -> None:
    with pytest.raises(ProviderRejectedError, match="did you mean `brush`") as refused:
        loras(asked(loras=(Lora("ink"), Lora("brusch"))), A1111_1_10)
    assert refused.value.param == "loras[1].name"


def test_two_spellings_of_the_same_lora_are_no_doubt() -> None:
    stock = replace(A1111_1_10, loras={"a/ink.safetensors": "ink", "b/ink.safetensors": "ink"})
    assert loras(asked(loras=(Lora("ink"),)), stock) == (("ink", 1.0),)


@pytest.mark.parametrize("name", ["a:b", "a<b", "a>b", "a=b", ""])
def test_a_name_that_no_tag_can_hold_is_not_written(name: str) -> None:
    assert not is_writable(name)
    stock = replace(A1111_1_10, loras={"odd": name})
    with pytest.raises(ProviderRejectedError):
        loras(asked(loras=(Lora("odd"),)), stock)


@given(
    name=st.text(min_size=1, max_size=20).filter(is_writable),
    weight=st.floats(min_value=-10, max_value=10, allow_nan=False),
)
def test_the_server_reads_our_tags_as_they_are_meant(name: str, weight: float) -> None:
    text = with_loras("a cat", ((name, weight),))
    kind, content = AS_THE_SERVER_READS.findall(text)[0]
    read = content.split(":")
    assert (kind, read[0]) == ("lora", name)
    assert float(read[1]) == pytest.approx(weight, rel=1e-4)
    assert AS_THE_SERVER_READS.sub("", text) == " a cat"


WEB_UIS = [name for name, stock in STOCKS.items() if stock.dialect.loras == "tags"]


@pytest.mark.parametrize("stock", WEB_UIS)
@pytest.mark.parametrize(
    "text", ["(" * 51, "[" * 51, "([" * 26, "(]" * 51, "([)" * 51, "(a) " + "(" * 51, "\\\\(" * 51]
)
def test_brackets_that_the_server_would_try_to_pair_for_minutes_are_refused(stock: str, text: str) -> None:
    with pytest.raises(ProviderRejectedError, match="more than 50 brackets that are never closed") as refused:
        check(text, "negative_prompt", STOCKS[stock], CONFIG)
    assert refused.value.param == "negative_prompt"


@pytest.mark.parametrize("text", ["(a:1.1), " * 101, "[a|b]" * 151, "]" * 301, "a:" * 301, "(" * 151 + ")" * 151])
def test_so_are_closed_ones_beyond_what_anybody_writes(text: str) -> None:
    with pytest.raises(ProviderRejectedError, match="more than 300 brackets and colons"):
        check(text, "prompt", A1111_1_10, CONFIG)
    check(text, "prompt", SDCPP, CONFIG)


@pytest.mark.parametrize("text", ["(" * 50, "(a:1.1), " * 100, "\\(" * 1000, "\\[a\\]" * 1000, ":) :(" * 40])
def test_an_ordinary_number_of_brackets_passes(text: str) -> None:
    check(text, "prompt", A1111_1_10, CONFIG)


@pytest.mark.parametrize("text", ["(" * 2_000_000, "\\" * 2_000_001, "()" * 1_000_000])
def test_counting_brackets_takes_no_longer_than_reading(text: str) -> None:
    try:
        check(text, "prompt", A1111_1_10, CONFIG)
    except ProviderRejectedError as refused:
        assert len(refused.message) < 300


@pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS)
def test_half_a_character_is_no_text(stock: Stock) -> None:
    with pytest.raises(InvalidParameterError, match="surrogate") as refused:
        check("a \ud83d cat", "prompt", stock, CONFIG)
    assert refused.value.param == "prompt"
    check("a \U0001f431 cat", "prompt", stock, CONFIG)
