"""``POST /v1/chat/completions``, as OpenAI's SDK and the pages that people chat in use it."""

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import openai
import pytest
from openai.types.chat import ChatCompletion
from openrouter import errors
from tests.http.test_edits import file, url_of
from tests.http.test_openrouter import client

from imagerouter.app.chat_answers import CHUNKS
from imagerouter.app.chat_answers import ChatCompletion as Described
from imagerouter.errors import GenerationError

FOX = [{"role": "user", "content": "a fox"}]
PICTURES: dict[str, Any] = {"modalities": ["image", "text"]}
GATED = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}"

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"messages": None}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["a fox"]}, "messages[0]"),
    ({"messages": [{"content": "a fox"}]}, "messages[0]"),
    ({"messages": [{"role": "system", "content": "draw"}]}, "messages"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": " "}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": ["a fox"]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0]"),
    ({"messages": [{"role": "user", "content": "x" * 40_000}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "images": {}}]}, "messages[0].images"),
    ({"messages": [{"role": "assistant", "content": [{"type": "image_url"}]}, *FOX]}, "messages[0].content[0]"),
    ({"messages": [{"role": "assistant", "images": ["aGVsbG8="]}, *FOX]}, "messages[0].images[0]"),
    ({"modalities": ["text", "audio"]}, "modalities"),
    ({"modalities": "image"}, "modalities"),
    ({"stream_options": {"include_usage": "yes"}}, "stream_options"),
    ({"response_format": "png"}, "response_format"),
    ({"image_config": {"aspect_ratio": "wide"}}, "image_config.aspect_ratio"),
    ({"stream": "yes"}, "stream"),
]


@pytest.fixture
async def chat(start: Any, tmp_path: Path) -> Any:
    """A server that keeps its pictures in a folder of the test's."""
    running = await start(f"results: {{url: {tmp_path}}}\nlimits: {{max_n: 4}}")
    running.strict = running.sdk.with_options(_extra_kwargs={"_strict_response_validation": True})
    return running


async def ask(running: Any, messages: Any = FOX, **more: Any) -> ChatCompletion:
    """An answer that the SDK and the OpenAPI document agree with."""
    reply = await running.strict.chat.completions.create(model="fake", messages=messages, **more)
    assert isinstance(reply, ChatCompletion)
    told = json.loads(reply.model_dump_json(exclude_unset=True))
    assert json.loads(msgspec.json.encode(msgspec.convert(told, Described))) == told
    return reply


async def stream(running: Any, messages: Any = FOX, **more: Any) -> list[Any]:
    create = running.strict.chat.completions.create
    return [chunk async for chunk in await create(model="fake", messages=messages, stream=True, **more)]


async def post(running: Any, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    reply: httpx.Response = await running.http.post(path, json={"messages": FOX, **body})
    return reply


def picture(message: Any) -> bytes:
    """The one picture of a message, or of what a chunk adds to it."""
    (image,) = message.images
    head, _, data = image["image_url"]["url"].partition(",")
    assert (image["type"], head) == ("image_url", "data:image/png;base64")
    return base64.b64decode(data)


def links(text: str) -> list[str]:
    return [part.partition(")")[0] for part in text.split("![image](")[1:]]


async def test_a_client_that_expects_pictures_gets_data_urls_beside_the_text(chat: Any) -> None:
    reply = await ask(chat, **PICTURES, seed=7, extra_body={"steps": 2, "image_config": {"aspect_ratio": "2:1"}})
    plain = await chat.draw(seed=7, steps=2, aspect_ratio="2:1")
    (choice,) = reply.choices
    assert picture(choice.message) == base64.b64decode(plain.json()["data"][0]["b64_json"])
    assert (choice.message.content, choice.finish_reason, choice.seed) == ("", "stop", 7)
    assert (reply.id, reply.model) == (reply.imagerouter["id"], "fake")
    assert (reply.usage.total_tokens, reply.usage.cost, reply.imagerouter["ignored"]) == (0, 0, [])


async def test_the_stream_tells_role_picture_end_and_usage(chat: Any) -> None:
    chunks = await stream(chat, **PICTURES, seed=7, n=2, stream_options={"include_usage": True})
    begin, one, two, end, usage = chunks
    assert [choice.delta.role for choice in begin.choices] == ["assistant", "assistant"]
    whole = await ask(chat, **PICTURES, seed=7, n=2)
    for index, chunk in enumerate((one, two)):
        assert [(choice.index, choice.seed) for choice in chunk.choices] == [(index, 7 + index)]
        assert picture(chunk.choices[0].delta) == picture(whole.choices[index].message)
    assert [choice.finish_reason for choice in end.choices] == ["stop", "stop"]
    assert end.imagerouter["id"] == chunks[0].id
    assert (usage.choices, usage.usage.cost) == ([], 0)
    assert {(chunk.id, chunk.object, chunk.model) for chunk in chunks} == {(begin.id, "chat.completion.chunk", "fake")}


async def test_a_stream_is_written_as_described_and_ends_with_a_word(chat: Any) -> None:
    reply = await post(chat, stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    *lines, done = [line.removeprefix("data: ") for line in reply.text.splitlines() if line]
    assert done == "[DONE]"
    for told in map(json.loads, lines):
        assert json.loads(msgspec.json.encode(msgspec.convert(told, CHUNKS[0]))) == told
    assert reply.headers["x-imagerouter-job"] == json.loads(lines[0])["id"]
    assert json.loads(lines[-1])["usage"]["cost"] == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_only_reads_text_gets_a_link_and_edits_by_sending_it_back(
    chat: Any, streamed: bool
) -> None:
    if streamed:
        deltas = [chunk.choices[0].delta for chunk in await stream(chat)]
        assert not any(hasattr(delta, "images") for delta in deltas)
        said = "".join(delta.content or "" for delta in deltas)
    else:
        message = (await ask(chat)).choices[0].message
        assert not hasattr(message, "images")
        said = message.content
    (url,) = links(said)
    drawn = await chat.http.get(url)
    history = [*FOX, {"role": "assistant", "content": said}, {"role": "user", "content": "now in snow"}]
    await ask(chat, history)
    request = chat.fake().requests[-1]
    assert request.prompt == "now in snow"
    assert [image.data for image in request.images] == [drawn.content]


async def test_a_picture_of_an_earlier_message_is_what_the_next_turn_draws_on(chat: Any) -> None:
    first = (await ask(chat, **PICTURES)).choices[0].message
    history = [*FOX, first.model_dump(), {"role": "user", "content": [{"type": "text", "text": "now in snow"}]}]
    second = (await ask(chat, history, **PICTURES)).choices[0].message
    request = chat.fake().requests[-1]
    assert (request.prompt, [image.data for image in request.images]) == ("now in snow", [picture(first)])
    assert picture(second) != picture(first)


async def test_a_message_may_bring_its_own_pictures_in_every_spelling(chat: Any) -> None:
    pictures = [file(colour) for colour in ("red", "green", "blue", "white")]
    red, green, blue, white = map(url_of, pictures)
    parts = [
        {"type": "text", "text": f"a fox\n![one]({red})"},
        {"type": "image_url", "image_url": {"url": green, "detail": "high"}},
        {"type": "input_image", "image_url": blue},
        {"type": "input_text", "text": "in snow"},
    ]
    earlier = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": white}}]}
    await ask(chat, [earlier, {"role": "user", "content": parts, "images": [{"image_url": {"url": red}}]}])
    request = chat.fake().requests[-1]
    assert request.prompt == "a fox\nin snow"
    assert [image.data for image in request.images] == pictures[:3]


async def test_links_are_good_for_the_images_routes_too_until_they_expire(start: Any, tmp_path: Path) -> None:
    running = await start(f"results: {{url: {tmp_path}}}")
    url = (await running.draw(response_format="url")).json()["data"][0]["url"]
    body = {"prompt": "a fox", "image": url.replace(running.server.url, "https://another.name/behind/a/proxy")}
    assert (await running.http.post("/v1/images/edits", json=body)).status_code == 200
    changed = await running.http.post("/v1/images/edits", json={**body, "image": url[:-4] + "AAAA"})
    assert (changed.status_code, changed.json()["error"]["param"]) == (400, "image")
    for stored in await asyncio.to_thread(lambda: list(tmp_path.glob("*.png"))):
        await asyncio.to_thread(stored.unlink)
    gone = await running.http.post("/v1/images/edits", json=body)
    history = [{"role": "assistant", "content": f"![image]({url})"}, *FOX]
    for reply, place in ((gone, "image"), (await post(running, messages=history), "messages[0].content")):
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, place)
        assert "has expired" in reply.json()["error"]["message"]


async def test_what_only_texts_need_has_no_effect_and_is_named(chat: Any) -> None:
    text = {"temperature": 0.5, "max_tokens": 9, "tools": [], "response_format": {"type": "json_object"}}
    inert = {"metadata": {"a": "b"}, "user": "u", "stream_options": None, "usage": {"include": True}}
    reply = await post(chat, **text, **inert, stream_progress=True, extra_body={"steps": 2, "top_p": 1}, n=1)
    report = reply.json()["imagerouter"]
    assert report["ignored"] == sorted(["extra_body.top_p", "stream_progress", *text])
    assert report["applied"]["steps"] == 2
    strict = await post(chat, strict=True, temperature=0.5)
    assert (strict.status_code, strict.json()["error"]["param"]) == (400, "temperature")


async def test_response_format_chooses_between_links_and_data_urls(chat: Any) -> None:
    linked = await post(chat, modalities=["image"], response_format="url")
    url = linked.json()["choices"][0]["message"]["images"][0]["image_url"]["url"]
    assert (await chat.http.get(url)).headers["content-type"] == "image/png"
    whole = await post(chat, response_format="b64_json")
    assert links(whole.json()["choices"][0]["message"]["content"])[0].startswith("data:image/png;base64,")


async def test_what_is_wrong_is_named_where_it_stands(running: Any) -> None:
    for body, param in WRONG:
        reply = await post(running, **body)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text
        assert f"`{param}`" in reply.json()["error"]["message"]


async def test_refusals_come_before_a_stream_and_failures_in_it(chat: Any) -> None:
    for streamed in (False, True):
        with pytest.raises(openai.NotFoundError, match="nobody"):
            await chat.sdk.chat.completions.create(model="nobody", messages=FOX, stream=streamed)
    chat.fake().fail_with(GenerationError("the sampler broke"), times=2)
    with pytest.raises(openai.APIStatusError, match="the sampler broke") as caught:
        await ask(chat)
    assert caught.value.response.headers["x-imagerouter-job"]
    with pytest.raises(openai.APIError, match="the sampler broke"):
        await stream(chat)


async def test_openrouters_sdk_reads_pictures_and_errors(chat: Any) -> None:
    sdk = client(chat)
    (choice,) = (await sdk.chat.send_async(model="fake", messages=FOX, **PICTURES)).choices
    assert choice.message.images[0].image_url.url.startswith("data:image/png;base64,")
    for streamed in (False, True):
        with pytest.raises(errors.NotFoundResponseError) as caught:
            await sdk.chat.send_async(model="nobody", messages=FOX, stream=streamed)
        assert (caught.value.data.error.code, caught.value.data.error.metadata["param"]) == (404, "model")
    begin, picture, end = [each async for each in await sdk.chat.send_async(model="fake", messages=FOX, stream=True)]
    assert (begin.choices[0].delta.role, end.choices[0].finish_reason, end.usage.cost) == ("assistant", "stop", 0)
    assert links(picture.choices[0].delta.content)
    chat.fake().fail_with(GenerationError("the sampler broke"))
    *_, last = [each async for each in await sdk.chat.send_async(model="fake", messages=FOX, stream=True)]
    assert (last.error.code, last.error.message, last.choices[0].finish_reason) == (502, "the sampler broke", "error")


async def test_hanging_up_cancels_the_work(start: Any) -> None:
    running = await start(GATED)
    fake = running.fake()
    for streamed in (False, True):
        asking = asyncio.create_task(post(running, stream=streamed))
        await fake.held()
        asking.cancel()
        await fake.until(lambda streamed=streamed: len(fake.cancelled) == 1 + streamed)


async def test_the_route_is_there_under_every_base_url_and_can_be_turned_off(start: Any) -> None:
    running, off = await start(), await start("dialects: {chat: false}")
    for prefix in ("", "/v1", "/api/v1"):
        path = f"{prefix}/chat/completions"
        assert (await post(running, path)).status_code == 200
        reply = await post(off, path)
        assert (reply.status_code, "dialects.chat" in reply.json()["error"]["message"]) == (404, True)
