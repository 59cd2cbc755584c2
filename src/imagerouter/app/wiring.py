"""One Litestar application around one `Engine`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

from litestar import Litestar

from imagerouter.app.access import need_key
from imagerouter.app.building import Application, Routes
from imagerouter.app.chat import complete, complete_for_openrouter
from imagerouter.app.entrance import Entrance
from imagerouter.app.errors import HANDLERS
from imagerouter.app.files import read_file
from imagerouter.app.health import live, ready, root
from imagerouter.app.images import edits, generations, variations
from imagerouter.app.in_flight import InFlight
from imagerouter.app.metrics import Exposition, HttpMetrics
from imagerouter.app.models import list_models, retrieve_model
from imagerouter.app.openapi import openapi_config
from imagerouter.app.openrouter import OPENROUTER, OPENROUTER_MODELS
from imagerouter.app.providers import list_providers
from imagerouter.app.reload import FileSource, Source, reload_config, unchanged
from imagerouter.app.route import route
from imagerouter.app.sdapi import INTERNAL, OPTIONS, SDAPI, UNROUTED, Senders
from imagerouter.auth import Keyring
from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.storage import Storage, swept
from imagerouter.telemetry import configure

T = TypeVar("T")

IMAGES = (generations, edits, variations, read_file)
API = (*IMAGES, list_models, retrieve_model, route, list_providers, reload_config)


def create_app(
    config: Config | None = None, *, source: Source | None = None, costs_file: Path | None = None
) -> Litestar:
    """The ASGI application. Without a configuration it is loaded as ``imagerouter serve`` would.

    :param source: gives the configuration at a reload; by default it stays as it is.
    :param costs_file: see `Engine`.
    """
    if config is None:
        source = source or FileSource()
        config = _loaded(source)
    engine = Engine(config, costs_file=costs_file)
    app = _routes().another()
    app.state.engine = engine
    app.state.storage = Current(engine, lambda config: Storage.open(config.results))
    app.state.keyring = Current(engine, Keyring)
    app.state.source = source or unchanged(config)
    app.state.reloading = asyncio.Lock()
    app.state.in_flight = InFlight()
    app.entrance = Entrance(app.state.in_flight, HttpMetrics(engine.metrics.registry))
    app.state.senders = Senders()
    app.state.draining = False
    app.state.started = asyncio.Event()
    return app


@cache
def _routes() -> Application:
    return Application(
        # SDKs differ in whether their base URL ends in /v1, so both are served.
        route_handlers=[
            Routes("/v1", route_handlers=API),
            Routes("/v1", route_handlers=OPENROUTER),
            Routes("/", route_handlers=API, include_in_schema=False),
            Routes("/", route_handlers=OPENROUTER),
            Routes("/api/v1", route_handlers=[*OPENROUTER, *OPENROUTER_MODELS]),
            Routes("/v1", route_handlers=[complete]),
            Routes("/", route_handlers=[complete], include_in_schema=False),
            Routes("/api/v1", route_handlers=[complete_for_openrouter]),
            Routes("/sdapi/v1", route_handlers=SDAPI, **OPTIONS),
            Routes("/internal", route_handlers=INTERNAL, **OPTIONS),
            *(live, ready, root, Exposition),
        ],
        lifespan=[_lifespan],
        guards=[need_key],
        exception_handlers={**HANDLERS, **UNROUTED},
        request_max_body_size=None,  # `read_call` has its own, which follows a reload
        openapi_config=openapi_config(),
        debug=False,
        logging_config=None,
    )


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    state = app.state
    async with state.engine, swept(state.storage):
        state.started.set()
        yield


def _loaded(source: Source) -> Config:
    # On a thread: uvicorn calls `create_app` with its own loop already running.
    with ThreadPoolExecutor(1) as thread:
        config: Config = thread.submit(asyncio.run, source()).result()
    configure(config.server)
    return config


class Current(Generic[T]):
    """What is made of the configuration that holds now."""

    def __init__(self, engine: Engine, make: Callable[[Config], T]) -> None:
        self._engine, self._make = engine, make
        self._config = engine.config
        self._made = make(self._config)

    def __call__(self) -> T:
        if (config := self._engine.config) is not self._config:
            self._config, self._made = config, self._make(config)
        return self._made
