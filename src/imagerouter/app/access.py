"""Only those who have a key come in; everybody may ask whether the server lives, and how it is used."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from imagerouter.app.body import discard
from imagerouter.errors import AuthenticationError


async def need_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: it runs before the handler and before the body is read. Keeps the sender as the request's ``auth``."""
    if _is_open(connection.scope["path"]):
        return
    state = connection.app.state
    try:
        connection.scope["auth"] = state.keyring().origin(connection.headers)
    except AuthenticationError:
        await discard(connection, state.engine.config.limits.max_body)
        raise


def _is_open(path: str) -> bool:
    # Links to stored pictures are signed.
    return path in ("/", "/docs") or path.startswith(("/health/", "/docs/", "/v1/files/", "/files/"))
