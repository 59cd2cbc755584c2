"""The family's HTTP routes, as far as an image needs them. No answer is trusted unchecked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import msgspec

from imagerouter import ImageRouterError, ProviderResponseError
from imagerouter.http import CONNECT_TIMEOUT, Answer, make_client, map_http_errors, raise_for_status
from imagerouter.remote import headers_of
from imagerouter_a1111.config import A1111Config

ASK_SECONDS = 15.0
"""Longest silence before an answer. With forty requests under way a server answers none in time (its thread pool)."""
SLACK_SECONDS = 60.0
"""How much longer than the provider's ``timeout`` a connection stays open: the core ends the job first."""

_PATIENCE = httpx.Timeout(ASK_SECONDS, connect=CONNECT_TIMEOUT)


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
            answer = await self._bounded("GET", path, query=query)
        except ProviderResponseError:  # a connection that was closed while nobody looked
            answer = await self._bounded("GET", path, query=query)
        if answer.status_code in (404, 405) and missing is not None:
            return missing
        return self._checked(answer, path)

    async def post(self, path: str, body: Any = None, *, missing: Any = None, **query: str) -> Any:
        """The JSON of an answer to a request that is answered at once."""
        content = b"{}" if body is None else msgspec.json.encode(body)
        answer = await self._bounded("POST", path, content, query=query)
        if answer.status_code in (404, 405) and missing is not None:
            return missing
        return self._checked(answer, path)

    async def exchange(self, path: str, body: Mapping[str, Any], *, alone: bool = False) -> Answer:
        """Send a job and wait for its end, however long that takes. The answer isn't judged.

        :param alone: close the connection afterwards, for a server that would close it without saying so.
        """
        with map_http_errors(self._name):
            return await self._client.ask("POST", path, msgspec.json.encode(body), alone=alone)

    async def _bounded(
        self, method: str, path: str, content: bytes | None = None, *, query: Mapping[str, str]
    ) -> Answer:
        with map_http_errors(self._name):
            answer = await self._client.ask(method, path, content, query=query, patience=_PATIENCE)
            self._ahead = max(self._ahead, _time_of(answer) - time.time())
            return answer

    def _checked(self, answer: Answer, path: str) -> Any:
        with map_http_errors(self._name):
            raise_for_status(answer, self._name)
        if not answer.content.strip():
            return None
        try:
            return answer.json()
        except msgspec.MsgspecError:
            message = f"provider `{self._name}` answered `{path}` with something that isn't JSON"
            raise ProviderResponseError(message) from None

    async def try_get(self, path: str, default: Any = None, **query: str) -> Any:
        """The same for what an answer is worth having, and no answer nothing to worry about."""
        try:
            found = await self.get(path, **query)
        except ImageRouterError:
            return default
        return default if found is None else found


def json_of(answer: Answer) -> Any:
    """What an answer says; ``None`` where it is no JSON."""
    try:
        return answer.json()
    except msgspec.MsgspecError:
        return None


def _time_of(answer: Answer) -> float:
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return float("-inf")
