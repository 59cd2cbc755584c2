"""The family's HTTP routes, as far as an image needs them. No answer is trusted unchecked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from imagerouter import ImageRouterError, ProviderResponseError
from imagerouter.http import CONNECT_TIMEOUT, make_client, map_http_errors, raise_for_status
from imagerouter.remote import headers_of
from imagerouter_a1111.config import A1111Config

ASK_SECONDS = 15.0
"""Longest silence before an answer. With forty requests under way a server answers none in time (its thread pool)."""
SLACK_SECONDS = 60.0
"""How much longer than the provider's ``timeout`` a connection stays open: the core ends the job first."""

_PATIENCE = httpx.Timeout(ASK_SECONDS, connect=CONNECT_TIMEOUT)
_JSON = {"content-type": "application/json"}
_ALONE = {**_JSON, "connection": "close"}
"""For a job after whose failure the server closes the connection without having said so."""


class Answer(msgspec.Struct, frozen=True):
    """A reply of any status, read but not judged."""

    status: int
    body: bytes
    response: httpx.Response

    @property
    def is_success(self) -> bool:
        return self.response.is_success

    def json(self) -> Any:
        """The decoded body; ``None`` where it is no JSON."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.MsgspecError:
            return None


class Api:
    """One server. Raises classes of `imagerouter.errors`."""

    def __init__(self, name: str, config: A1111Config) -> None:
        self._name = name
        # A server says nothing at all until the pictures are there.
        self._client = make_client(
            config.base_url.rstrip("/") + "/",
            read_timeout=config.timeout + SLACK_SECONDS,
            headers=headers_of(config),
        )

        self._ahead = float("-inf")
        """Seconds by which the server's clock is ahead of ours, at least: its ``date`` is rounded down."""

    @property
    def clock(self) -> float:
        """The server's own time, in Unix seconds, and never later than it is there; 0.0 where it doesn't tell."""
        return max(0.0, time.time() + self._ahead)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def get(self, path: str, *, missing: Any = None, **query: str) -> Any:
        """The JSON behind a path without its leading slash; ``missing`` where there is no such route (404, 405)."""
        try:
            answer = await self._bounded("GET", path, params=query)
        except ProviderResponseError:  # a connection that was closed while nobody looked
            answer = await self._bounded("GET", path, params=query)
        if answer.status in (404, 405) and missing is not None:
            return missing
        return self._checked(answer, path)

    async def post(self, path: str, body: Any = None, *, missing: Any = None, **query: str) -> Any:
        """The JSON of an answer to a request that is answered at once."""
        content = b"{}" if body is None else msgspec.json.encode(body)
        answer = await self._bounded("POST", path, content=content, headers=_JSON, params=query)
        if answer.status in (404, 405) and missing is not None:
            return missing
        return self._checked(answer, path)

    async def exchange(self, path: str, body: Mapping[str, Any], *, alone: bool = False) -> Answer:
        """Send a job and wait for its end, however long that takes. The answer isn't judged.

        :param alone: close the connection afterwards, for a server that would close it without saying so.
        """
        with map_http_errors(self._name):
            headers = _ALONE if alone else _JSON
            response = await self._client.post(path, content=msgspec.json.encode(body), headers=headers)
            return Answer(response.status_code, response.content, response)

    async def _bounded(self, method: str, path: str, **more: Any) -> Answer:
        with map_http_errors(self._name):
            response = await self._client.request(method, path, timeout=_PATIENCE, **more)
            self._ahead = max(self._ahead, _time_of(response) - time.time())
            return Answer(response.status_code, response.content, response)

    def _checked(self, answer: Answer, path: str) -> Any:
        with map_http_errors(self._name):
            raise_for_status(answer.response, self._name)
        if not answer.body.strip():
            return None
        found = answer.json()
        if found is None and answer.body.strip() != b"null":
            raise ProviderResponseError(f"provider `{self._name}` answered `{path}` with something that isn't JSON")
        return found

    async def try_get(self, path: str, default: Any = None, **query: str) -> Any:
        """The same for what an answer is worth having, and no answer nothing to worry about."""
        try:
            found = await self.get(path, **query)
        except ImageRouterError:
            return default
        return default if found is None else found


def _time_of(response: httpx.Response) -> float:
    try:
        return parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return float("-inf")
