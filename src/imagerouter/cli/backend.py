"""Where a command's work is done: on a server, or in this process."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import httpx
import msgspec

from imagerouter.cli.options import configure_quietly
from imagerouter.client import AsyncClient, CompletedEvent, Picture, ProgressEvent, Result
from imagerouter.errors import ConfigError, ImageRouterError
from imagerouter.http import make_client
from imagerouter.types import Image

KEY_VARIABLE = "IMAGEROUTER_API_KEY"
Show = Callable[[ProgressEvent], None]
SILENCE_SECONDS = 60.0
"""Servers send a comment every four seconds while they have nothing to say."""


class Backend(Protocol):
    """What the commands need that work with either kind."""

    async def draw(self, fields: dict[str, Any], show: Show) -> Result:
        """The pictures that a body's fields ask for; ``show`` is told what happens on the way."""

    async def models(self) -> list[dict[str, Any]]:
        """The models as ``/v1/models`` lists them."""

    async def route(self, fields: dict[str, Any]) -> dict[str, Any]:
        """What would become of a call, as ``/v1/route`` tells it."""


@asynccontextmanager
async def connect(server: str | None, config: Path | None) -> AsyncIterator[Backend]:
    """The server at that address, or a client of our own with every provider started."""
    if server is not None:
        async with remote(server) as backend:
            yield backend
    else:
        configure_quietly()
        async with AsyncClient(config) as client:
            yield Local(client)


@asynccontextmanager
async def remote(server: str) -> AsyncIterator[Remote]:
    """The server at that address, with the API key of this environment."""
    url = api_url(server)
    key = os.environ.get(KEY_VARIABLE)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with make_client(url, read_timeout=SILENCE_SECONDS, headers=headers) as client:
        yield Remote(url, client)


def api_url(server: str) -> str:
    """``host:8000``, ``http://host:8000`` or ``http://host:8000/v1/`` → the last, without its slash."""
    url = (server if "://" in server else f"http://{server}").rstrip("/")
    return url if url.endswith("/v1") else f"{url}/v1"


class Local:
    """A client in this process."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def draw(self, fields: dict[str, Any], show: Show) -> Result:
        async with aclosing(self._client.stream(**fields)) as events:
            async for event in events:
                if isinstance(event, ProgressEvent):
                    show(event)
                elif isinstance(event, CompletedEvent):
                    return event.result
        raise AssertionError("a stream ends with its pictures")

    async def models(self) -> list[dict[str, Any]]:
        return await self._client.models()

    async def route(self, fields: dict[str, Any]) -> dict[str, Any]:
        return await self._client.route(**fields)


class Remote:
    """A running imagerouter."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url
        self._client = client

    async def draw(self, fields: dict[str, Any], show: Show) -> Result:
        drawn: list[dict[str, Any]] = []
        async with aclosing(self._payloads({**fields, "stream": True, "stream_progress": True})) as payloads:
            async for payload in payloads:
                if payload["type"] in ("image_generation.queued", "image_generation.progress"):
                    show(ProgressEvent(**{name: payload[name] for name in ProgressEvent.__slots__}))
                elif payload["type"] == "image_generation.completed":
                    drawn.append(payload)
        if len(drawn) != (wanted := fields.get("n", 1)):
            raise ImageRouterError(f"the connection ended after {len(drawn)} of {wanted} pictures")
        pictures = (Picture(Image(b64=each["b64_json"].encode()), each.get("seed")) for each in drawn)
        return Result(tuple(pictures), drawn[0]["imagerouter"], drawn[0]["usage"]["cost"])

    async def _payloads(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The payloads of a streamed call. A failure is raised."""
        try:
            async with self._client.stream("POST", "/images/generations", json=body) as answer:
                if not answer.is_success:
                    raise _failure(self._url, answer, await answer.aread())
                async for line in answer.aiter_lines():
                    if (payload := _payload(line.encode())) is not None:
                        yield payload
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(self._url, error) from error

    async def models(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self._ask("GET", "/models", "data"))["data"]
        return listed

    async def route(self, fields: dict[str, Any]) -> dict[str, Any]:
        return await self._ask("POST", "/route", "targets", fields)

    async def providers(self) -> dict[str, Any]:
        """The providers as ``/v1/providers`` lists them."""
        return await self._ask("GET", "/providers", "data")

    async def reload(self) -> dict[str, Any]:
        """What ``/v1/reload`` changed. Raises `ConfigError` if the server's file is wrong."""
        return await self._ask("POST", "/reload", "kept")

    async def _ask(self, method: str, path: str, needed: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """The answer as JSON; one without the key ``needed`` is a failure."""
        try:
            answer = await self._client.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise _unreachable(self._url, error) from error
        try:
            told: dict[str, Any] = msgspec.json.decode(answer.content)
            told[needed]
        except (msgspec.DecodeError, LookupError, TypeError):
            raise _failure(self._url, answer, answer.content) from None
        return told


def _payload(line: bytes) -> dict[str, Any] | None:
    """What one line of a stream of server-sent events holds, if anything; an error in it is raised."""
    if not line.startswith(b"data:"):
        return None
    payload: dict[str, Any] = msgspec.json.decode(line.removeprefix(b"data:"))
    if "error" in payload:
        raise ImageRouterError(payload["error"]["message"])
    return payload


def _unreachable(url: str, error: Exception) -> ImageRouterError:
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
        return ImageRouterError(f"no server answers at {url}; start one with `imagerouter serve`")
    return ImageRouterError(f"{url}: {str(error) or type(error).__name__}")


def _failure(url: str, answer: httpx.Response, body: bytes) -> ImageRouterError:
    try:
        error = msgspec.json.decode(body)["error"]
        message, code = str(error["message"]), error.get("code")
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return ImageRouterError(f"{url} answered HTTP {answer.status_code}, which is not what imagerouter says")
    if code == "invalid_configuration":
        return ConfigError(message.splitlines())
    hint = f" ({KEY_VARIABLE} holds the key that is sent)" if answer.status_code == 401 else ""
    return ImageRouterError(message + hint)
