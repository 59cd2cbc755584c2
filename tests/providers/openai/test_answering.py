"""What is made of an answer."""

from __future__ import annotations

import asyncio
import base64

import pytest
from tests.providers.openai.asking import draw, started
from tests.providers.openai.fake import Answer, FakeOpenAI

from imagerouter import Progress, ProviderResponseError
from imagerouter.testing import make_image
from imagerouter.testing.drawing import decode


async def test_base64_is_passed_on_as_it_came(openai):
    text = make_image(64, 64).b64
    openai.answers.append(Answer(body={"created": 1, "data": [{"b64_json": text.decode()}]}))
    async with started(openai.url) as provider:
        image = (await draw(provider)).images[0]
    assert image.b64 == text
    assert image._data is None  # nobody has decoded it


async def test_escaped_base64_is_a_picture_as_well(openai):
    text = next(b64 for colour in range(256) if b"/" in (b64 := make_image(64, 64, (colour, 9, 9)).b64[20:])[:-9])
    picture = next(each for colour in range(256) if (each := make_image(64, 64, (colour, 9, 9))).b64[20:] == text)
    body = b'{"data":[{"b64_json":"' + picture.b64.replace(b"/", b"\\/") + b'"}]}'
    openai.answers.append(Answer(body=body, headers={"content-type": "application/json"}))
    async with started(openai.url) as provider:
        assert (await draw(provider)).images[0].data == picture.data


async def test_an_address_on_the_same_server_is_fetched_with_its_key(openai):
    openai.key = "k"
    for address in (f"{openai.url}/files/1.png", "/files/1.png"):
        openai.answers.append(Answer(body={"data": [{"url": address}]}))
    async with started(openai.url, api_key="k") as provider:
        pictures = [(await draw(provider)).images[0].data for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert openai.paths.count("/files/1.png") == 2


async def test_a_data_url_is_a_picture(openai):
    text = make_image(64, 64).b64.decode()
    openai.answers.append(Answer(body={"data": [{"url": f"data:image/png;base64,{text}"}]}))
    async with started(openai.url) as provider:
        assert (await draw(provider)).images[0].b64 == text.encode()


async def test_another_host_is_asked_only_if_it_is_allowed_and_without_the_key(openai):
    async with FakeOpenAI() as other:
        answer = Answer(body={"data": [{"url": f"{other.url.replace('127.0.0.1', 'localhost')}/1.png"}]})
        openai.answers += [answer, answer]
        async with started(openai.url) as provider:
            with pytest.raises(ProviderResponseError, match="url_hosts") as raised:
                await draw(provider)
        assert "localhost" not in raised.value.message
        assert other.paths == []
        openai.key = other.key = None
        async with started(openai.url, api_key="secret", url_hosts=["LOCALHOST"]) as provider:
            assert decode((await draw(provider)).images[0]).size == (64, 64)
        assert other.paths == ["/1.png"]


async def test_previews_come_as_a_stream(openai):
    seen: list[Progress] = []
    async with started(openai.url) as provider:
        images = await draw(provider, seen, n=2, partial_images=2)
    assert openai.asked[0].fields["stream"] is True
    assert [decode(each.preview).size for each in seen if each.preview] == [(16, 16), (16, 16)]
    assert [each.fraction for each in seen] == [1 / 3, 2 / 3, 1]
    assert [decode(image).size for image in images.images] == [(64, 64)] * 2
    assert not images.ignored & {"partial_images"}


async def test_a_server_that_does_not_stream_after_all_is_understood(openai):
    text = make_image(64, 64).b64.decode()
    openai.answers.append(Answer(body={"data": [{"b64_json": text}]}))
    async with started(openai.url) as provider:
        assert (await draw(provider, partial_images=1)).images[0].b64 == text.encode()


async def test_a_picture_of_another_size_than_asked_is_brought_to_it(openai):
    text = make_image(96, 32).b64.decode()
    openai.answers.append(Answer(body={"data": [{"b64_json": text}]}))
    async with started(openai.url) as provider:
        images = await draw(provider)
    assert decode(images.images[0]).size == (64, 64)
    assert (images.applied["width"], images.applied["height"]) == (64, 64)


GARBAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n but no more than its beginning").decode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        {"data": []},
        {"data": [{}]},
        {"data": [{"b64_json": ""}]},
        {"data": [{"b64_json": 5}]},
        {"data": [{"b64_json": GARBAGE}]},
        {"data": [{"url": "/v1/images/nothing"}]},
        {"data": [{"url": "data:image/png,plain"}]},
        {"data": [{"url": "file:///etc/passwd"}]},
        {"data": [{"b64_json": make_image().b64.decode()}] * 2},
    ],
    ids=str,
)
async def test_what_is_no_answer_is_a_bad_response(openai, body):
    openai.answers.append(Answer(body=body))
    async with started(openai.url) as provider:
        with pytest.raises(ProviderResponseError) as raised:
            await draw(provider)
    assert "/" not in raised.value.message


@pytest.mark.parametrize("stream", [b"", b'data: {"type":"image_generation.completed"', b"data: {}\n\n"])
async def test_a_stream_that_ends_without_a_picture_is_a_bad_response(openai, stream):
    openai.answers.append(Answer(body=stream, headers={"content-type": "text/event-stream"}))
    async with started(openai.url) as provider:
        with pytest.raises(ProviderResponseError, match="no picture"):
            await draw(provider, partial_images=1)


async def test_hanging_up_is_all_that_stops_it(openai):
    async with started(openai.url) as provider:
        job = asyncio.create_task(draw(provider, prompt="slowly"))
        await openai.running()
        job.cancel()
        await openai.idle()
        assert (await asyncio.wait([job]))[0] == {job}
        assert job.cancelled()
    assert len(openai.asked) == 1
