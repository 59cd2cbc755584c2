"""``response_format: url``, from the request to the downloaded file."""

import asyncio
import os
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI
from PIL import Image as Pillow

CONFIG = """
results: {url: FOLDER, ttl: 600}
server: {port: 0, SERVER}
"""


@pytest.fixture
def launch(start: Any, tmp_path: Path) -> Any:
    async def _launch(server: str = "", **more: str) -> Any:
        text = CONFIG.replace("FOLDER", str(tmp_path / "pictures")).replace("SERVER", server)
        return await start(text + "".join(more.values()))

    return _launch


async def links(running: Any, headers: dict[str, str] | None = None, **body: Any) -> list[str]:
    reply = await running.http.post(
        "/v1/images/generations", json={"prompt": "a fox", "response_format": "url", **body}, headers=headers
    )
    assert reply.status_code == 200, reply.text
    assert all(item.keys() == {"url", "media_type", "seed"} for item in reply.json()["data"])
    return [item["url"] for item in reply.json()["data"]]


async def test_the_sdk_gets_links_that_work(launch: Any) -> None:
    running = await launch()
    reply = await running.sdk.images.generate(prompt="a fox", n=2, size="96x64", response_format="url")
    assert [item.b64_json for item in reply.data] == [None, None]
    for item in reply.data:
        assert item.url.startswith(f"{running.server.url}/v1/files/")
        got = await running.http.get(item.url)
        assert (got.status_code, got.headers["content-type"]) == (200, "image/png")
        assert Pillow.open(BytesIO(got.content)).size == (96, 64)


@pytest.mark.parametrize(("kind", "ending"), [("jpeg", ".jpg"), ("webp", ".webp"), ("avif", ".avif")])
async def test_files_have_the_type_and_ending_of_their_format(launch: Any, kind: str, ending: str) -> None:
    running = await launch()
    (url,) = await links(running, output_format=kind)
    assert url.partition("?")[0].endswith(ending)
    got = await running.http.get(url)
    assert got.headers["content-type"] == f"image/{kind}"
    assert Pillow.open(BytesIO(got.content)).format == kind.upper()


async def test_edits_and_variations_have_links_too(launch: Any) -> None:
    running = await launch()
    (url,) = await links(running)
    file = (await running.http.get(url)).content
    for path in ("/v1/images/edits", "/v1/images/variations"):
        data = {"prompt": "x", "response_format": "url"}
        reply = await running.http.post(path, files={"image": file}, data=data)
        got = await running.http.get(reply.json()["data"][0]["url"])
        assert Pillow.open(BytesIO(got.content)).size == (64, 64)


async def test_behind_a_proxy_links_begin_as_the_client_called_it(launch: Any) -> None:
    running = await launch()
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "pub.example", "x-forwarded-prefix": "/draw"}
    (url,) = await links(running, headers)
    assert url.startswith("https://pub.example/draw/v1/files/")
    inner = url.replace("https://pub.example/draw", running.server.url)
    assert (await running.http.get(inner)).status_code == 200


async def test_public_url_wins_over_whatever_the_request_says(launch: Any) -> None:
    running = await launch("public_url: 'https://pub.example/v1'")
    (url,) = await links(running, {"x-forwarded-host": "other.example"})
    assert url.startswith("https://pub.example/v1/files/")


async def test_a_link_needs_no_key_and_the_api_does(launch: Any) -> None:
    running = await launch(keys="keys: {alice: {secret: alice-secret}}\n")
    keyless = await running.http.post("/v1/images/generations", json={"prompt": "x", "response_format": "url"})
    assert keyless.status_code == 401
    (url,) = await links(running, {"authorization": "Bearer alice-secret"})
    assert (await running.http.get(url)).status_code == 200
    # Chat frontends send their key to any link of the same origin, right or wrong.
    assert (await running.http.get(url, headers={"authorization": "Bearer another"})).status_code == 200


async def test_a_link_holds_for_its_time_and_then_the_file_is_gone(launch: Any, tmp_path: Path) -> None:
    running = await launch()
    (url,) = await links(running)
    storage = running.server.app.state.storage()
    clock = storage._clock
    expires = int(url.partition("expires=")[2].partition("&")[0])
    assert 0 <= expires - clock() <= 601
    storage._clock = lambda: expires - 1
    assert (await running.http.get(url)).status_code == 200
    storage._clock = lambda: expires
    assert (await running.http.get(url)).status_code == 410
    assert await storage.sweep() == 1
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["secret"]


async def test_a_link_holds_after_a_restart_of_the_server(launch: Any) -> None:
    (url,) = await links(await launch())
    after = await launch()
    assert (await after.http.get(url.replace(url.partition("/v1/")[0], ""))).status_code == 200


async def test_where_nothing_can_be_stored_the_picture_comes_as_a_data_url(start: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    running = await start(f"results: {{url: {tmp_path / 'file' / 'pictures'}}}")
    (url,) = await links(running)
    assert url.startswith("data:image/png;base64,iVBOR")
    assert (await links(running, n=2)) != []


async def test_without_being_asked_there_are_no_links_and_no_files(launch: Any, tmp_path: Path) -> None:
    running = await launch()
    for kind in (None, "b64_json", "base64"):
        reply = await running.draw(response_format=kind)
        assert "url" not in reply.json()["data"][0]
    assert not list((tmp_path / "pictures").glob("*.png"))


async def test_a_stream_has_no_links_and_says_so(launch: Any) -> None:
    running = await launch()
    stream = await running.sdk.images.generate(prompt="x", stream=True, extra_body={"response_format": "url"})
    (done,) = [event async for event in stream]
    assert done.b64_json
    assert done.imagerouter["ignored"] == ["response_format"]


async def test_a_picture_is_fetched_while_others_are_drawn(launch: Any) -> None:
    running = await launch()
    (url,) = await links(running)
    running.fake().gated = True
    drawing = asyncio.create_task(running.draw())
    await running.fake().held()
    assert (await running.http.get(url)).status_code == 200
    running.fake().release()
    assert (await drawing).status_code == 200


@pytest.mark.parametrize("link", ["path", "expires", "signature"])
async def test_a_link_that_was_changed_opens_nothing(launch: Any, link: str) -> None:
    running = await launch()
    (url,) = await links(running)
    changed = {
        "path": url.replace("/files/", "/files/0"),
        "expires": url.replace("expires=", "expires=9"),
        "signature": url[:-2],
    }[link]
    got = await running.http.get(changed)
    assert (got.status_code, got.json()["error"]["type"]) == (403, "permission_error")


async def test_the_command_line_draws_with_a_server_that_keeps_links(launch: Any, tmp_path: Path) -> None:
    running = await launch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "imagerouter", "generate", "a fox", "--size", "96x64", "-o", "fox.png"),
        *("--server", running.server.url),
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert Pillow.open(tmp_path / "fox.png").size == (96, 64)


async def test_a_client_that_sends_its_key_along_can_download_with_the_sdks_own_client(launch: Any) -> None:
    running = await launch(keys="keys: {alice: {secret: alice-secret}}\n")
    async with AsyncOpenAI(base_url=f"{running.server.url}/v1", api_key="alice-secret", max_retries=0) as sdk:
        url = (await sdk.images.generate(prompt="x", response_format="url")).data[0].url
        async with httpx.AsyncClient(headers={"authorization": "Bearer alice-secret"}, verify=False) as http:
            assert (await http.get(url)).content.startswith(b"\x89PNG")
