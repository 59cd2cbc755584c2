"""``GET /v1/providers``."""

from __future__ import annotations

from typing import Any

from litestar import Request, get

from imagerouter.fleet.overview import overview


@get("/providers", summary="What every provider is doing", tags=["routing"])
async def list_providers(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return overview(request.app.state.engine)
