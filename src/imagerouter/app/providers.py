"""``GET /v1/providers``."""

from __future__ import annotations

from typing import Any

from litestar import Request, route

from imagerouter.app import answers
from imagerouter.app.openapi import READ, answer, operation
from imagerouter.fleet.overview import overview


@route(
    "/providers",
    http_method=READ,
    operation_class=operation({200: answer(answers.ProviderList, "The providers, and the queue that they share")}),
    summary="What every provider is doing",
    tags=["routing"],
)
async def list_providers(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return overview(request.app.state.engine)
