"""The one place that builds HTTP clients for adapters and translates their failures into our errors.

Adapters import the client from here, so that what lies under it can change without touching them.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from types import TracebackType
from urllib.request import getproxies

import httpx
import msgspec

from imagerouter.errors import (
    GenerationError,
    ImageRouterError,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.transport import Transport
from imagerouter.transport.client import Answer, Client

__all__ = [
    "CONNECT_TIMEOUT",
    "Answer",
    "Client",
    "is_local",
    "make_client",
    "map_http_errors",
    "presentable",
    "raise_for_status",
    "retry_after",
    "status_error",
]

CONNECT_TIMEOUT = 5.0
WRITE_TIMEOUT = 60.0

KEEPALIVE_EXPIRY = 4.0
"""Seconds. Shorter than the five after which the least patient backends drop an idle connection: a request
must not be sent into one that is about to be closed, because then nobody knows whether it arrived."""
_MOST_IDLE = 100
_PROXIED = {"http", "https", "all"}


def make_client(
    base_url: str,
    *,
    read_timeout: float,
    headers: Mapping[str, str] | None = None,
    auth: httpx.Auth | tuple[str, str] | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
    direct: bool = False,
) -> Client:
    """A client for one backend.

    :param read_timeout: seconds between two pieces of an answer. Backends that say nothing until the
        picture is ready need the provider's whole ``timeout`` here.
    :param transport: for tests, or for a backend that isn't reached over TCP.
    :param direct: never by way of a proxy.

    Bodies are asked for uncompressed: pictures don't shrink, and a backend that tries holds up its own event
    loop for it. Redirects aren't followed: they would turn a POST into a GET. Connections aren't limited,
    because the core already limits jobs, and a cancellation must never queue up behind them. Cookies aren't kept:
    what one job is told must not change the next one's requests. A proxy and a CA bundle named by the environment
    are used as usual, but nothing sends a machine on this network to a proxy. Where the environment names one,
    httpx's own transport talks to everybody else's machines; in all other cases it is `imagerouter.transport`.
    """
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=_MOST_IDLE, keepalive_expiry=KEEPALIVE_EXPIRY)
    verify = _tls(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    if transport is None and (direct or is_local(httpx.URL(base_url).host) or not getproxies().keys() & _PROXIED):
        # A client that is given its transport ignores the proxies, and only those, of the environment.
        transport = Transport(tls=verify, keepalive=KEEPALIVE_EXPIRY, idle=_MOST_IDLE)
    return Client(
        base_url=base_url,
        headers={"accept-encoding": "identity", "user-agent": "imagerouter", **(headers or {})},
        auth=auth,
        timeout=httpx.Timeout(read_timeout, connect=CONNECT_TIMEOUT, write=WRITE_TIMEOUT),
        limits=limits,
        verify=verify,
        follow_redirects=False,
        transport=transport,
    )


@cache
def _tls(file: str | None, folder: str | None) -> ssl.SSLContext:  # noqa: ARG001 - what httpx reads them for
    """One for all clients: reading the certificates takes longer than a small picture."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def is_local(host: str) -> bool:
    """Whether a host is on this machine or network, as far as its name alone can tell."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return "." not in host or host.endswith((".local", ".lan", ".internal", ".localhost", ".home.arpa"))
    return not address.is_global


_FAILURES: tuple[tuple[type[Exception], type[ImageRouterError], str], ...] = (
    (httpx.ConnectError, ProviderUnavailableError, "can't be reached"),
    (httpx.ConnectTimeout, ProviderUnavailableError, "can't be reached: it doesn't answer the connection"),
    (httpx.ProxyError, ProviderUnavailableError, "can't be reached: the proxy in between refused"),
    (httpx.UnsupportedProtocol, ProviderUnavailableError, "has a base_url that isn't http:// or https://"),
    (httpx.InvalidURL, ProviderUnavailableError, "has a base_url that isn't valid"),
    (httpx.PoolTimeout, ProviderBusyError, "has no free connection"),
    (httpx.TimeoutException, ProviderTimeoutError, "took too long to answer"),
    (httpx.DecodingError, ProviderResponseError, "sent an answer that can't be decompressed"),
    (httpx.TransportError, ProviderResponseError, "closed the connection before its answer was complete"),
    (httpx.HTTPError, ProviderResponseError, "sent an answer that can't be used"),
    (httpx.StreamError, ProviderResponseError, "sent an answer that can't be read"),
    (ConnectionRefusedError, ProviderUnavailableError, "can't be reached"),
    (socket.gaierror, ProviderUnavailableError, "can't be reached: its host name isn't known"),
    (ConnectionError, ProviderResponseError, "closed the connection before its answer was complete"),
    (TimeoutError, ProviderTimeoutError, "took too long to answer"),
    (msgspec.MsgspecError, ProviderResponseError, "sent an answer that can't be understood"),
    (json.JSONDecodeError, ProviderResponseError, "sent an answer that isn't JSON"),
    (UnicodeDecodeError, ProviderResponseError, "sent an answer that isn't text"),
)
"""The first row that fits is taken. The last ones are for websockets, and for reading the body."""


class map_http_errors:  # noqa: N801 - it is used as a function
    """Translate every way in which talking to a backend, or reading its answer, can fail.

    A timeout may mean that the backend is still at work: ask it, or cancel the job there, before letting
    the error out. Messages name the provider and no address; the original is in ``__cause__``, for the log.
    """

    __slots__ = ("_provider",)

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Exception) and (translated := _translate(error, self._provider)) is not None:
            raise translated from error


def _translate(error: Exception, provider: str) -> ImageRouterError | None:
    if isinstance(error, httpx.HTTPStatusError):
        return status_error(error.response, provider)
    for foreign, own, what in _FAILURES:
        if isinstance(error, foreign):
            return own(f"provider `{provider}` {what}")
    if type(error) is OSError:
        # No route, or every address of a host refused: asyncio has no class of its own for these.
        return ProviderUnavailableError(f"provider `{provider}` can't be reached")
    return None


def raise_for_status(response: httpx.Response | Answer, provider: str, detail: str = "") -> None:
    """Raise what an answer that isn't 2xx means. ``detail`` is the backend's own explanation, if any."""
    if not response.is_success:
        raise status_error(response, provider, detail)


def status_error(response: httpx.Response | Answer, provider: str, detail: str = "") -> ProviderError:
    """The error for an answer that isn't 2xx."""
    status = response.status_code
    own, what = _meaning(status)
    explained = f": {shown}" if (shown := presentable(detail)) else ""
    wait = retry_after(response) if own is ProviderBusyError else None
    return own(f"provider `{provider}` {what} (HTTP {status}){explained}", retry_after=wait)


_MEANINGS: dict[int, tuple[type[ProviderError], str]] = {
    # Our credentials are at fault, not the client's: this must not become a 401 that blames its API key.
    401: (ProviderError, "doesn't accept the credentials that it is configured with"),
    403: (ProviderError, "doesn't allow this with the credentials that it is configured with"),
    408: (ProviderTimeoutError, "took too long to answer"),
    429: (ProviderBusyError, "is busy"),
    502: (ProviderUnavailableError, "can't be reached: the proxy in front of it gets no answer"),
    503: (ProviderBusyError, "is busy"),
    504: (ProviderTimeoutError, "took too long to answer"),
}


def _meaning(status: int) -> tuple[type[ProviderError], str]:
    if status in _MEANINGS:
        return _MEANINGS[status]
    if status >= 500:
        return GenerationError, "failed to draw it"
    if status >= 400:
        return ProviderRejectedError, "rejected the request"
    return ProviderResponseError, "answered with a redirect; its base_url is probably not quite right"


def retry_after(response: httpx.Response | Answer) -> float | None:
    """Seconds to wait according to the ``retry-after`` header, in either of its two forms."""
    value = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", value):
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


_PRIVATE = re.compile(
    r"""[a-z][a-z0-9+.-]*://\S+                                          # addresses
    |   \b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b                             # IPv4, with or without a port
    |   (?<![\w.])(?:[A-Za-z]:)?                                         # paths, spaces inside included
        (?:[\\/][\w.@~-]+(?:\ [\w.@~-]+)*(?=[\\/]))+ [\\/][\w.@~-]+[\\/]?
    """,
    re.VERBOSE,
)


def presentable(text: str, limit: int = 300) -> str:
    """A backend's message as a client may read it: one line, without its traceback, paths and addresses."""
    message, _, _ = text[: 4 * limit].partition("Traceback (most recent call last)")
    line = " ".join(_PRIVATE.sub("…", message).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
