"""What finished files say of how they were drawn: nothing, unless the request or the configuration wants it."""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

from imagerouter.embedding import read

REQUEST = {"prompt": "a fox, “soft” 雨", "steps": 9, "cfg_scale": 3.5, "size": "96x64", "sampler": "euler_ancestral"}
EMBED = "results: {metadata: embed}\n"


async def files(running: Any, **fields: Any) -> list[bytes]:
    reply = await running.http.post("/v1/images/generations", json={**REQUEST, "seed": 7, **fields})
    assert reply.status_code == 200, reply.text
    return [base64.b64decode(item["b64_json"]) for item in reply.json()["data"]]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
async def test_every_format_can_tell_its_request(running: Any, kind: str) -> None:
    first, second = await files(running, metadata="embed", output_format=kind, n=2, negative_prompt="a dog")
    told = read(first)
    assert told is not None
    assert told | REQUEST | {"negative_prompt": "a dog", "model": "fake", "seed": 7, "output_format": kind} == told
    assert (read(second) or {})["seed"] == 8
    plain = (await files(running, output_format=kind, negative_prompt="a dog"))[0]
    assert read(plain) is None
    assert Pillow.open(BytesIO(first)).tobytes() == Pillow.open(BytesIO(plain)).tobytes()


async def test_what_a_file_tells_draws_the_same_file_again(running: Any) -> None:
    (first,) = await files(running, metadata="embed")
    told = read(first)
    reply = await running.http.post("/v1/images/generations", json={**(told or {}), "metadata": "embed"})
    assert base64.b64decode(reply.json()["data"][0]["b64_json"]) == first
    assert reply.json()["imagerouter"]["ignored"] == []


async def test_the_configuration_decides_where_the_request_says_nothing(start: Any) -> None:
    embedding = await start(EMBED)
    assert (read((await files(embedding))[0]) or {})["prompt"] == REQUEST["prompt"]
    assert read((await files(embedding, metadata="strip"))[0]) is None
    assert (read((await files(embedding, metadata=None))[0]) or {})["seed"] == 7


async def test_an_edit_tells_that_it_was_one_and_nothing_of_its_pictures(running: Any) -> None:
    out = BytesIO()
    Pillow.new("RGB", (64, 64), "red").save(out, "PNG")
    reply = await running.sdk.images.edit(
        image=out.getvalue(), prompt="a fox", extra_body={"metadata": "embed", "strength": 0.5}
    )
    told = read(base64.b64decode(reply.data[0].b64_json)) or {}
    assert (told["operation"], told["strength"]) == ("edit", 0.5)
    assert "images" not in told


async def test_streams_and_links_tell_it_too(start: Any, tmp_path: Path) -> None:
    running = await start(EMBED.replace("}", f", url: {tmp_path}}}"))
    stream = await running.sdk.images.generate(prompt="a fox", stream=True)
    (done,) = [event async for event in stream]
    reply = await running.sdk.images.generate(prompt="a fox", response_format="url")
    for file in (base64.b64decode(done.b64_json), (await running.http.get(reply.data[0].url)).content):
        assert (read(file) or {})["prompt"] == "a fox"


async def test_keys_and_options_are_never_told(start: Any) -> None:
    running = await start(EMBED + "keys: {alice: {secret: alice-secret}}\n")
    body = {"prompt": "a fox", "user": "u1", "provider": {"options": {"fake": {"token": "deep-secret"}}}}
    reply = await running.http.post(
        "/v1/images/generations", json=body, headers={"authorization": "Bearer alice-secret"}
    )
    file = base64.b64decode(reply.json()["data"][0]["b64_json"])
    assert (read(file) or {})["prompt"] == "a fox"
    for hidden in (b"alice", b"secret", b"u1", b"fake provider"):
        assert hidden not in file.partition(b"IDAT")[0]


async def test_anything_but_the_two_words_is_refused(running: Any) -> None:
    reply = await running.draw(metadata="keep")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "metadata")
    assert 'one of "embed", "strip"' in reply.json()["error"]["message"]
