"""A model that knows few words reads others as the nearest one that it knows, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter import ImageRequest
from imagerouter_diffusers import vocabulary
from imagerouter_diffusers.discovery import BUILTIN_FOLDER

WORDS = vocabulary.of(BUILTIN_FOLDER)
assert WORDS is not None


def read(prompt: str) -> tuple[str, tuple[str, ...]]:
    request, notes = WORDS.understood(ImageRequest(model="builtin", prompt=prompt, seed=1))
    return request.prompt, notes


@pytest.mark.parametrize(
    ("prompt", "understood", "told"),
    [
        ("a red circle on a blue background", "a red circle on a blue background", ""),
        ("A maroon sphere", "A red circle", "read `maroon` as `red`, `sphere` as `circle`"),
        ("a red cirlce", "a red circle", "read `cirlce` as `circle`"),
        ("a (giant:1.3) square", "a (large:1.3) square", "read `giant` as `large`"),
        ("a zebra, please", "a , ", "left out words that this model doesn't know: `zebra`"),
        ("the very sea", "the  sea", ""),
        ("zebra ZEBRA zebra", "  ", "left out words that this model doesn't know: `zebra`"),
    ],
)
def test_other_words_become_the_nearest_known_one(prompt: str, understood: str, told: str) -> None:
    assert read(prompt) == (understood, (told,) if told else ())


def test_a_long_list_of_unknown_words_is_cut_short() -> None:
    _, notes = read(" ".join(f"qx{letter}zz" for letter in "abcdefghijkl"))
    assert notes[0].endswith("`qxhzz` and 4 more")


@given(st.text(max_size=200))
def test_any_text_is_understood_to_something_that_needs_no_second_reading(text: str) -> None:
    once, _ = read(text)
    assert read(once) == (once, ())


def test_every_replacement_is_a_word_that_the_model_knows() -> None:
    assert set(WORDS.means.values()) <= WORDS.known | {""}
    assert not WORDS.means.keys() & WORDS.known


async def test_the_reply_says_what_was_read_otherwise_and_the_picture_is_that_of_the_known_words(studio: Any) -> None:
    size = {"width": 64, "height": 64}
    told = await studio.draw("builtin", prompt="a scarlet sphere on zebra", negative_prompt="navy", **size)
    assert told.notes == (
        "read `sphere` as `circle`, `navy` as `blue`",
        "left out words that this model doesn't know: `zebra`",
    )
    plain = await studio.draw("builtin", prompt="a scarlet circle on ", negative_prompt="blue", **size)
    assert plain.notes == ()
    assert plain.images[0].data == told.images[0].data


async def test_models_without_a_list_of_words_take_all_of_them(studio: Any) -> None:
    assert (await studio.draw("sd1", prompt="a zebra", width=64, height=64)).notes == ()


def test_the_list_stands_beside_the_weights_and_is_read_once() -> None:
    told = json.loads((Path(BUILTIN_FOLDER) / vocabulary.FILE).read_text())
    assert set(told) == {"known", "means"}
    assert vocabulary.of(BUILTIN_FOLDER) is WORDS
