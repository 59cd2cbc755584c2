"""Is the process alive, and can it draw?"""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, route

from imagerouter import __version__
from imagerouter.app import answers
from imagerouter.app.openapi import READ, answer, operation


@route(
    "/health/live",
    http_method=READ,
    operation_class=operation({200: answer(answers.Liveness, "It does")}, is_open=True),
    summary="The process answers",
    tags=["health"],
)
async def live() -> dict[str, str]:
    return {"status": "ok"}


@route(
    "/health/ready",
    http_method=READ,
    operation_class=operation(
        {200: answer(answers.Readiness, "It can"), 503: answer(answers.Readiness, "None can, or the server stops")},
        is_open=True,
    ),
    summary="At least one provider can take a job",
    tags=["health"],
)
async def ready(request: Request[Any, Any, Any]) -> Response[dict[str, Any]]:
    state = request.app.state
    members = state.engine.fleet.members.values()
    able = state.engine.fleet.ready and not state.draining
    return Response(
        {
            "status": "draining" if state.draining else "ready" if able else "not ready",
            "providers": {
                member.name: {"ready": member.ready, "detail": member.detail, "models": len(member.models)}
                for member in members
            },
        },
        status_code=200 if able else 503,
    )


@route("/", http_method=READ, include_in_schema=False)
async def root() -> dict[str, str]:
    return {"name": "imagerouter", "version": __version__, "docs": "/docs", "models": "/v1/models"}
