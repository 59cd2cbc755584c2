"""Whatever a client's own encoder makes of fields and files comes back as it was, however it is cut on the way."""

import json
import string
from typing import Any

import httpx
import msgspec
import openai
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.core.forms import PNG, form, part, read

from imagerouter.errors import InvalidParameterError, InvalidRequestError
from imagerouter.openai.multipart import Form

words = st.text(string.ascii_letters + '_- äß🦊%"\\\r\n', min_size=1, max_size=12)
words = words.filter(lambda word: word.strip() not in ("true", "false", "null"))
"""Texts that stay texts where anything may stand."""
texts = st.text(min_size=1, max_size=40).filter(lambda text: not text.startswith("[object Object]"))
numbers = st.floats(0, 100)
files = st.binary(min_size=1, max_size=300) | st.just(PNG) | st.just(b"\r\n--") | st.just(b"\r\n--limit--\r\n")
cuts = st.lists(st.integers(0, 5000), max_size=12)

scalars: dict[str, st.SearchStrategy[Any]] = {
    "model": texts, "size": texts, "user": texts, "negative_prompt": texts,
    "n": st.integers(), "steps": st.integers(), "seed": st.integers(), "num_inference_steps": st.integers(),
    "cfg_scale": numbers, "denoise": numbers, "stream": st.booleans(), "strict": st.booleans(), "nobody": words,
}  # fmt: skip
nested: dict[str, st.SearchStrategy[Any]] = {
    "models": st.lists(texts.filter(lambda text: text.lstrip()[:1] != "["), min_size=1, max_size=4),
    "loras": st.lists(st.fixed_dictionaries({"name": texts, "weight": numbers}), min_size=1, max_size=4),
    "hires": st.fixed_dictionaries({"scale": numbers}, optional={"steps": st.integers(), "upscaler": texts}),
    "provider": st.fixed_dictionaries(
        {"order": st.lists(texts, min_size=1, max_size=3)},
        optional={
            "sort": st.just("price") | st.just({"by": "latency"}),
            "allow_fallbacks": st.booleans(),
            "max_price": st.just({"image": 0.04}),
            "options": st.dictionaries(
                st.sampled_from(["comfyui", "desk"]),
                st.dictionaries(
                    st.sampled_from(["67", "a b", "ä"]),
                    words | numbers | st.integers(-9, 9) | st.booleans() | st.lists(words, min_size=1, max_size=3),
                    min_size=1,
                ),
                min_size=1,
            ),
        },
    ),
    "tags": st.lists(words, min_size=1, max_size=3),
}
bodies = st.fixed_dictionaries({"prompt": texts}, optional={**scalars, **nested})


class Recorder:
    """Stands where a client's connection would, and keeps what it is to send."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []

    def handle_request(self, request: Any) -> Any:
        self.sent.append((request.read(), request.headers["content-type"]))
        raise OSError("there is no network here")

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None: ...


recorder = Recorder()
client = openai.OpenAI(
    api_key="none",
    base_url="http://127.0.0.1:9/v1",
    max_retries=0,
    http_client=openai.DefaultHttpxClient(transport=recorder),
)


def same(read: Form, fields: dict[str, Any], pictures: list[bytes]) -> None:
    """Types count: 1, 1.0 and true are three values."""
    assert msgspec.json.encode(read.fields, order="sorted") == msgspec.json.encode(fields, order="sorted")
    assert [picture.data for picture in read.pictures.values()] == pictures


@settings(deadline=None)
@given(body=bodies, images=st.lists(files, min_size=1, max_size=3), mask=st.none() | files, at=cuts)
async def test_what_the_openai_sdk_serializes_comes_back(body, images, mask, at):
    fields = dict(body)
    prompt = fields.pop("prompt")
    named = [("fox.png", image) for image in images]
    with pytest.raises((OSError, openai.APIConnectionError)):
        client.images.edit(
            prompt=prompt,
            image=named[0] if len(images) == 1 else named,
            extra_body=fields,
            **({} if mask is None else {"mask": ("mask.png", mask)}),
        )
    got = await read(*recorder.sent.pop(), cuts=at)
    body["images"] = [f"upload:{index}" for index in range(len(images))]
    if mask is not None:
        body["mask"] = f"upload:{len(images)}"
    same(got, body, [*images, *([] if mask is None else [mask])])


def flattened(body: dict[str, Any]) -> dict[str, Any]:
    """As somebody writes a form by hand: lists repeat their name, objects are JSON."""
    return {key: json.dumps(value) if key in ("loras", "hires", "provider") else value for key, value in body.items()}


@settings(deadline=None)
@given(body=bodies, images=st.lists(st.tuples(files, texts), min_size=1, max_size=3), at=cuts)
async def test_what_httpx_encodes_comes_back(body, images, at):
    assume(len(body.get("tags", "ab")) > 1)  # a list of one is a value here, and nobody knows this field
    named = [("image", (name, data)) for data, name in images]
    request = httpx.Request("POST", "http://127.0.0.1:9", data=flattened(body), files=named)
    got = await read(request.read(), request.headers["content-type"], cuts=at)
    body["images"] = [f"upload:{index}" for index in range(len(images))]
    same(got, body, [data for data, _ in images])


loras = st.lists(
    st.dictionaries(st.sampled_from(["name", "weight", "other"]), st.sampled_from("abc"), min_size=1),
    min_size=1,
    max_size=4,
).filter(lambda objects: all("name" in each for each in objects))


@given(objects=loras, key_by_key=st.booleans())
async def test_objects_in_brackets_come_back_or_are_refused_and_never_mixed_up(objects, key_by_key):
    sent = [(f"nobody[][{key}]", value) for each in objects for key, value in each.items()]
    if key_by_key:
        order = list(dict.fromkeys(name for name, _ in sent))
        sent.sort(key=lambda pair: order.index(pair[0]))
    body = form(*(part(name, value) for name, value in sent))
    if len({frozenset(each) for each in objects}) == 1:
        assert (await read(body)).fields == {"nobody": objects}
        return
    with pytest.raises(InvalidParameterError, match="ambiguous"):
        await read(body)


@given(objects=loras, order=st.randoms())
async def test_objects_with_indices_always_come_back(objects, order):
    sent = [(f"loras[{i}][{key}]", value) for i, each in enumerate(objects) for key, value in each.items()]
    order.shuffle(sent)
    assert (await read(form(*(part(name, value) for name, value in sent)))).fields == {"loras": objects}


snippets = [
    b"--limit", b"--", b"\r\n", b"\n", b"limit", b'Content-Disposition: form-data; name="', b"n", b"image[]", b'"',
    b"; filename=", b":", b"\xff", b"1", b"[", b"]", b"Content-Length: 3", PNG,
]  # fmt: skip


@given(rest=st.binary(max_size=200) | st.lists(st.sampled_from(snippets), max_size=40).map(b"".join), at=cuts)
async def test_anything_else_is_a_form_or_an_error_whatever_the_cuts(rest, at):
    async def outcome(cuts: list[int]) -> Any:
        try:
            got = await read(b"--limit\r\n" + rest, cuts=cuts)
        except InvalidRequestError as error:
            return type(error), error.param
        return got.fields, [picture.data for picture in got.pictures.values()]

    assert await outcome(at) == await outcome([])


names = st.lists(st.sampled_from(["n", "loras", "images", "provider", "x", "[", "]", "[]", "[0]", "[name]", "[order]"]))
values = st.sampled_from(["", "1", "a", "{", "[", "{}", "[]", "null", "[1]", '{"a": 1}', "true", "1e999"])


@given(sent=st.lists(st.tuples(names.map("".join), values), max_size=8))
async def test_any_names_and_texts_are_fields_or_an_error_about_one_of_them(sent):
    sent = [(name, value) for name, value in sent if name]
    try:
        got = await read(form(*(part(name, value) for name, value in sent)))
    except InvalidParameterError as error:
        assert error.param is not None
    else:
        assert all(value is not None for value in got.fields.values())
