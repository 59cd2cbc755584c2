"""Which bodies of `/v1/chat/completions` are understood."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.dialects.chat import Asked, markdown, read
from imagerouter.errors import InvalidRequestError
from imagerouter.openai import Call, addresses, decode, interpret
from imagerouter.storage.links import StoredFile, link, parts
from imagerouter.types import Image

PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP436AAAAQhAaBNvzKQAAAAAElFTkSuQmCC"
)
FILE = StoredFile("0123456789abcdef" * 2, "png", 4_000_000_000)
LINK = "https://pictures.example/behind/v1" + link(FILE, b"secret").removeprefix("/v1")
OTHER = "https://example.com/fox.png"

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
address = st.sampled_from([PIXEL, LINK, OTHER, "aGVsbG8=", ""]) | anything
reference = st.fixed_dictionaries({}, optional={"url": address, "image_url": address, "file_id": st.text(max_size=3)})
said = st.lists(
    st.sampled_from(["a fox", "![image](", "![", "](", ")", "]", PIXEL, LINK, OTHER, "\n", " "]), max_size=8
).map("".join)
part = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["text", "input_text", "image_url", "input_image", "refusal"]) | anything,
        "text": said | anything,
        "image_url": address | reference,
    },
)
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool"])},
    optional={
        "content": said | st.lists(part | anything, max_size=3) | anything,
        "images": st.lists(reference | anything, max_size=2) | anything,
    },
)
body = st.fixed_dictionaries(
    {"messages": st.lists(message | anything, max_size=4) | st.lists(message, min_size=1, max_size=4) | anything},
    optional={
        name: anything | st.sampled_from(values)
        for name, values in {
            "modalities": [["image"], ["text"]],
            "stream_options": [{"include_usage": True}],
            "response_format": ["url", {"type": "text"}],
            "image_config": [{"aspect_ratio": "16:9"}, {"image_config": {"steps": 3}}],
            "extra_body": [{"modalities": ["image"], "steps": 2}],
            "images": [[PIXEL]],
            "strict": [True],
        }.items()
    },
)


def understood(sent: dict[str, Any]) -> tuple[Asked, Call]:
    asked = read(sent)
    pictures = dict.fromkeys(addresses(asked.fields).values(), Image(data=b"", media_type="image/png"))
    return asked, interpret(asked.fields, Limits(), pictures=pictures, names=asked.names)


@given(body)
@example({"messages": [{"role": "user", "content": "x", "images": json.loads("[" * 400 + "]" * 400)}]})
def test_any_body_is_a_call_or_refused_with_the_place_of_what_is_wrong(sent: dict[str, Any]) -> None:
    try:
        asked, call = understood(decode(json.dumps(sent).encode()))
    except InvalidRequestError as error:
        assert error.status == 400
    else:
        assert call.job.prompt.strip()
        assert len(call.job.params.get("images", ())) == len(asked.fields.get("images") or ())


@given(said)
def test_text_without_its_pictures_is_what_is_left(text: str) -> None:
    left, found = markdown.split(text)
    assert all(address == LINK or address.startswith(PIXEL[:11]) for address in found)
    if not found:
        assert left == text.strip()


@pytest.mark.parametrize(
    "repeated", ["![", "](", "![](", "![](http://", "![](<data:image/", "![](http://a/v1/files/ ", "("]
)
def test_no_text_takes_long_to_be_searched(repeated: str) -> None:
    for end in ("", "](", ")", "](x)"):
        text = repeated * 100_000 + end
        assert len(markdown.split(text)[1]) <= 1


def test_only_data_urls_and_own_links_of_a_text_are_pictures_to_draw_on() -> None:
    text = f'![a](<{PIXEL}>) and ![b]({LINK} "a fox") but ![c]({OTHER}), [d]({PIXEL}), ![e]({PIXEL}'
    assert markdown.split(text) == (f"and  but ![c]({OTHER}), [d]({PIXEL}), ![e]({PIXEL}", [PIXEL, LINK])
    assert markdown.split("so: " + markdown.picture(LINK)) == ("so:", [LINK])


def test_a_link_is_known_by_its_shape_wherever_it_leads() -> None:
    assert parts(LINK) == (FILE.name, str(FILE.expires), LINK[-43:])
    assert not any(map(parts, (OTHER, LINK[:-1], LINK + "a", LINK.replace("files", "file"))))


def test_pictures_that_the_body_names_itself_count_rather_than_those_of_the_chat() -> None:
    chat = [{"role": "assistant", "images": [{"image_url": {"url": LINK}}]}, {"role": "user", "content": "x"}]
    assert read({"messages": chat}).fields["images"] == [LINK]
    assert read({"messages": chat, "input_image": PIXEL}).fields == {"input_image": PIXEL, "prompt": "x"}
    assert "images" not in read({"messages": chat, "extra_body": {"image": PIXEL}}).fields
    assert read({"messages": chat, "images": None}).fields["images"] == [LINK]
