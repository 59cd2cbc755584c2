"""The API's routes, as far as an image needs them. No answer is trusted unchecked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec

from imagerouter import Image, ProviderResponseError
from imagerouter.http import CONNECT_TIMEOUT, Answer, make_client, map_http_errors
from imagerouter.logs import get_logger
from imagerouter.remote import PASSED, passed
from imagerouter_openai.answers import proven
from imagerouter_openai.config import OpenAIConfig, headers_of

log = get_logger(__name__)

ASK_SECONDS = 15.0
"""Longest silence before a list of models."""
SLACK_SECONDS = 60.0
"""How much longer than the provider's ``timeout`` a connection stays open: the core ends the job first."""

_PATIENCE = httpx.Timeout(ASK_SECONDS, connect=CONNECT_TIMEOUT)
_JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Form:
    """A request with files: they are sent beside the fields of its body."""

    files: Sequence[tuple[str, Image]]
    """Field and picture."""


class Api:
    """One server. Raises classes of `imagerouter.errors`, or hands back what it refused with."""

    def __init__(self, name: str, config: OpenAIConfig) -> None:
        self._name = name
        self._read_timeout = config.timeout + SLACK_SECONDS
        # A server says nothing at all until the pictures are there.
        self._client = make_client(config.root, read_timeout=self._read_timeout, headers=headers_of(config))
        self._hosts = frozenset(host.lower() for host in config.url_hosts)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get(self, path: str) -> Answer:
        with map_http_errors(self._name):
            return await self._client.ask("GET", path, patience=_PATIENCE)

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer:
        """Cancelling it closes the connection."""
        with map_http_errors(self._name):
            return await self._client.ask("POST", path, msgspec.json.encode(body))

    @asynccontextmanager
    async def stream(self, path: str, body: Mapping[str, Any], form: Form | None) -> AsyncIterator[httpx.Response]:
        """The answer, whose body isn't read yet. Leaving before its end closes the connection."""
        async with AsyncExitStack() as stack:
            with map_http_errors(self._name):
                request = self._client.stream("POST", path, **_content(body, form))
                yield await stack.enter_async_context(request)

    async def body(self, response: httpx.Response) -> bytes:
        with map_http_errors(self._name):
            return await response.aread()

    async def fetch(self, url: str) -> Image:
        """The picture behind an address that the server has answered with, if it may be fetched.

        Raises `ProviderResponseError`.
        """
        if url[:5].lower() == "data:":
            head, _, encoded = url.partition(",")
            if not head.lower().endswith(";base64"):
                raise ProviderResponseError(f"provider `{self._name}` sent something that isn't a picture")
            return proven(Image(b64=encoded.encode()), self._name)
        with map_http_errors(self._name):
            address = self._client.base_url.join(url)
            if _origin(address) == _origin(self._client.base_url):
                response = await self._client.get(address)
            elif address.scheme in ("http", "https") and address.host.lower() in self._hosts:
                # Credentials are for the server alone.
                async with make_client(str(address), read_timeout=self._read_timeout) as client:
                    response = await client.get(address)
            else:
                log.warning("openai.url_refused", provider=self._name, host=address.host)
                message = f"provider `{self._name}` answered with an address on a host that isn't in its `url_hosts`"
                raise ProviderResponseError(message)
        if not response.is_success:
            raise ProviderResponseError(f"provider `{self._name}` answered with an address where no picture is")
        return proven(Image(data=response.content), self._name)


def _origin(address: httpx.URL) -> tuple[str, str, int | None]:
    port = address.port or {"http": 80, "https": 443}.get(address.scheme)
    return address.scheme, address.host.lower(), port


def _content(body: Mapping[str, Any], form: Form | None) -> dict[str, Any]:
    if form is None:
        return {"content": msgspec.json.encode(body), "headers": {**_JSON, **_passed()}}
    files = [(field, (_file_name(image), image.data, image.media_type)) for field, image in form.files]
    return {"data": {name: _text(value) for name, value in body.items()}, "files": files, "headers": _passed()}


def _passed() -> dict[str, str]:
    """Another imagerouter is always asked for a stream, so it needs no header elsewhere."""
    return {PASSED: value} if (value := passed.get()) else {}


def _file_name(image: Image) -> str:
    """Some servers tell the kind of a file from its name."""
    return f"image.{image.media_type.removeprefix('image/')}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
