"""The request's id: taken from the client or drawn, sent back on every reply and bound into every log line."""

from __future__ import annotations

import re
import secrets

import structlog
from litestar.datastructures import Headers, MutableScopeHeaders
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = re.compile(r"[\w.:-]{1,128}", re.ASCII)


def request_id(scope: Scope) -> str:
    """The same id every time for one request; a client's own is taken over only if it is harmless in a log."""
    state = scope.setdefault("state", {})
    if "request_id" not in state:
        given = Headers.from_scope(scope).get("x-request-id", "")
        state["request_id"] = given if _SAFE.fullmatch(given) else f"req_{secrets.token_hex(12)}"
    return str(state["request_id"])


class RequestId(ASGIMiddleware):
    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        with structlog.contextvars.bound_contextvars(request_id=request_id(scope)):
            await next_app(scope, receive, send)


async def send_request_id(message: Message, scope: Scope) -> None:
    """A hook rather than part of the middleware: replies to unknown routes pass no middleware."""
    if message["type"] == "http.response.start":
        MutableScopeHeaders.from_message(message)["x-request-id"] = request_id(scope)
