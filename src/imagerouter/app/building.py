"""Litestar with less to do at the start: no plugins, no copies, and routes that all applications of a process share."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.events import SimpleEventEmitter
from litestar.handlers import BaseRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.plugins import PluginProtocol
from litestar.routes import BaseRoute
from litestar.types import ASGIApp, Receive, Scope, Send


class Application(Litestar):
    """Without the plugins for pydantic and attrs, which import much for types that no handler of ours has."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins

    def another(self) -> Self:
        """One with the same routes, whose making takes a hundred times longer, and a state of its own."""
        other = copy(self)
        other.state = State()
        other.event_emitter = SimpleEventEmitter([])
        other.asgi_router = copy(self.asgi_router)
        other.asgi_router.app = other  # whose lifespan it runs
        return other


class Own(ASGIMiddleware):
    """A middleware of which each application has its own, in its state."""

    scopes = (ScopeType.HTTP,)

    def __init__(self, name: str) -> None:
        self._name = name

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        own: ASGIMiddleware = scope["litestar_app"].state[self._name]
        await own.handle(scope, receive, send, next_app)


class Routes(Router):
    """A router of one application only, which needs no deep copy of it; a handler's signature is parsed only once."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def register(self, value: Any) -> list[BaseRoute]:
        if isinstance(value, BaseRouteHandler):
            assert value.parsed_fn_signature  # it keeps that, and so do its copies, which are what is registered
        return super().register(value)
