"""Only those who have a key come in; everybody may ask whether the server lives, and how it is used."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from imagerouter.app.body import discard
from imagerouter.auth import identify
from imagerouter.engine import Engine
from imagerouter.errors import AuthenticationError


async def need_key(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """A guard: it runs before the handler and before the body is read. Keeps the sender as ``state.origin``."""
    if _is_open(connection.scope["path"]):
        return
    engine: Engine = connection.app.state.engine
    try:
        connection.state.origin = identify(engine.config, connection.headers)
    except AuthenticationError:
        await discard(connection, engine.config.limits.max_body)
        raise


def _is_open(path: str) -> bool:
    # Links to stored pictures are signed.
    return path in ("/", "/docs") or path.startswith(("/health/", "/docs/", "/v1/files/", "/files/"))
