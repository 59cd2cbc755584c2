"""One request in every dialect, and through the client: the built-in model draws the same bytes."""

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow

from imagerouter import AsyncClient
from imagerouter.config.loader import load_text

CONFIG = "providers: {local: {type: diffusers}}\nserver: {port: 0}\n"
SIZE = {"width": 64, "height": 64}
SAID = {"seed": 7, "steps": 2, "cfg_scale": 2.0, "sampler": "euler_ancestral"}
A1111 = {"seed": 7, "steps": 2, "cfg_scale": 2.0, "sampler_name": "Euler a", **SIZE}
PROMPT = "a red circle on a blue background"

Draw = Callable[[str, Mapping[str, Any]], Awaitable[list[bytes]]]
"""Prompt and the pictures that go in: ``image`` and ``mask`` as files, ``strength`` and ``n`` as they are."""


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def link(data: bytes) -> str:
    return f"data:image/png;base64,{b64(data)}"


def encoded(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: b64(value) if isinstance(value, bytes) else value for name, value in given.items()}


class Doors:
    """Every way into one server, and a client of the same configuration beside it."""

    def __init__(self, running: Any, client: AsyncClient) -> None:
        self.http = running.http
        self.client = client

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(path, json=body)
        assert answer.status_code == 200, answer.text[:500]
        return answer.json()

    async def openai(self, prompt: str, given: Mapping[str, Any]) -> list[bytes]:
        route = "edits" if "image" in given else "generations"
        told = await self.post(f"/v1/images/{route}", prompt=prompt, size="64x64", **SAID, **encoded(given))
        return [base64.b64decode(item["b64_json"]) for item in told["data"]]

    async def openrouter(self, prompt: str, given: Mapping[str, Any]) -> list[bytes]:
        body = {**SAID, **encoded(given), "aspect_ratio": "1:1", **SIZE}
        if "image" in given:
            del body["image"]
            body["input_references"] = [{"type": "image_url", "image_url": {"url": link(given["image"])}}]
        told = await self.post("/api/v1/images", model="builtin", prompt=prompt, **body)
        return [base64.b64decode(item["b64_json"]) for item in told["data"]]

    async def chat(self, prompt: str, given: Mapping[str, Any]) -> list[bytes]:
        content: list[dict[str, Any]] = [{"type": "text", "text": prompt}]
        body = {**SAID, **SIZE, **encoded(given)}
        if "image" in given:
            content.append({"type": "image_url", "image_url": {"url": link(given["image"])}})
            del body["image"]
        messages = [{"role": "user", "content": content}]
        told = await self.post("/v1/chat/completions", messages=messages, modalities=["image", "text"], **body)
        urls = [image["image_url"]["url"] for choice in told["choices"] for image in choice["message"]["images"]]
        return [base64.b64decode(url.partition(",")[2]) for url in urls]

    async def a1111(self, prompt: str, given: Mapping[str, Any]) -> list[bytes]:
        body = {**A1111, **encoded(given)}
        body["batch_size"] = body.pop("n", 1)
        route = "txt2img"
        if "image" in given:
            route, body["init_images"] = "img2img", [body.pop("image")]
            body["denoising_strength"] = body.pop("strength")
        told = await self.post(f"/sdapi/v1/{route}", prompt=prompt, **body)
        return [base64.b64decode(image) for image in told["images"]]

    async def python(self, prompt: str, given: Mapping[str, Any]) -> list[bytes]:
        rest = {name: value for name, value in given.items() if name not in ("image", "mask")}
        images, mask = given.get("image"), given.get("mask")
        result = await self.client.generate(prompt, images=images, mask=mask, size="64x64", **SAID, **rest)
        return [picture.data for picture in result]


@pytest.fixture
async def doors(start: Any) -> AsyncIterator[Doors]:
    running = await start(CONFIG)
    async with AsyncClient(load_text(CONFIG)) as client:
        yield Doors(running, client)


async def test_a_request_gives_the_same_bytes_in_every_dialect(doors: Doors) -> None:
    (start,) = await doors.openai(PROMPT, {})
    mask = Pillow.new("L", (64, 64))
    mask.paste(255, (32, 0, 64, 64))
    out = BytesIO()
    mask.save(out, "PNG")
    edit = {"image": start, "strength": 0.6}
    seen = set()
    for given in ({"n": 2}, edit, {**edit, "mask": out.getvalue()}):
        drawn = await doors.openai(PROMPT, given)
        seen.update(drawn)
        for door in (doors.openrouter, doors.chat, doors.a1111, doors.python):
            assert await door(PROMPT, given) == drawn, (door.__name__, [*given])
    assert len(seen) == 4


async def test_no_dialect_tells_a_seed_that_draws_nothing_again(start: Any) -> None:
    fleet = "{type: 'imagerouter.testing:FakeProvider', parameters: [steps]}"
    running = await start(f"providers: {{fake: {fleet}}}")
    asked = {"prompt": PROMPT, "n": 2}
    chat = {"messages": [{"role": "user", "content": PROMPT}], "modalities": ["image"]}
    for path, body in (
        ("/v1/images/generations", asked),
        ("/v1/images/generations", {**asked, "stream": True}),
        ("/api/v1/images", {**asked, "model": "fake"}),
        ("/v1/chat/completions", chat),
        ("/v1/chat/completions", {**chat, "stream": True}),
    ):
        text = (await running.http.post(path, json=body)).text
        assert '"b64_json":"' in text or '"image_url":' in text
        assert '"seed":' not in text.partition('"imagerouter":')[0], path
    told = (await running.http.post("/sdapi/v1/txt2img", json={"prompt": PROMPT, "batch_size": 2})).json()
    info = json.loads(told["info"])
    assert (info["seed"], info["all_seeds"]) == (-1, [-1, -1])
    assert "Seed" not in info["infotexts"][0]
    async with AsyncClient(load_text(f"providers: {{fake: {fleet}}}")) as client:
        assert (await client.generate(PROMPT))[0].seed is None
