"""What OpenRouter's clients sent, byte for byte, and whether its own SDK takes the answer.

The bodies are those of openrouter 1.3 (PyPI), and of @openrouter/ai-sdk-provider 3.1 under AI SDK 7.
"""

import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from openrouter import components, errors
from PIL import Image as Pillow
from tests.core.forms import PNG
from tests.http.test_client_requests import Sent
from tests.http.test_openrouter import client

_TAPE = Path(__file__).parents[1] / "tapes" / "clients" / "openrouter.jsonl"
SENT = [Sent(json.loads(line)) for line in _TAPE.read_text(encoding="utf-8").splitlines()]
IMAGES = [sent for sent in SENT if sent.path == "/v1/images"]
MODELS = ["x/y", "a/b", "black-forest-labs/flux.2", "google/gemini-image"]
FLEET = f"providers: {{comfyui: {{type: 'imagerouter.testing:FakeProvider', models: {json.dumps(MODELS)}}}}}"
REFUSED = {
    "openrouter-ai-sdk:all": "aspect_ratio",  # 16:9 beside a square
    "openrouter-ai-sdk:edit": "input_references",  # an address, and no host is allowed
    "openrouter-py:basic": "input_references",  # base64 of no picture
}
"""Clients whose request can't be right, and the parameter that the error names."""
RIGHT = {
    "openrouter-ai-sdk:all": [('"1024x1024"', '"1024x576"'), ('["a","b"]', '["comfyui"]')],
    "openrouter-ai-sdk:edit": [
        ("https://example.com/a.png", f"data:image/png;base64,{base64.b64encode(PNG).decode()}")
    ],
    "openrouter-py:basic": [("base64,AAAA", "base64," + base64.b64encode(PNG).decode())],
}
"""What makes it right."""


class Replaying(httpx.AsyncClient):
    """Sends what a client once sent, whatever the SDK tells it to."""

    def __init__(self, url: str, sent: Sent, content: bytes) -> None:
        super().__init__(verify=False)
        self.url, self.sent, self.told = url, sent, content

    async def send(self, request: Any, **options: Any) -> Any:
        path, headers = self.url + self.sent.path, self.sent.headers
        return await super().send(
            self.build_request(self.sent.method, path, headers=headers, content=self.told), **options
        )


async def answer(running: Any, sent: Sent, content: bytes | None = None) -> Any:
    """What the SDK makes of the answer: its own object, or the events of a stream."""
    streamed = sent.wants.get("stream", False)
    async with Replaying(running.server.url, sent, sent.content if content is None else content) as http:
        sdk = client(running, "", http=http)
        if sent.method == "GET":
            return await sdk.images.list_models_async()
        if sent.path != "/v1/images":
            return await sdk.chat.send_async(messages=[{"role": "user", "content": "-"}])
        reply = await sdk.images.generate_async(model="-", prompt="-", stream=streamed)
        return [event async for event in reply] if streamed else reply


def right(sent: Sent) -> bytes:
    content = sent.content
    for wrong, better in RIGHT.get(str(sent), ()):
        assert wrong.encode() in content
        content = content.replace(wrong.encode(), better.encode())
    return content


def size_of(b64_json: str) -> tuple[int, int]:
    return Pillow.open(BytesIO(base64.b64decode(b64_json))).size


@pytest.fixture
async def server(start: Any) -> Any:
    return await start(FLEET)


async def test_every_picture_that_a_client_asked_for_is_drawn(server: Any) -> None:
    for sent in IMAGES:
        reply = await answer(server, sent, right(sent))
        drawn_as_asked(sent, reply, server.fake("comfyui").requests[-1])


def drawn_as_asked(sent: Sent, reply: Any, request: Any) -> None:
    wants = json.loads(right(sent))
    assert (request.model, request.prompt, request.n) == (wants["model"], wants["prompt"], wants.get("n") or 1)
    assert len(request.images) == len(wants.get("input_references", ()))
    for name in ("negative_prompt", "steps", "seed"):
        assert name not in wants or getattr(request, name) == wants[name]
    if wants.get("stream"):
        *previews, done = reply
        assert all(isinstance(event, components.ImageGenPartialImageEvent) for event in previews)
        assert isinstance(done, components.ImageGenCompletedEvent)
        pictures = [done]
    else:
        pictures = reply.data
        assert len(pictures) == request.n
    usual = {"1K": (1360, 768)}.get(wants.get("resolution"), (64, 64))
    size = tuple(map(int, wants["size"].split("x"))) if "size" in wants else usual
    assert {(size_of(picture.b64_json), picture.media_type) for picture in pictures} == {(size, "image/png")}


async def test_what_no_picture_can_come_of_names_the_parameter(server: Any) -> None:
    for sent in IMAGES:
        if str(sent) not in REFUSED:
            continue
        with pytest.raises(errors.BadRequestResponseError) as caught:
            await answer(server, sent)
        assert (caught.value.data.error.metadata["param"]).partition("[")[0] == REFUSED[str(sent)]
    assert not server.fake("comfyui").requests


async def test_models_are_listed(server: Any) -> None:
    (sent,) = [sent for sent in SENT if sent.method == "GET"]
    assert [model.id for model in (await answer(server, sent)).data] == [name.rpartition("/")[2] for name in MODELS]


async def test_the_chat_draws(server: Any) -> None:
    (sent,) = [sent for sent in SENT if sent.path == "/v1/chat/completions"]
    (choice,) = (await answer(server, sent)).choices
    (picture,) = choice.message.images
    head, _, encoded = picture.image_url.url.partition(",")
    assert head == "data:image/png;base64"
    width, height = size_of(encoded)
    assert width / height == pytest.approx(16 / 9, rel=0.1)


async def test_a_wrong_key_and_a_model_that_is_not_there_are_told(start: Any) -> None:
    closed, empty = await start("keys: {alice: {secret: alices-secret}}"), await start()
    for sent in IMAGES[::3]:
        with pytest.raises(errors.UnauthorizedResponseError):
            await answer(closed, sent)
        with pytest.raises(errors.NotFoundResponseError):
            await answer(empty, sent, right(sent))
