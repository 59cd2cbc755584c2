"""``POST /v1/route``."""

from __future__ import annotations

from typing import Any

from litestar import Request, post
from msgspec.structs import replace

from imagerouter.app import answers
from imagerouter.app.body import read_fields
from imagerouter.app.openapi import UNREADABLE, answer, body, operation
from imagerouter.engine import Engine
from imagerouter.errors import ModelNotFoundError, NoProviderError
from imagerouter.routing.explain import explained, question


@post(
    "/route",
    status_code=200,
    operation_class=operation(
        {200: answer(answers.Route, "Who would get it, and why others can't have it")},
        *UNREADABLE,
        ModelNotFoundError,
        NoProviderError,
        body=body("RouteBody", "RouteForm"),
    ),
    summary="What would become of a request, without drawing it",
    tags=["routing"],
)
async def route(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    job = question(engine, *await read_fields(request, engine.config.limits))
    return explained(engine, replace(job, origin=request.auth))
