"""``response_format: url`` from the request to the picture, through the real server with the real SDK."""

import os
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx
import pytest

from imagerouter.testing import decode
from imagerouter.types import Image

KEYS = "keys: {alice: {secret: alice-secret}}\n"


@pytest.fixture
def results(tmp_path: Path) -> str:
    return f"results: {{url: '{tmp_path}/files'}}\n"


async def urls(running: Any, key: str = "any", **body: Any) -> list[str]:
    sdk = running.sdk.with_options(api_key=key)
    answer = await sdk.images.generate(prompt="a fox", response_format="url", **body)
    assert all(item.b64_json is None for item in answer.data)
    return [item.url for item in answer.data]


async def get(url: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(verify=False) as stranger:
        return await stranger.get(url, headers=headers)


async def test_each_picture_has_a_link_that_needs_no_key(start: Any, results: str) -> None:
    running = await start(KEYS + results)
    found = await urls(running, "alice-secret", n=3, extra_body={"seed": 7})
    drawn = await running.http.post(
        "/v1/images/generations",
        json={"prompt": "a fox", "n": 3, "seed": 7},
        headers={"authorization": "Bearer alice-secret"},
    )
    assert all(url.startswith(f"{running.server.url}/v1/files/") for url in found)
    for url, item in zip(found, drawn.json()["data"], strict=True):
        reply = await get(url)
        assert (reply.status_code, reply.headers["content-type"]) == (200, "image/png")
        assert decode(Image(data=reply.content)) == decode(Image(data=b64decode(item["b64_json"])))
        assert (await get(url, range="bytes=1-3")).content == b"PNG"
        assert (await get(url[:-1])).status_code == 403


async def test_a_client_that_sends_its_key_along_gets_the_picture_as_well(start: Any, results: str) -> None:
    running = await start(KEYS + results)
    (url,) = await urls(running, "alice-secret")
    for key in ("alice-secret", "wrong"):
        assert (await get(url, authorization=f"Bearer {key}")).status_code == 200


async def test_a_head_request_is_answered_without_a_body(start: Any, results: str) -> None:
    running = await start(results)
    (url,) = await urls(running)
    async with httpx.AsyncClient(verify=False) as stranger:
        head = await stranger.head(url)
        assert (head.status_code, head.content) == (200, b"")
        assert int(head.headers["content-length"]) == len((await stranger.get(url)).content)
        assert (await stranger.head(url + "x")).status_code == 403


@pytest.mark.parametrize("output_format", ["jpeg", "webp"])
async def test_a_link_ends_as_its_format_does(start: Any, results: str, output_format: str) -> None:
    (url,) = await urls(await start(results), output_format=output_format)
    assert (await get(url)).headers["content-type"] == f"image/{output_format}"
    assert url.partition("?")[0].endswith(".jpg" if output_format == "jpeg" else ".webp")


async def test_links_begin_with_the_public_url(start: Any, results: str) -> None:
    running = await start(results + "server: {port: 0, public_url: 'https://pub.example/draw/'}\n")
    (url,) = await urls(running)
    assert url.startswith("https://pub.example/draw/v1/files/")
    assert (await get(url.replace("https://pub.example/draw", running.server.url))).status_code == 200


async def test_links_outlive_a_restart(start: Any, results: str) -> None:
    first, second = await start(results), await start(results)
    (url,) = await urls(first)
    assert (await get(url.replace(first.server.url, second.server.url))).status_code == 200


async def test_a_picture_that_can_not_be_stored_comes_as_a_data_url_and_the_answer_says_so(
    start: Any, tmp_path: Path
) -> None:
    (tmp_path / "taken").write_bytes(b"a file")
    running = await start(f"results: {{url: '{tmp_path}/taken'}}\n")
    answer = await running.sdk.images.generate(prompt="a fox", response_format="url")
    kind, _, text = answer.data[0].url.partition(",")
    assert kind == "data:image/png;base64"
    assert decode(Image(b64=text.encode()))
    assert "response_format" in answer.imagerouter["ignored"]


async def test_nothing_is_stored_for_who_asks_for_base64(start: Any, results: str, tmp_path: Path) -> None:
    running = await start(results)
    assert (await running.draw()).json()["data"][0]["b64_json"]
    assert not os.listdir(tmp_path)
