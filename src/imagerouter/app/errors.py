"""Every failure leaves the house in OpenAI's shape, and none with a traceback or a path in it."""

from __future__ import annotations

import math
from typing import Any

import structlog
from litestar import Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException
from litestar.types import Send

from imagerouter.errors import (
    AuthenticationError,
    ImageRouterError,
    InternalError,
    InvalidRequestError,
    NotFoundError,
)
from imagerouter.openai import response

log = structlog.get_logger(__name__)


class MethodNotAllowedError(InvalidRequestError):
    """The route exists, but not for this method."""

    status = 405
    code = "method_not_allowed"


class ShuttingDownError(ImageRouterError):
    """The server finishes what it has and takes nothing new; in the end it doesn't even finish."""

    status = 503
    code = "shutting_down"

    def __init__(self) -> None:
        super().__init__("The server is shutting down", retry_after=5)


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


def headers_for(error: ImageRouterError) -> dict[str, str]:
    """``retry-after`` where waiting helps; everywhere else SDKs are told not to send the job again.

    Both OpenAI SDKs repeat every 408, 409, 429 and 5xx twice by themselves, after our own fallback.
    """
    if error.retry_after is not None:
        return {"retry-after": str(math.ceil(error.retry_after))}
    way_in = {"www-authenticate": "Bearer"} if isinstance(error, AuthenticationError) else {}
    return {"x-should-retry": "false", **way_in}


def answer(error: ImageRouterError, headers: dict[str, str] | None = None) -> Response[bytes]:
    return Response(
        response.error_body(error),
        status_code=error.status,
        media_type="application/json",
        headers={**headers_for(error), **(headers or {})},
    )


async def send_error(error: ImageRouterError, send: Send) -> None:
    """Answer a request of which nothing else is left."""
    content, headers = response.error_body(error), {"content-type": "application/json", **headers_for(error)}
    told = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": told})
    await send({"type": "http.response.body", "body": content, "more_body": False})


def _own(_: Request[Any, Any, Any], error: ImageRouterError) -> Response[bytes]:
    return answer(error)


def known(request: Request[Any, Any, Any], error: Exception) -> ImageRouterError:
    """Litestar's own refusals, no route and wrong method, as errors of ours; whatever else it is, is logged."""
    # Not `request.url`: that takes the host header in, which may be anything.
    method, path = request.method, request.scope["path"]
    if isinstance(error, MethodNotAllowedException):
        return MethodNotAllowedError(f"{path} does not take {method}")
    if isinstance(error, HTTPException) and error.status_code == 404:
        return NotFoundError(f"There is no {method} {path}; the API is described at /docs")
    if isinstance(error, HTTPException) and error.status_code < 500:
        return InvalidRequestError(error.detail)
    log.error("request.defect", path=path, exc_info=error)
    return InternalError("An internal error occurred; the server's log says more")


def _http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    # A wrong method is answered with those that are right.
    return answer(known(request, error), error.headers)


def _gone(_: Request[Any, Any, Any], __: Exception) -> Response[bytes]:
    """For the metrics: nobody reads it."""
    return Response(b"", status_code=499)


def _defect(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    return answer(known(request, error))


HANDLERS: Any = {ImageRouterError: _own, HTTPException: _http, ClientGoneError: _gone, Exception: _defect}
