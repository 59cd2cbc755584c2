"""Pictures are cut out of an answer and not parsed; what comes out is what a parser would have found."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagerouter_openai.answers import Event, PictureList, read
from imagerouter_openai.events import Events

KEYS = st.sampled_from(["b64_json", "url", "data", "error", '"b64_json', '"b64_json":"', "revised_prompt", "x"])
TEXTS = st.one_of(
    st.text(alphabet="ABCxyz0189+/=", max_size=40),
    st.sampled_from(['"b64_json":"AAAA"', '\\"b64_json": "', "a/b", "é", '{"data":[{"b64_json":"', "\n", ""]),
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.dictionaries(KEYS, TEXTS | st.none(), max_size=4)
ANSWERS = st.fixed_dictionaries({"data": st.lists(ITEMS, max_size=3) | st.none()}, optional={"x": ANYTHING, "y": ITEMS})


class Plain(msgspec.Struct):
    b64_json: str | None = None


class Plains(msgspec.Struct):
    data: list[Plain] | None = None


def written(value: Any, spaced: bool, escaped: bool) -> bytes:
    text = json.dumps(value, separators=None if spaced else (",", ":"), ensure_ascii=not escaped)
    return text.replace("a/b", "a\\/b").encode()


@given(value=ANSWERS, spaced=st.booleans(), escaped=st.booleans(), twice=st.booleans())
@example(value={"data": [{"b64_json": "AAAA"}], "y": {"b64_json": "BBBB"}}, spaced=True, escaped=False, twice=False)
@example(value={"data": [{'"b64_json': "AAAA"}]}, spaced=False, escaped=False, twice=True)
def test_what_is_cut_out_is_what_a_full_decode_finds(value, spaced, escaped, twice):
    body = written(value, spaced, escaped)
    if twice:  # of a repeated key the last one counts
        body = b'{"data":[{"b64_json":"FIRST"}],' + body[1:]
    try:
        expected = msgspec.json.decode(body, type=Plains)
        msgspec.json.decode(body, type=PictureList)
    except msgspec.ValidationError:
        with pytest.raises(msgspec.ValidationError):
            read(body, PictureList)
        return
    answer, pictures = read(body, PictureList)
    assert [picture.b64 for picture in pictures] == [
        item.b64_json.encode() for item in expected.data or () if item.b64_json is not None
    ]
    assert len(answer.data or ()) == len(expected.data or ())


def test_what_is_no_json_around_the_pictures_is_refused():
    for body in (b'{"data":[{"b64_json":"AAAA', b'{"data":[{"b64_json":"AAAA"}', b'{"b64_json":"A"}{', b"<html>"):
        with pytest.raises(msgspec.DecodeError):
            read(body, PictureList)


@given(
    events=st.lists(st.text(alphabet='ab:{}" ', min_size=1, max_size=20), max_size=4),
    ending=st.sampled_from(["\n", "\r\n"]),
    cuts=st.lists(st.integers(0, 200), max_size=6),
)
def test_a_stream_says_the_same_however_it_is_cut(events, ending, cuts):
    lines = [f": keepalive{ending}{ending}event: x{ending}data: {text}{ending}{ending}" for text in events]
    stream = "".join(lines).encode() + f"data: [DONE]{ending}{ending}data: cut short".encode()
    places = sorted({0, len(stream), *(place % (len(stream) + 1) for place in cuts)})
    reader = Events()
    found = [data for start, end in pairwise(places) for data in reader.feed(stream[start:end])]
    assert found == [text.encode() for text in events]


def test_an_event_over_several_lines_is_one():
    data = [*Events().feed(b'data: {"type":\ndata: "image_edit.completed",\ndata:"b64_json":"AAAA"}\n\n')]
    event, pictures = read(data[0], Event)
    assert (event.type, [picture.b64 for picture in pictures]) == ("image_edit.completed", [b"AAAA"])
