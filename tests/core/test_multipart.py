"""What a form becomes, from clients as they are and from those that mean no good."""

import tracemalloc
from typing import Any

import pybase64
import pytest
from tests.core.forms import CAPTURED, HAND_MADE, PNG, Captured, fields, form, part, read, refusal

from imagerouter.config import Limits
from imagerouter.errors import InvalidRequestError, RequestTooLargeError
from imagerouter.jobs import Job
from imagerouter.openai import Door, interpret
from imagerouter.openai.multipart import MOST_PARTS, Form, read_form
from imagerouter.types import Lora

OTTER = "A cute baby sea otter wearing a beret"
ALL_OF_VARIATION = {"n": 1, "response_format": "url", "size": "1024x1024", "user": "user-1234"}
ALL_OF_EDIT = {
    "prompt": OTTER, "background": "transparent", "input_fidelity": "high", "n": 1, "output_compression": 100,
    "output_format": "png", "partial_images": 1, "quality": "high", "response_format": "url", "stream": False,
    "user": "user-1234", "images": ["upload:0"],
}  # fmt: skip
LORAS = [{"name": "a", "weight": 0.5}, {"name": "b", "weight": 1}]
ONE, TWO = ["upload:0"], ["upload:0", "upload:1"]

SENT: dict[str, dict[str, Any]] = {
    "ai-openai-compatible:edit_dataurl": {"model": "kontext", "prompt": "t", "images": ONE, "n": 1},
    "ai-openai-compatible:edit_two": {"model": "kontext", "prompt": "make blue", "images": TWO, "n": 1},
    "ai-openai:edit": {
        "model": "sdxl", "prompt": "t", "images": TWO, "mask": "upload:2", "n": 1, "input_fidelity": "high",
    },
    "openai-node:edit_all_params": {**ALL_OF_EDIT, "mask": "upload:1", "model": "gpt-image-2", "size": "256x256"},
    "openai-node:edit_array": {
        "prompt": "p", "seed": 1, "strength": 0.6, "flag": True, "images": TWO, "tags": ["p", "q"], "loras": LORAS,
    },
    "openai-node:edit_required_params": {"images": ONE, "prompt": OTTER},
    "openai-node:edit_single": {"images": ONE, "mask": "upload:1", "prompt": "p", "model": "m", "n": 1},
    "openai-node:variation": {"images": ONE, "n": 1},
    "openai-node:variation_all_params": {**ALL_OF_VARIATION, "images": ONE, "model": "gpt-image-1"},
    "openai-node:variation_required_params": {"images": ONE},
    "openai-python:edit_all_params": {
        **ALL_OF_EDIT, "mask": "upload:2", "markup": "upload:1", "model": "gpt-image-1.5", "size": "1024x1024",
        "complexity": "low", "frame_count": 2, "frame_duration_ms": 20, "safety_identifier": "user-1234",
        "svg": {"model": "x", "reasoning": {"effort": "none"}},
    },
    "openai-python:edit_extra_body_nested": {
        "prompt": "make it blue", "model": "flux-kontext", "negative_prompt": "x", "strength": 0.6, "steps": 12,
        "flag": True, "loras": LORAS, "tags": ["p", "q"], "obj": {"k": "v"}, "images": ONE,
    },
    "openai-python:edit_list1": {"prompt": "make it blue", "model": "flux-kontext", "images": ONE},
    "openai-python:edit_list2": {"prompt": "make it blue", "model": "flux-kontext", "images": TWO},
    "openai-python:edit_required_params": {"prompt": OTTER, "images": ONE},
    "openai-python:edit_single_bytesio_named": {"prompt": "p", "images": ONE},
    "openai-python:edit_single_tuple": {
        "prompt": "make it blue", "model": "flux-kontext", "n": 1, "images": ONE, "mask": "upload:1",
    },
    "openai-python:edit_stream": {"prompt": "p", "partial_images": 2, "stream": True, "images": ONE},
    "openai-python:edit_stream_required_params": {"prompt": OTTER, "stream": True, "images": ONE},
    "openai-python:variation": {"n": 2, "images": ONE},
    "openai-python:variation_all_params": {**ALL_OF_VARIATION, "images": ONE, "model": "gpt-image-1.5"},
    "openai-python:variation_required_params": {"images": ONE},
}  # fmt: skip


def job_of(sent: Captured, got: Form) -> Job:
    door = Door.EDIT if sent.path.endswith("/edits") else Door.VARIATION
    return interpret(got.fields, Limits(), door=door, pictures=got.pictures).job


@pytest.mark.parametrize("client", SENT)
async def test_what_a_real_client_sends_is_understood(client):
    sent = CAPTURED[client]
    assert len(sent.body) == sent.length
    whole = await read(sent.body, sent.content_type)
    assert whole.fields == SENT[client]
    assert {picture.data for picture in whole.pictures.values()} <= {PNG, b"Example data"}
    in_crumbs = await read(sent.body, sent.content_type, cuts=range(0, len(sent.body), 3))
    assert in_crumbs.fields == whole.fields
    params = job_of(sent, whole).params
    assert params["images"] == tuple(whole.pictures[key] for key in whole.fields["images"])
    assert params.get("mask") is whole.pictures.get(whole.fields.get("mask", ""))


def test_no_captured_form_is_left_out():
    assert CAPTURED.keys() - SENT.keys() == {"ai-openai-compatible:edit"}  # refused: it holds an `[object Object]`


async def test_an_edit_of_the_python_sdk_is_the_same_job_as_its_json():
    sent = CAPTURED["openai-python:edit_extra_body_nested"]
    job = job_of(sent, await read(sent.body, sent.content_type))
    assert job.params["loras"] == (Lora("a", 0.5), Lora("b", 1.0))
    assert (job.prompt, job.model, job.params["negative_prompt"]) == ("make it blue", "flux-kontext", "x")
    assert (job.params["steps"], job.params["strength"]) == (12, 0.6)


async def test_what_a_part_is_depends_on_its_field_and_not_on_its_filename():
    got = await read(
        form(
            part("image", PNG, "Content-Type: text/plain"),
            part("prompt", "a fox", "Content-Type: application/octet-stream", filename="prompt.txt"),
            part("mask", "aGVsbG8="),
        )
    )
    assert got.fields == {"images": ["upload:0"], "prompt": "a fox", "mask": "aGVsbG8="}
    assert got.pictures.keys() == {"upload:0"}


async def test_pictures_may_be_base64_or_addresses():
    texts = ["data:image/png;base64,aGVs", "https://example.com/a.png", "A" * 400_000]
    assert (await fields(*(part("image[]", text) for text in texts)))["images"] == texts
    assert (await fields(part("images", '["https://a.test/", "https://b.test/"]')))["images"] == [
        "https://a.test/", "https://b.test/",
    ]  # fmt: skip
    reference = part("images[0][image_url]", "https://a.test/")
    assert (await fields(reference))["images"] == [{"image_url": "https://a.test/"}]


async def test_a_picture_that_its_client_encoded_as_base64_is_taken_as_such():
    lines = pybase64.encodebytes(PNG)
    got = await read(form(part("image", lines, "Content-Transfer-Encoding: BASE64", filename="a.png")))
    assert not got.pictures
    [picture] = interpret({"prompt": "p", **got.fields}, Limits()).job.params["images"]
    assert picture.data == PNG


@pytest.mark.parametrize(("name", "encoding"), [("prompt", "base64"), ("image", "quoted-printable"), ("n", "x-uue")])
async def test_other_encodings_of_a_part_are_refused(name, encoding):
    error = await refusal(form(part(name, "YQ==", f"Content-Transfer-Encoding: {encoding}")))
    assert (error.param, encoding in error.message) == (name, True)


async def test_an_empty_file_is_refused_by_name():
    assert (await refusal(form(part("image[]", b"", filename="fox.png")))).param == "image"


async def test_a_file_that_nobody_knows_stays_a_file():
    got = await read(form(part("markup", PNG, filename="m.png")))
    assert got.fields == {"markup": "upload:0"}
    mail = b"Content-Disposition: form-data; name=markup; filename*=UTF-8''%e2%82%ac.png\r\n\r\n" + PNG
    assert (await read(form(mail))).pictures["upload:0"].data == PNG


async def test_a_form_may_have_no_file_and_no_part_at_all():
    assert await read(form(part("prompt", "a fox"))) == Form({"prompt": "a fox"}, {})
    assert await read(form()) == Form({}, {})


async def test_texts_in_older_character_sets_are_read():
    latin = part("prompt", "Füchse".encode("latin1"), "Content-Type: text/plain; charset=ISO-8859-1")
    assert await fields(latin) == {"prompt": "Füchse"}


@pytest.mark.parametrize("headers", [(), ("Content-Type: text/plain; charset=us-ascii",)])
async def test_bytes_that_are_no_text_are_refused_by_name(headers):
    assert (await refusal(form(part("prompt", b"\xff\xfe", *headers)))).param == "prompt"
    odd = part("prompt", "a", "Content-Type: text/plain; charset=punycode")
    assert "punycode" in (await refusal(form(odd))).message


async def test_what_stands_before_and_after_the_form_is_no_part_of_it():
    body = b"To whom it may concern\r\n" + form(part("prompt", "a fox")) + b"--limit\r\nthe end" * 100
    assert (await read(body, cuts=range(0, len(body), 5))).fields == {"prompt": "a fox"}


@pytest.mark.parametrize(
    "content_type", ["multipart/form-data; Boundary=limit", 'Multipart/Form-Data;charset=utf-8; boundary="limit"']
)
async def test_the_header_may_be_spelled_in_other_ways(content_type):
    assert (await read(form(part("n", "1")), content_type)).fields == {"n": 1}


WHOLE = form(part("prompt", "a fox"), part("image", PNG, filename="fox.png"))


@pytest.mark.parametrize(
    ("body", "content_type", "told"),
    [
        (WHOLE, "multipart/form-data", "no `boundary`"),
        (WHOLE, "multipart/form-data; boundary=", "no `boundary`"),
        (WHOLE, "multipart/form-data; boundary=LIMIT", "isn't in it"),
        (WHOLE, "multipart/mixed; boundary=limit", "multipart/mixed"),
        (WHOLE, "", "multipart/form-data"),
        (b"", HAND_MADE, "isn't in it"),
        (WHOLE.removesuffix(b"--\r\n"), HAND_MADE, "last boundary"),
        (WHOLE[:-40], HAND_MADE, "last boundary"),
        (WHOLE.replace(b"\r\n", b"\n"), HAND_MADE, "line break"),
        (b'{"prompt": "a fox"}', HAND_MADE, "isn't in it"),
        (b"--limit\r\n\r\na fox\r\n--limit--", HAND_MADE, "Content-Disposition"),
        (b"--limit\r\nContent-Disposition: form-data\r\n\r\na fox\r\n--limit--", HAND_MADE, "no name"),
        (form(part("", "a fox")), HAND_MADE, "no name"),
        (b"--limit\r\nContent-Disposition: form-data; name=\xff\r\n\r\na\r\n--limit--", HAND_MADE, "decode"),
        (form(part("n", "1", "X: " + "x" * 5000)), HAND_MADE, "length"),
        (b"--limit\r\nX: " + b"x" * 100_000, HAND_MADE, "length"),
        (form(part("n", "1", *["X: y"] * 100)), HAND_MADE, "count"),
        (form(part("n", "1", "Content-Length: 5")), HAND_MADE, "Content-Length"),
        (form(*[part("n", "1")] * 10_000), HAND_MADE, f"more than {MOST_PARTS} parts"),
    ],
)
async def test_a_broken_form_is_refused_as_a_whole(body, content_type, told):
    for cuts in ((), range(0, len(body), 1000)):
        with pytest.raises(InvalidRequestError) as caught:
            await read(body, content_type, cuts=cuts)
        assert type(caught.value) is InvalidRequestError
        assert told in caught.value.message


async def test_a_text_may_be_as_long_as_a_prompt_and_not_as_a_picture():
    assert (await fields(part("prompt", "\U0001f98a" * 32_000)))["prompt"] == "\U0001f98a" * 32_000
    for name in ("prompt", "provider", "nobody_knows_it", "loras[][name]"):
        error = await refusal(form(part(name, "x" * 130_000)))
        assert error.param == name.partition("[")[0]
    assert (await refusal(form(part("prompt", "x" * 30_000_000)))).param == "prompt"


async def test_a_body_beyond_the_limit_is_not_read_to_its_end():
    asked = 0

    async def endless():
        nonlocal asked
        yield b"--limit\r\n" + part("image", PNG, filename="a")
        while True:
            asked += 1
            yield bytes(1000)

    with pytest.raises(RequestTooLargeError, match=r"limits\.max_body"):
        await read_form(endless(), HAND_MADE, Limits(max_body=50_000))
    assert asked == 50


async def test_a_file_is_kept_once_and_its_text_never():
    pictures = [bytes([index]) * 1_000_000 for index in range(4)]
    body = form(*(part("image[]", picture, filename="a") for picture in pictures))

    async def pieces():
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    tracemalloc.start()
    try:
        got = await read_form(pieces(), HAND_MADE, Limits())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [picture.data for picture in got.pictures.values()] == pictures
    assert most < 1.3 * len(body)
