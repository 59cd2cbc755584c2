"""``GET /metrics`` for Prometheus, and what only the HTTP door can count."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, get
from litestar.plugins.prometheus import PrometheusController
from litestar.types import HTTPScope
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from imagerouter.engine import Engine
from imagerouter.metrics import Counter, Histogram


class Exposition(PrometheusController):
    """Litestar's own, for the registry of the application's engine instead of the process's only one."""

    include_in_schema = False

    @get()
    async def get(self, request: Request[Any, Any, Any]) -> Response[bytes]:
        engine: Engine = request.app.state.engine
        encode, media_type = choose_encoder(request.headers.get("accept", ""))
        # Litestar would add a second charset to a media type of text.
        return Response(encode(engine.metrics.registry), headers={"content-type": media_type})


class HttpMetrics:
    """Counts and times the answers of each route; those to unknown routes are nobody's.

    Litestar's `PrometheusMiddleware` keeps its metrics in the class, so that all applications of a process share
    them, and takes the path from a URL made of the host header, which may be anything.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._answers = Counter(registry, "http_requests", "Answers", "method", "path", "status")
        self._time = Histogram(registry, "http_request", "From a request's head to its answer's last byte", "path")

    def answered(self, scope: HTTPScope, status: int, seconds: float) -> None:
        """Count an answer to a request that has found its route."""
        if (path := scope.get("path_template")) is not None:
            self._answers.add(scope["method"], path, str(status))
            self._time.observe(seconds, path)
