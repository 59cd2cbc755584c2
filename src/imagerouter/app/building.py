"""Litestar with less to do: no plugins, no copies, routes that all applications of a process share, and shortcuts."""

from __future__ import annotations

from copy import copy
from typing import Any, Self

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.events import SimpleEventEmitter
from litestar.handlers import BaseRouteHandler
from litestar.plugins import PluginProtocol
from litestar.routes import BaseRoute

from imagerouter.app.entrance import Entrance
from imagerouter.app.shortcut import shortcuts


class Belongings(State):
    """What an application has. Litestar looks each attribute up with a method; here they are attributes."""

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class Application(Litestar):
    """Without the plugins for pydantic and attrs, which import much for types that no handler of ours has.

    Its requests pass an `Entrance` first, and those that `Shortcut` can take, nothing else of Litestar's.
    """

    entrance: Entrance

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shortcuts = shortcuts(self.routes)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.entrance.handle(scope, receive, send, self._answered)
        else:
            await super().__call__(scope, receive, send)

    async def _answered(self, scope: Any, receive: Any, send: Any) -> None:
        shortcut = self._shortcuts.get(scope["path"])
        if shortcut is None or scope["method"] != "POST":
            await super().__call__(scope, receive, send)
        else:
            scope["litestar_app"] = self
            await shortcut(scope, receive, send)

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return plugins

    def another(self) -> Self:
        """One with the same routes, whose making takes a hundred times longer, and a state of its own."""
        other = copy(self)
        other.state = Belongings()
        other.event_emitter = SimpleEventEmitter([])
        other.asgi_router = copy(self.asgi_router)
        other.asgi_router.app = other  # whose lifespan it runs
        return other


class Routes(Router):
    """A router of one application only, which needs no deep copy of it; a handler's signature is parsed only once."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def register(self, value: Any) -> list[BaseRoute]:
        if isinstance(value, BaseRouteHandler):
            assert value.parsed_fn_signature  # it keeps that, and so do its copies, which are what is registered
        return super().register(value)
