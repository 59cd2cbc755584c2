"""``GET /v1/models`` and ``GET /v1/models/{id}``."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, route
from litestar.params import Parameter

from imagerouter.app import answers
from imagerouter.app.openapi import READ, answer, operation
from imagerouter.dialects.openrouter import wants_images
from imagerouter.engine import Engine
from imagerouter.errors import ModelNotFoundError
from imagerouter.openai import describe
from imagerouter.routing.catalogue import PublicModel
from imagerouter.suggest import did_you_mean, shortened


@route(
    "/models",
    http_method=READ,
    operation_class=operation({200: answer(answers.ModelList, "The models")}),
    summary="All models",
    tags=["models"],
)
async def list_models(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    snapshots = engine.fleet.snapshots
    listed = engine.catalogue.models if wants_images(request.query_params) else ()
    return {"object": "list", "data": [describe(model, snapshots) for model in listed]}


@route(
    "/models/{model_id:path}",
    http_method=READ,
    operation_class=operation({200: answer(answers.Model, "The model")}, ModelNotFoundError),
    summary="One model",
    tags=["models"],
)
async def retrieve_model(
    request: Request[Any, Any, Any], model_id: Annotated[str, Parameter(description="Name, slashes allowed")]
) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    return describe(named(engine, model_id.strip("/")), engine.fleet.snapshots)


def named(engine: Engine, name: str) -> PublicModel:
    """The model of that name, with or without a suffix. Raises `ModelNotFoundError`."""
    model = engine.catalogue.resolve(engine.catalogue.variant(name)[0])
    if model is None:
        hint = did_you_mean(name, engine.catalogue.names())
        raise ModelNotFoundError(f"The model `{shortened(name)}` does not exist{hint}", param="model")
    return model
