"""Prompt parsing, and the embeddings against those of the stock pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from imagerouter_diffusers import prompts
from imagerouter_diffusers.prompts import Span, parse


@pytest.mark.parametrize(
    ("prompt", "spans"),
    [
        ("a cat", [Span("a cat")]),
        ("", [Span("")]),
        ("a (cat)", [Span("a "), Span("cat", 1.1)]),
        ("(cat:1.3) here", [Span("cat", 1.3), Span(" here")]),
        ("((cat))", [Span("cat", 1.1 * 1.1)]),
        ("(a (b:2) c:0.5)", [Span("a ", 0.5), Span("b", 2.0), Span(" c", 0.5)]),
        (r"smile \(x\)", [Span("smile (x)")]),
        ("unclosed (cat", [Span("unclosed "), Span("(cat")]),
        ("stray) bracket", [Span("stray) bracket")]),
        ("ratio 16:9 [x]", [Span("ratio 16:9 [x]")]),
        ("(at 12:30)", [Span("at 12", 30.0)]),
        (r"back\slash", [Span(r"back\slash")]),
    ],
)
def test_a_prompt_is_cut_into_weighted_spans(prompt: str, spans: list[Span]) -> None:
    assert parse(prompt) == spans


def test_brackets_are_looked_into_so_deep_and_no_deeper() -> None:
    assert [span.text for span in parse("(" * 5000 + ")" * 5000)] == ["(" * 4950 + ")" * 4950]


@given(some.text(max_size=60))
def test_no_prompt_is_ever_refused(prompt: str) -> None:
    assert parse(prompt)


@given(some.text(alphabet=some.characters(blacklist_characters="()\\"), min_size=1, max_size=60))
def test_text_without_brackets_comes_through_unchanged(prompt: str) -> None:
    assert parse(prompt) == [Span(prompt)]


@pytest.fixture(scope="module")
def pipes(folder: Path) -> dict[str, Any]:
    from diffusers import DiffusionPipeline

    return {name: DiffusionPipeline.from_pretrained(folder / name) for name in ("sd1", "sdxl")}


def encode(pipe: Any, prompt: str, negative: str = "", clip_skip: int | None = None) -> prompts.Embeddings:
    return prompts.encode(pipe, prompt, negative, clip_skip, guided=True)


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_a_short_plain_prompt_gives_what_the_stock_pipeline_computes(pipes: dict[str, Any], name: str) -> None:
    pipe = pipes[name]
    ours = encode(pipe, "a red circle", "fog").arguments()
    options = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
    with torch.no_grad():
        stock = pipe.encode_prompt("a red circle", negative_prompt="fog", **options)
    for mine, theirs in zip(ours.values(), stock, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_the_end_of_a_long_prompt_counts(pipes: dict[str, Any]) -> None:
    long = "abcdefghij " * 20
    one, other = encode(pipes["sd1"], long + "cat").positive, encode(pipes["sd1"], long + "dog").positive
    assert one.shape[1] > 77
    assert one.shape[1] % 77 == 0
    assert not torch.allclose(one, other)


def test_the_shorter_prompt_is_repeated_which_attention_does_not_notice(pipes: dict[str, Any]) -> None:
    made = encode(pipes["sdxl"], "short", "abcdefghij " * 20)
    assert made.positive.shape == made.negative.shape
    assert torch.equal(made.positive[:, :77], made.positive[:, 77:154])
    assert torch.equal(made.positive[:, :77], encode(pipes["sdxl"], "short").positive)


def test_a_short_weighted_piece_is_not_cut_between_two_chunks(pipes: dict[str, Any]) -> None:
    tokenizer = pipes["sd1"].tokenizer
    text = "a " * 73
    whole, cut = (prompts._chunks(tokenizer, parse(text + end)) for end in ("(bcd:1.2)", "bcd"))
    assert [len(chunk) for chunk in whole] == [73, 3]
    assert [len(chunk) for chunk in cut] == [75, 1]


def test_sd2_counts_its_layers_from_the_one_that_its_files_leave_out() -> None:
    from transformers import CLIPTextConfig

    class Encoder:
        config = CLIPTextConfig(num_hidden_layers=23)

    depths = [prompts._layer(skip, Encoder(), is_xl=False).depth for skip in (None, 1, 2, 3)]
    assert depths == [1, 1, 1, 2]


def test_a_weight_moves_a_word_away_from_nothing(pipes: dict[str, Any]) -> None:
    pipe = pipes["sd1"]
    plain, strong = encode(pipe, "cat").positive, encode(pipe, "(cat:1.5)").positive
    empty = encode(pipe, "").positive
    expected = empty + 1.5 * (plain - empty)
    assert torch.allclose(strong[:, 1:4], expected[:, 1:4], atol=1e-5)
    assert torch.equal(strong[:, 0], plain[:, 0])


def test_clip_skip_counts_as_a1111_does(pipes: dict[str, Any]) -> None:
    pipe = pipes["sd1"]
    ids = pipe.tokenizer("cat", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        hidden = pipe.text_encoder(ids, output_hidden_states=True).hidden_states[-2]
        expected = pipe.text_encoder.final_layer_norm(hidden)
    assert torch.allclose(encode(pipe, "cat", clip_skip=2).positive, expected, atol=1e-6)
    assert torch.allclose(encode(pipe, "cat", clip_skip=1).positive, encode(pipe, "cat").positive)


def test_without_guidance_nothing_negative_is_handed_over(pipes: dict[str, Any]) -> None:
    made = prompts.encode(pipes["sdxl"], "cat", "fog", None, guided=False).arguments()
    assert set(made) == {"prompt_embeds", "pooled_prompt_embeds"}
