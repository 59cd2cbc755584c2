"""What real clients sent, byte for byte, and whether OpenAI's SDK, in its strict mode, takes the answer.

The bodies are those of openai 3.52 (Python), of openai 7.55 (JavaScript), of their own test suites, and of AI SDK 7
with its two OpenAI providers.
"""

import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from PIL import Image as Pillow

# The SDK itself says that OpenAI no longer serves variations.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.core.forms import CAPTURED, PNG, Captured  # noqa: E402

from imagerouter.errors import GenerationError  # noqa: E402

NO_PICTURE = b"Example data"
"""What the SDKs' test suites send in a picture's place."""


class Sent:
    """One request: how it is told, and what the client wanted."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.clients: list[str] = told["clients"]
        self.method, self.path, self.headers = told["method"], told["path"], told["headers"]
        self.content = told.get("body", "").encode()
        self.wants: dict[str, Any] = json.loads(self.content) if self.content else {}

    @classmethod
    def form(cls, captured: Captured) -> "Sent":
        headers = {"content-type": captured.content_type, "authorization": "Bearer sk-test"}
        sent = cls({"clients": [captured.client], "method": "POST", "path": captured.path, "headers": headers})
        sent.content = captured.body.replace(NO_PICTURE, PNG)
        return sent

    def __str__(self) -> str:
        return self.clients[0]


_TAPE = Path(__file__).parents[1] / "tapes" / "clients" / "bodies.jsonl"
BODIES = [Sent(json.loads(line)) for line in _TAPE.read_text(encoding="utf-8").splitlines()]
FORMS = [Sent.form(captured) for captured in CAPTURED.values()]
REFUSED = {
    "ai-openai-compatible:edit": "loras",  # [object Object]
    "openai-node:edit_json_post": "images",  # no picture
    "openai-python:edit_json_via_post": "mask",  # a `file_id`
}
"""Clients whose request can't be right, and the parameter that the error names."""
MODELS = [
    *("sdxl", "kontext", "flux-kontext", "black-forest-labs/flux.1-dev", "m", "x", "gpt-image-1", "gpt-image-1.5"),
    *("gpt-image-2", "gpt-image-2.5-flare", "gpt-6-astra", "gpt-4o-mini"),
]
CONFIG = f"""
providers:
  fake: {{type: 'imagerouter.testing:FakeProvider', models: {json.dumps(MODELS)}}}
results: {{url: FOLDER}}
breaker: {{failures: 1000}}
"""


class Replaying(DefaultAsyncHttpxClient):
    """Sends what a client once sent, whatever the SDK tells it to."""

    def __init__(self, url: str, sent: Sent) -> None:
        super().__init__(verify=False)
        self.url, self.sent = url, sent

    async def send(self, request: Any, **options: Any) -> Any:
        told = self.build_request(
            self.sent.method, self.url + self.sent.path, headers=self.sent.headers, content=self.sent.content
        )
        return await super().send(told, **options)


@asynccontextmanager
async def strict(running: Any, sent: Sent) -> AsyncIterator[AsyncOpenAI]:
    client = Replaying(running.server.url, sent)
    async with AsyncOpenAI(
        base_url=f"{running.server.url}/v1",
        api_key="any",
        max_retries=0,
        http_client=client,
        _strict_response_validation=True,
    ) as sdk:
        yield sdk


async def answer(running: Any, sent: Sent) -> Any:
    """What the SDK makes of the answer: its own object, or the events of a stream."""
    streamed = sent.wants.get("stream") or b'name="stream"\r\n\r\ntrue' in sent.content
    options: dict[str, Any] = {"prompt": "-", "stream": True} if streamed else {"prompt": "-"}
    async with strict(running, sent) as sdk:
        if sent.path.startswith("/v1/images/generations"):
            reply: Any = await sdk.images.generate(**options)
        elif sent.path.startswith("/v1/images/edits"):
            reply = await sdk.images.edit(image=b"-", **options)
        elif sent.path.startswith("/v1/images/variations"):
            reply = await sdk.images.create_variation(image=b"-")
        elif sent.method == "DELETE":
            reply = await sdk.models.delete("-")
        else:
            reply = await (sdk.models.list() if sent.path.endswith("/models") else sdk.models.retrieve("-"))
        return [event async for event in reply] if streamed else reply


@pytest.fixture
async def server(start: Any, tmp_path: Path) -> Any:
    return await start(CONFIG.replace("FOLDER", str(tmp_path / "pictures")))


async def pictures(running: Any, reply: Any) -> list[Pillow.Image]:
    if isinstance(reply, list):
        files = [base64.b64decode(event.b64_json) for event in reply if event.type.endswith("completed")]
    else:
        files = [
            base64.b64decode(item.b64_json) if item.b64_json else (await running.http.get(item.url)).content
            for item in reply.data
        ]
    return [Pillow.open(BytesIO(file)) for file in files]


@pytest.mark.parametrize("sent", [sent for sent in BODIES if "images/generations" in sent.path], ids=str)
async def test_every_generation_that_a_client_sent_is_drawn(server: Any, sent: Sent) -> None:
    reply = await answer(server, sent)
    drawn = await pictures(server, reply)
    assert len(drawn) == (sent.wants.get("n") or 1)
    (request,) = server.fake().requests
    assert (request.prompt, request.n) == (sent.wants["prompt"], len(drawn))
    size = sent.wants.get("size") or "auto"
    assert size in ("auto", f"{drawn[0].width}x{drawn[0].height}")
    assert (drawn[0].format or "").lower() == sent.wants.get("output_format", "png")
    for name in ("negative_prompt", "steps", "cfg_scale", "seed"):
        if name in sent.wants:
            assert getattr(request, name) == sent.wants[name]
    assert [{"name": lora.name, "weight": lora.weight} for lora in request.loras] == sent.wants.get("loras", [])
    if sent.wants.get("stream"):
        previews = [event for event in reply if event.type == "image_generation.partial_image"]
        assert len(previews) == sent.wants.get("partial_images", 0)
    elif sent.wants.get("response_format") == "url":
        assert reply.data[0].url.startswith(server.server.url)
    else:
        # The schemas of the AI SDK's providers; its types and OpenAI's SDK would let less pass as well.
        assert all(isinstance(item.b64_json, str) and item.url is None for item in reply.data)
        assert {type(count) for name, count in reply.usage if name.endswith("_tokens")} == {int}


@pytest.mark.parametrize("sent", [sent for sent in FORMS if str(sent) not in REFUSED], ids=str)
async def test_every_form_that_a_client_sent_is_drawn(server: Any, sent: Sent) -> None:
    drawn = await pictures(server, await answer(server, sent))
    (request,) = server.fake().requests
    assert len(drawn) == request.n == (2 if b'name="n"\r\n\r\n2' in sent.content else 1)
    assert len(request.images) == sent.content.count(b'name="image')
    assert (request.mask is not None) == (b'name="mask"' in sent.content)
    if b"loras[][name]" in sent.content:
        assert [(lora.name, lora.weight) for lora in request.loras] == [("a", 0.5), ("b", 1)]


@pytest.mark.parametrize("sent", [sent for sent in BODIES if sent.method == "GET"], ids=str)
async def test_models_are_listed_and_looked_up_by_every_client(server: Any, sent: Sent) -> None:
    reply = await answer(server, sent)
    names = [name.rpartition("/")[2] for name in MODELS]
    if sent.path.endswith("/models"):
        assert [model.id for model in reply.data] == names
    else:
        assert reply.id == sent.path.removeprefix("/v1/models/").rpartition("%2F")[2]


@pytest.mark.parametrize("sent", [each for each in [*BODIES, *FORMS] if each.clients[0] in REFUSED], ids=str)
async def test_what_no_picture_can_come_of_is_a_bad_request_that_names_the_parameter(server: Any, sent: Sent) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await answer(server, sent)
    assert (caught.value.param or "").partition("[")[0] == REFUSED[sent.clients[0]]
    assert caught.value.type == "invalid_request_error"
    assert not server.fake().requests


@pytest.mark.parametrize(
    "captured", [each for each in CAPTURED.values() if NO_PICTURE in each.body], ids=lambda each: each.client
)
async def test_a_file_that_is_no_picture_is_named(server: Any, captured: Captured) -> None:
    sent = Sent.form(captured)
    sent.content = captured.body
    with pytest.raises(openai.BadRequestError) as caught:
        await answer(server, sent)
    assert caught.value.param == "image"
    assert "PNG, JPEG, WebP" in caught.value.message


@pytest.mark.parametrize("sent", [sent for sent in BODIES if sent.method == "DELETE"], ids=str)
async def test_models_are_not_deleted_by_clients(server: Any, sent: Sent) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        await answer(server, sent)
    assert caught.value.status_code == 405
    assert isinstance(caught.value.body, dict)


async def test_a_model_that_is_not_there_is_not_found(running: Any) -> None:
    asking = [sent for sent in [*BODIES, *FORMS] if sent.wants.get("model") or b'name="model"' in sent.content]
    asking += [sent for sent in BODIES if sent.method == "GET" and not sent.path.endswith("/models")]
    for sent in asking:
        if sent.clients[0] in REFUSED:
            continue
        with pytest.raises(openai.NotFoundError) as caught:
            await answer(running, sent)
        assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


async def test_a_wrong_key_is_told_to_every_client(start: Any) -> None:
    running = await start("keys: {alice: {secret: alice-secret}}")
    for sent in [*BODIES, *FORMS]:
        if sent.method == "DELETE":
            continue
        with pytest.raises(openai.AuthenticationError):
            await answer(running, sent)


async def test_a_provider_that_fails_is_told_in_a_way_that_the_sdk_raises(server: Any) -> None:
    server.fake().fail_with(GenerationError("the model broke down"))
    for sent in [*BODIES, *FORMS]:
        if sent.method != "POST" or sent.clients[0] in REFUSED:
            continue
        with pytest.raises(openai.APIError) as caught:
            await answer(server, sent)
        assert caught.value.code == "generation_failed"
