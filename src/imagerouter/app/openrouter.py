"""OpenRouter's images API: ``/images``, ``/images/models`` and, only below ``/api/v1``, its own ``/models``.

The OpenAPI document leaves them out: the shapes are OpenRouter's, and described there.
"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, post, route
from litestar.params import FromPath

from imagerouter.app.dialects import while_on
from imagerouter.app.errors import headers_for
from imagerouter.app.images import Events, Manner, answered
from imagerouter.app.models import named
from imagerouter.app.openapi import READ
from imagerouter.dialects import openrouter
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError, NotFoundError
from imagerouter.openai import Door
from imagerouter.routing.catalogue import PublicModel

NAMELESS = "imagerouter/"
"""Stands before the name of a model that has no author, for clients that can't ask without one."""
ENDPOINTS = "/endpoints"


class DoneEvents(Events):
    """OpenRouter's streams end with a word."""

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"


def refusal(error: ImageRouterError, headers: dict[str, str] | None = None) -> Response[dict[str, Any]]:
    told = {**headers_for(error), **(headers or {})}
    return Response(openrouter.error_body(error), status_code=error.status, headers=told)


def refused(_: Request[Any, Any, Any], error: ImageRouterError) -> Response[dict[str, Any]]:
    return refusal(error)


MANNER = Manner(DoneEvents(), openrouter.fields_of, refusal)
SHARED: Any = {
    "guards": [while_on("openrouter")],
    "exception_handlers": {ImageRouterError: refused},
    "include_in_schema": False,
}


@post("/images", status_code=200, **SHARED)
async def draw(request: Request[Any, Any, Any]) -> Response[Any]:
    return await answered(request, Door.GENERATION, MANNER)


@route("/images/models", http_method=READ, **SHARED)
async def image_models(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    limits = engine.config.limits
    return {"data": [openrouter.image_model(model, limits) for model in engine.catalogue.models]}


@route("/images/models/{place:path}", http_method=READ, **SHARED)
async def image_endpoints(request: Request[Any, Any, Any], place: FromPath[str]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    return openrouter.image_endpoints(_asked(request, place), engine.config.limits)


@route("/models", http_method=READ, **SHARED)
async def models(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    query = request.query_params
    listed = engine.catalogue.models if openrouter.wants_images(query) else ()
    return openrouter.page(listed, engine.config.limits, query)


@route("/models/{place:path}", http_method=READ, **SHARED)
async def model_endpoints(request: Request[Any, Any, Any], place: FromPath[str]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    listed = _asked(request, place)
    return {"data": openrouter.model_endpoints(listed, engine.config.limits, engine.fleet.snapshots)}


@route("/model/{place:path}", http_method=READ, **SHARED)
async def one_model(request: Request[Any, Any, Any], place: FromPath[str]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    return {"data": openrouter.model(_named(engine, place.strip("/")), engine.config.limits)}


OPENROUTER = (draw, image_models, image_endpoints)
OPENROUTER_MODELS = (models, model_endpoints, one_model)


def _asked(request: Request[Any, Any, Any], place: str) -> PublicModel:
    """The model of ``…/NAME/endpoints``; a name may hold slashes."""
    name = place.strip("/")
    if not name.endswith(ENDPOINTS):
        raise NotFoundError(f"There is no {request.method} {request.scope['path']}; did you mean …/{name}{ENDPOINTS}?")
    return _named(request.app.state.engine, name.removesuffix(ENDPOINTS))


def _named(engine: Engine, name: str) -> PublicModel:
    bare = name.removeprefix(NAMELESS)
    return named(engine, bare if bare != name and engine.catalogue.resolve(name) is None else name)
