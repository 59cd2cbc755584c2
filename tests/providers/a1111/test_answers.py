"""What is read out of the servers' answers."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.a1111.orders_of import FOLDER, INK, SUB, answer

from imagerouter import ImageRouterError, ProviderResponseError
from imagerouter_a1111.recipe import Checkpoint
from imagerouter_a1111.sdapi.answers import NoPictureError, Told, is_checkpoint, read


def png(content: str) -> str:
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + content.encode()).decode()


JPEG = base64.b64encode(b"\xff\xd8\xff\xe0 a jpeg").decode()
WEBP = base64.b64encode(b"RIFF\0\0\0\0WEBP a webp").decode()
WEBUI = {
    "all_seeds": [42, 43],
    "sd_model_name": "ink",
    "sd_model_hash": "6da5305858",
    "index_of_first_image": 0,
    "infotexts": ["a fox\nSteps: 2, Model hash: 6da5305858, Model: ink, Version: 1.7.0"],
}


def told(images: Any, info: Any = WEBUI, *, count: int = 1, **more: Any) -> Told:
    text = info if isinstance(info, str) else json.dumps(info)
    return read(
        answer({"images": images, "parameters": {"prompt": "a fox"}, "info": text} | more), count=count, provider="p"
    )


def pictures(found: Told) -> list[str]:
    return [image.b64.decode() for image in found.images]


def test_pictures_pass_through_as_they_came_in_the_order_of_their_seeds() -> None:
    found = told([png("a"), png("b")], count=2)
    assert pictures(found) == [png("a"), png("b")]
    assert (found.checkpoint, found.hash, found.seeds) == ("ink", "6da5305858", (42, 43))
    assert all("b64=" in repr(image) for image in found.images)  # never decoded


@pytest.mark.parametrize(("b64", "kind"), [(png(""), "image/png"), (JPEG, "image/jpeg"), (WEBP, "image/webp")])
def test_the_format_is_the_pictures_own(b64: str, kind: str) -> None:
    assert told([b64]).images[0].media_type == kind


def test_a_grid_before_the_pictures_is_left_out() -> None:
    grid = WEBUI | {"index_of_first_image": 1}
    assert pictures(told([png("grid"), png("a"), png("b")], grid, count=2)) == [png("a"), png("b")]


def test_what_extensions_add_at_the_end_is_left_out() -> None:
    assert pictures(told([png("a"), png("map")])) == [png("a")]


def test_addresses_with_data_and_escaped_slashes_are_understood() -> None:
    body = json.dumps({"images": [f"data:image/jpeg;base64,{JPEG}", JPEG], "info": ""}).replace("/", "\\/")
    assert pictures(read(answer(body.encode()), count=2, provider="p")) == [JPEG, JPEG]


@pytest.mark.parametrize("info", ["", "null", "{}", "[1]", "no json", '{"all_seeds": 4, "infotexts": [1]}'])
def test_an_answer_without_usable_info_still_has_its_pictures(info: str) -> None:
    found = told([png("a")], info)
    assert (pictures(found), found.checkpoint, found.hash, found.seeds) == ([png("a")], "", "", ())


@pytest.mark.parametrize(
    "body", [b'{"info": null}', b'{"images": null}', b'{"images": []}', b'{"images": [""], "info": ""}']
)
def test_success_without_a_picture_is_a_failure_of_its_own_kind(body: bytes) -> None:
    with pytest.raises(NoPictureError, match="provider `p` returned no picture"):
        read(answer(body), count=1, provider="p")


def test_an_interrupted_job_returns_fewer_pictures_and_that_is_said() -> None:
    with pytest.raises(ProviderResponseError, match="returned 2 images instead of 4") as caught:
        told([png("a"), png("b")], count=4)
    assert not isinstance(caught.value, NoPictureError)


@pytest.mark.parametrize(
    "image", ["aGVsbG8gdGhlcmUgYWdhaW4=", "data:,", "\u20ac\u20ac", None, 5, {"a": 1}, "data:image/png;base64,"]
)
def test_what_is_no_picture_is_never_passed_on(image: Any) -> None:
    with pytest.raises(ProviderResponseError):
        told([image])


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b'{"images": "a"}', b'{"images": ["a"'])
def test_an_answer_of_another_shape_cant_be_understood(body: bytes) -> None:
    with pytest.raises(ProviderResponseError, match="can't be understood"):
        read(answer(body), count=1, provider="p")


@settings(max_examples=40)
@given(
    st.binary(max_size=60)
    | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(
        lambda x: json.dumps({"images": x, "info": x}).encode()
    )
)
def test_nothing_but_our_own_errors_comes_out_of_any_body(body: bytes) -> None:
    with suppress(ImageRouterError):
        assert read(answer(body), count=1, provider="p").images


# Checkpoints


def test_sd_next_tells_the_checkpoint_in_the_last_line_of_its_text() -> None:
    text = "a fox, Model: liar\nNegative prompt: Model: liar\nSteps: 2, App: SD.Next, Model: sdA, Operations: txt2img"
    assert told([png("a")], {"sd_model_hash": None, "infotexts": [text]}).checkpoint == "sdA"


def test_stable_diffusion_cpp_tells_the_file() -> None:
    assert told([png("a")], {"sd_model_name": "ink.safetensors"}).checkpoint == "ink.safetensors"


COMMA = Checkpoint("ink, v1: new", "ink, v1: new", "ink, v1: new.safetensors")


@pytest.mark.parametrize(
    ("name", "digits", "checkpoint", "expected"),
    [
        ("ink", "6da5305858", INK, True),
        ("ink", "ffffffffff", INK, False),
        ("renamed", "6DA53058", INK, True),
        ("ink", "", INK, True),
        ("INK.safetensors", "", INK, True),
        ("other", "", INK, False),
        ("", "", INK, None),
        ("", "6da5305858", SUB, None),
        ("oil", "0123456789", SUB, True),
        ("sub_oil", "", SUB, True),
        ("sub\\oil.safetensors", "", SUB, True),
        ("ink", "0123456789", SUB, False),
        ("sdA", "", FOLDER, True),
        ("Diffusers/tiny/sdA", "", FOLDER, True),
        ("sdB", "", FOLDER, False),
        ("ink v1 new", "", COMMA, True),
    ],
)
def test_hash_or_else_name_prove_the_checkpoint(
    name: str, digits: str, checkpoint: Checkpoint, expected: bool | None
) -> None:
    assert is_checkpoint(Told((), name, digits, ()), checkpoint) is expected
