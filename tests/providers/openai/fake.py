"""A stand-in for servers with OpenAI's images API: strict about what it is sent, over real sockets.

Its pictures depend on all that it was asked. It notices clients that hang up, and holds what is asked for ``slowly``.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self

import multipart
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from imagerouter.testing.drawing import draw

STANDARD = frozenset(
    "model prompt n size quality background moderation output_format output_compression partial_images stream user "
    "safety_identifier complexity input_fidelity".split()
)
"""What gpt-image models take; everything else is refused."""
DIFFUSERS = frozenset(
    "model prompt n size response_format user negative_prompt num_inference_steps guidance_scale seed".split()
)


@dataclass
class Answer:
    """What is sent instead of pictures."""

    status: int = 200
    body: Any = None
    """Bytes, or something to write as JSON."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    """One request that has arrived."""

    path: str
    headers: dict[str, str]
    fields: dict[str, Any]
    files: list[tuple[str, str, bytes]] = field(default_factory=list)
    """Field, media type and content."""


class FakeOpenAI:
    """Runs between ``async with`` and its end."""

    def __init__(
        self,
        models: tuple[str, ...] = ("gpt-image-2", "gpt-image-1.5", "gpt-5.5"),
        *,
        owner: str = "openai",
        takes: frozenset[str] = STANDARD,
        keeps_seeds: bool = False,
    ) -> None:
        self.models = [{"id": name, "object": "model", "created": 1, "owned_by": owner} for name in models]
        self.key: str | None = None
        self.asked: list[Asked] = []
        self.paths: list[str] = []
        """Of all requests, those for the list included."""
        self.interrupted = 0
        self.answers: list[Answer] = []
        """Sent one after the other before anything is drawn again."""
        self.lists: Answer | None = None
        """Sent instead of the list of models."""
        self._takes, self._keeps_seeds = takes, keeps_seeds
        self._drawn = 0
        self._running = asyncio.Event()
        self._idle = asyncio.Event()
        self._state = ServerState()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def running(self) -> None:
        """Until it holds a request."""
        await self._running.wait()

    async def idle(self) -> None:
        """Until the client of the request that it held is gone."""
        await self._idle.wait()

    async def __aenter__(self) -> Self:
        config = uvicorn.Config(self._app, interface="asgi3", lifespan="off", proxy_headers=False, log_config=None)
        config.load()
        make = lambda: HttpToolsProtocol(config=config, server_state=self._state, app_state={})  # noqa: E731
        self._server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for connection in [*self._state.connections]:
            connection.transport.abort()
        while self._state.tasks:
            await asyncio.sleep(0)

    async def _app(self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Any) -> None:
        body = b""
        is_whole = False
        while not is_whole:
            if (message := await receive())["type"] == "http.disconnect":
                return None
            body += message["body"]
            is_whole = not message["more_body"]
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.paths.append(scope["path"])
        if self.key is not None and headers.get("authorization") != f"Bearer {self.key}":
            said = f"Incorrect API key provided: {headers.get('authorization', 'none')[7:12]}***"
            return await _send(send, _error(401, said, code="invalid_api_key"))
        if scope["path"] == "/v1/models":
            return await _send(send, self.lists or Answer(body={"object": "list", "data": self.models}))
        if not scope["path"].startswith("/v1/images/"):
            return await _send(send, Answer(body=draw(scope["path"].encode(), 64, 64)))
        asked = _read(scope["path"], headers, body)
        self.asked.append(asked)
        answer = self._refusal(asked) or (self.answers.pop(0) if self.answers else None)
        if answer is not None:
            return await _send(send, answer)
        if "slowly" in asked.fields["prompt"]:
            self._running.set()
            while (await receive())["type"] != "http.disconnect":
                pass
            self.interrupted += 1
            self._idle.set()
            return None
        return await self._draw(asked, send)

    def _refusal(self, asked: Asked) -> Answer | None:
        known = [name for model in self.models for name in (model["id"], *model.get("aliases", []))]
        if asked.fields.get("model") not in known:
            return _error(404, "The model does not exist", param="model", code="model_not_found")
        if unknown := sorted(asked.fields.keys() - self._takes):
            return _error(400, f"Unknown parameter: '{unknown[0]}'.", param=unknown[0], code="unknown_parameter")
        return None

    async def _draw(self, asked: Asked, send: Any) -> None:
        pictures = [self._picture(asked, index) for index in range(int(asked.fields.get("n", 1)))]
        if not asked.fields.get("stream") or asked.fields["stream"] == "false":
            data = [{"b64_json": text, "revised_prompt": 'say "b64_json":"'} for text in pictures]
            return await _send(send, Answer(body={"created": 1, "background": "opaque", "data": data, "usage": {}}))
        await send(_start(200, {"content-type": "text/event-stream; charset=utf-8"}))
        kind = "image_edit" if asked.files else "image_generation"
        for number in range(int(asked.fields.get("partial_images", 0))):
            preview = _text(draw(bytes([number]), 16, 16))
            await _event(send, {"type": f"{kind}.partial_image", "b64_json": preview, "partial_image_index": number})
        for text in pictures:
            await _event(send, {"type": f"{kind}.completed", "b64_json": text, "usage": {}})
        return await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    def _picture(self, asked: Asked, index: int) -> str:
        self._drawn += 1
        size = asked.fields.get("size", "auto")
        width, height = (1024, 1024) if size == "auto" else map(int, size.split("x"))
        told = {name: str(value) for name, value in asked.fields.items() if name != "n"}
        luck = index if self._keeps_seeds else self._drawn
        files = [(name, base64.b64encode(content).decode()) for name, _, content in asked.files]
        return _text(draw(json.dumps([sorted(told.items()), files, luck]).encode(), width, height))


def _read(path: str, headers: dict[str, str], body: bytes) -> Asked:
    kind, options = multipart.parse_options_header(headers.get("content-type", ""))
    if kind != "multipart/form-data":
        return Asked(path, headers, json.loads(body))
    asked = Asked(path, headers, {})
    for part in multipart.MultipartParser(io.BytesIO(body), options["boundary"]):
        if part.filename:
            asked.files.append((part.name, part.content_type, part.raw))
        else:
            asked.fields[part.name] = part.value
    return asked


def _error(status: int, message: str, **more: str) -> Answer:
    return Answer(status, {"error": {"message": message, "type": "invalid_request_error", "param": None, **more}})


def _text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def _start(status: int, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }


async def _send(send: Any, answer: Answer) -> None:
    raw = isinstance(answer.body, bytes)
    body = answer.body if raw else json.dumps(answer.body).encode()
    kind = {} if raw else {"content-type": "application/json"}
    with suppress(ConnectionError):
        await send(_start(answer.status, {**kind, **answer.headers, "content-length": str(len(body))}))
        await send({"type": "http.response.body", "body": body})


async def _event(send: Any, payload: dict[str, Any]) -> None:
    data = f"event: {payload['type']}\ndata: {json.dumps(payload)}\n\n".encode()
    for start in range(0, len(data), 700):
        await send({"type": "http.response.body", "body": data[start : start + 700], "more_body": True})
