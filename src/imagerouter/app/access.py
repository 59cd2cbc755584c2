"""Only those who have a key come in; everybody may ask whether the server lives, and how it is used."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Receive, Scope, Send

from imagerouter.app.body import discard
from imagerouter.auth import identify
from imagerouter.engine import Engine
from imagerouter.errors import AuthenticationError


class NeedKey(ASGIMiddleware):
    """Runs before the handler and before the body is read. Keeps the sender as ``state.origin``.

    No guard, since Litestar copies the handler for each guard and request.
    """

    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        if not _is_open(scope["path"]):
            await _identify(ASGIConnection(scope, receive, send))
        await next_app(scope, receive, send)


async def _identify(connection: ASGIConnection[Any, Any, Any, Any]) -> None:
    engine: Engine = connection.app.state.engine
    try:
        connection.state.origin = identify(engine.config, connection.headers)
    except AuthenticationError:
        await discard(connection, engine.config.limits.max_body)
        raise


def _is_open(path: str) -> bool:
    # Links to stored pictures are signed.
    return path in ("/", "/docs") or path.startswith(("/health/", "/docs/", "/v1/files/", "/files/"))
