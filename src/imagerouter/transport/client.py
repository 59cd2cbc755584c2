"""The client that adapters get: httpx's, with a short way for what is asked a thousand times."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import httpx
import msgspec

from imagerouter.transport import Transport
from imagerouter.transport.heads import Head
from imagerouter.transport.outgoing import Prepared

_KEPT = 256
"""Paths whose addresses and heads are kept."""
_JSON = {"content-type": "application/json"}
_LAST = {"connection": "close"}


class Answer:
    """A whole answer of any status; what it has in common with httpx's has the same name."""

    __slots__ = ("_head", "content", "status_code")

    def __init__(self, status_code: int, content: bytes, head: Head | httpx.Headers) -> None:
        self.status_code = status_code
        self.content = content
        self._head = head

    @property
    def headers(self) -> httpx.Headers:
        return httpx.Headers(self._head.fields) if isinstance(self._head, Head) else self._head

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def is_server_error(self) -> bool:
        return 500 <= self.status_code < 600

    def json(self) -> Any:
        """Raises `msgspec.MsgspecError`."""
        return msgspec.json.decode(self.content)


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them."""


_NO_COOKIES = _NoCookies()


class Client(httpx.AsyncClient):
    """`ask` is for JSON and for files; httpx's own methods for forms, streams and other addresses.

    httpx takes longer for its request and response than imagerouter for all the rest. `ask` has it make each kind of
    request once and keeps the bytes. Where something stands in between, as a proxy, it goes the long way itself.
    """

    cookies = property(lambda _: _NO_COOKIES)

    def __init__(self, transport: httpx.AsyncBaseTransport | None, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        signs = self.auth is not None or bool(self.base_url.userinfo)
        self._short = transport if isinstance(transport, Transport) and not signs else None
        self._patience = self.timeout.as_dict()
        # httpx needs longer to join two addresses than for the rest of a request.
        self._joined = lru_cache(_KEPT)(self._merge_url)
        self._prepared = lru_cache(_KEPT)(self._prepare)

    def build_request(self, method: str, url: httpx.URL | str, **options: Any) -> httpx.Request:
        return super().build_request(method, self._joined(url), **options)

    async def ask(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        *,
        query: Mapping[str, str] | None = None,
        patience: httpx.Timeout | None = None,
        alone: bool = False,
    ) -> Answer:
        """Send a request, and wait for its answer to the last byte. Raises what httpx raises.

        :param path: below the client's address, without query.
        :param content: JSON.
        :param patience: other limits than the client's.
        :param alone: close the connection afterwards.
        """
        if self._short is None or self.is_closed:
            headers = _headers(content, alone=alone)
            timeout = self.timeout if patience is None else patience
            found = await self.request(method, path, content=content, params=query, headers=headers, timeout=timeout)
            return Answer(found.status_code, found.content, found.headers)
        prepared = self._prepared(method, path, content is not None, alone)
        timeouts = self._patience if patience is None else patience.as_dict()
        head, body = await self._short.ask(prepared.filled(content or b"", query, timeouts))
        if head.is_encoded:
            body = httpx.Response(head.status, headers=head.fields, content=body).content
        return Answer(head.status, body, head)

    def _prepare(self, method: str, path: str, has_content: bool, alone: bool) -> Prepared:
        content = b"{}" if has_content else None
        return Prepared.of(self.build_request(method, path, content=content, headers=_headers(content, alone=alone)))


def _headers(content: bytes | None, *, alone: bool) -> dict[str, str]:
    return {**({} if content is None else _JSON), **(_LAST if alone else {})}
