"""The short way to handlers that draw: what Litestar could do for them in between costs more than they do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import litestar
from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import HTTPScope, Receive, Send


class Request(litestar.Request[Any, Any, Any]):
    """Litestar's with headers in a `dict`, by lower-case name; of those that were sent twice the first one counts."""

    __slots__ = ("headers",)
    headers: dict[str, str]  # type: ignore[assignment]

    def __init__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        pairs = [*scope["headers"]][::-1]
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


class Shortcut:
    """Asks the guards and calls the handler, as Litestar would: they are declared there, and documented from there.

    It is for handlers that take nothing but the request and make their `Response` themselves, so that there are no
    parameters to be parsed and no answers to be converted.
    """

    def __init__(self, path: str, handler: HTTPRouteHandler) -> None:
        self._path = path
        self._handler = handler
        self._call = handler.fn
        self._guards = handler.resolve_guards()
        self._failed = handler.resolve_exception_handlers()

    async def __call__(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        scope["path_template"], scope["route_handler"] = self._path, self._handler
        request = Request(scope, receive, send)
        try:
            for guard in self._guards:
                await guard(request, self._handler)  # type: ignore[misc]
            response = await self._call(request)
        except Exception as error:
            response = self._response(request, error)
        answer = response.to_asgi_response(None, request, status_code=self._handler.status_code)
        await answer(scope, receive, send)

    def _response(self, request: Request, error: Exception) -> Response[Any]:
        handle: Any = next(self._failed[kind] for kind in type(error).__mro__ if kind in self._failed)
        response: Response[Any] = handle(request, error)
        return response


def shortcuts(routes: Iterable[BaseRoute]) -> dict[str, Shortcut]:
    """Those for POST, by the paths of their routes."""
    return {
        route.path: Shortcut(route.path, handler)
        for route in routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
        if "POST" in handler.http_methods and _makes_its_response(handler)
    }


def _makes_its_response(handler: HTTPRouteHandler) -> bool:
    signature = handler.parsed_fn_signature
    return signature.parameters.keys() == {"request"} and signature.return_type.is_subclass_of(Response)
