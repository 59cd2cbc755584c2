"""``GET /metrics`` for Prometheus, and what only the HTTP door can count."""

from __future__ import annotations

import time
from functools import cache
from typing import Any, cast

from litestar import Request, Response, get
from litestar.enums import ScopeType
from litestar.middleware import ASGIMiddleware
from litestar.plugins.prometheus import PrometheusController
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from imagerouter.engine import Engine
from imagerouter.metrics import LONG

# Otherwise each counter and histogram has one more series, which only tells when the server was started.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Exposition(PrometheusController):
    """Litestar's own, for the registry of the application's engine instead of the process's only one."""

    include_in_schema = False

    @get()
    async def get(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        engine: Engine = request.app.state.engine
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # Litestar would add a second charset to a media type of text.
        return Response(encode(engine.metrics.registry), headers={"content-type": media_type})


class HttpMetrics(ASGIMiddleware):
    """Counts and times the answers of each route. Replies to unknown routes pass no middleware.

    Litestar's `PrometheusMiddleware` keeps its metrics in the class, so that all applications of a process share
    them, and takes the path from a URL made of the host header, which may be anything.
    """

    scopes = (ScopeType.HTTP,)

    def __init__(self, registry: CollectorRegistry) -> None:
        answers = Counter("imagerouter_http_requests", "Answers", ["method", "path", "status"], registry=registry)
        meaning = "From a request's head to its answer's last byte"
        seconds = Histogram("imagerouter_http_request_seconds", meaning, ["path"], registry=registry, buckets=LONG)
        self._answers, self._seconds = cache(answers.labels), cache(seconds.labels)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        began, status = time.perf_counter(), 500

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await next_app(scope, receive, note_status)
        finally:
            path = scope["path_template"]
            self._answers(cast(HTTPScope, scope)["method"], path, status).inc()
            self._seconds(path).observe(time.perf_counter() - began)
