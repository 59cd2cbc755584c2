"""``POST /v1/route``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from litestar import Request, post
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody

from imagerouter.app.body import read_fields
from imagerouter.app.openapi import RawSchema, generation_schema
from imagerouter.engine import Engine
from imagerouter.routing.explain import explained, question


@dataclass
class RouteOperation(Operation):
    """Litestar's operation with the request body of a generation, of which nothing is required."""

    def __post_init__(self) -> None:
        schema = {key: value for key, value in generation_schema().items() if key != "required"}
        self.request_body = RequestBody({"application/json": OpenAPIMediaType(schema=RawSchema(schema))}, required=True)


@post(
    "/route",
    status_code=200,
    operation_class=RouteOperation,
    summary="What would become of a request, without drawing it",
    tags=["routing"],
)
async def route(request: Request[Any, Any, Any]) -> dict[str, Any]:
    engine: Engine = request.app.state.engine
    job = question(engine, *await read_fields(request, engine.config.limits))
    return explained(engine, replace(job, origin=request.state.origin))
