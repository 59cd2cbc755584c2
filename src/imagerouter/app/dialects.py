"""Routes of other dialects are there while the configuration has them on, also after a reload."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Guard

from imagerouter.engine import Engine
from imagerouter.errors import NotFoundError


def while_on(name: str) -> Guard:
    """A guard that answers 404 while ``dialects.{name}`` is false."""

    async def is_on(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
        engine: Engine = connection.app.state.engine
        if not getattr(engine.config.dialects, name):
            method, path = connection.scope.get("method"), connection.scope["path"]
            raise NotFoundError(f"There is no {method} {path}: `dialects.{name}` is off in this server's configuration")

    return is_on
