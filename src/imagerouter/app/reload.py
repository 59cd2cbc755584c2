"""A new configuration for the running server: ``POST /v1/reload``, and what SIGHUP does."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Collection
from contextlib import suppress
from contextvars import Context
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import structlog
from litestar import Litestar, Request, post

from imagerouter.app.errors import ShuttingDownError
from imagerouter.app.openapi import answer, operation
from imagerouter.config import Config, ProviderEntry
from imagerouter.config.loader import discover, find, resolve
from imagerouter.engine import Reloaded
from imagerouter.errors import ConfigError, ImageRouterError, InvalidRequestError, PermissionDeniedError

log = structlog.get_logger(__name__)


class Source(Protocol):
    """Where the configuration comes from."""

    async def __call__(self, ready: Collection[str] = ()) -> Config:
        """The configuration as it is now. Raises `ConfigError`.

        :param ready: names of the providers that work.
        """


class InvalidConfigurationError(InvalidRequestError):
    """The file can't be used; the message has one line per problem."""

    code = "invalid_configuration"


class FileSource:
    """The same file at every reload as at the start, with the same overrides of the command line."""

    def __init__(self, path: Path | None = None, **server: Any) -> None:
        """:param server: keys of ``server`` that win over the file's."""
        self._path = path or find()
        self._server = server
        self._found: dict[str, ProviderEntry] = {}

    async def __call__(self, ready: Collection[str] = ()) -> Config:
        # In a thread, with a loop of its own: reading takes a while, and importing an adapter even longer.
        return await asyncio.to_thread(asyncio.run, self._loaded(ready))

    async def _loaded(self, ready: Collection[str]) -> Config:
        config = await resolve(self._path, partial(self._searched, ready))
        return config.model_copy(update={"server": config.server.model_copy(update=self._server)})

    async def _searched(self, ready: Collection[str]) -> Config:
        """What is found now, and what was found before and works: who is busy may not answer in time."""
        kept = {name: entry for name, entry in self._found.items() if name in ready}
        try:
            found = (await discover()).providers
        except ConfigError:
            if not kept:
                raise
            found = {}
        self._found = {**kept, **found}
        return Config(providers=self._found)


def unchanged(config: Config) -> Source:
    """Where there is no file to look at again."""

    async def source(ready: Collection[str] = ()) -> Config:  # noqa: ARG001 - the protocol's signature
        return config

    return source


async def reload(app: Litestar) -> Reloaded:
    """Load the configuration again and go over to it, one reload at a time.

    Raises `ConfigError`, and changes nothing then.
    """
    state = app.state
    async with state.reloading:
        if state.draining:
            raise ShuttingDownError
        try:
            ready = [name for name, member in state.engine.fleet.members.items() if member.ready]
            work = state.engine.reload(await state.source(ready))
            # What it starts outlives the request that asked for it, whose id would be on all its lines in the log.
            done: Reloaded = await asyncio.create_task(work, context=Context())
        except ImageRouterError as error:
            log.warning("config.not_reloaded", reason=error.message)
            raise
    log.info("config.reloaded", **asdict(done))
    return done


class Hangups:
    """What SIGHUP does: reload. Only if the server's own terminal is gone it means what it says."""

    def __init__(self, app: Litestar) -> None:
        self._app = app
        self._has_terminal = sys.stderr.isatty()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self) -> None:
        if self._has_terminal and not sys.stderr.isatty():
            asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)
        task = asyncio.create_task(self._reload())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload(self) -> None:
        try:
            with suppress(ImageRouterError):  # which is logged
                await reload(self._app)
        except Exception:
            log.exception("config.not_reloaded")


@post(
    "/reload",
    status_code=200,
    operation_class=operation(
        {200: answer(Reloaded, "What it changed")}, InvalidConfigurationError, PermissionDeniedError
    ),
    summary="Load the configuration again",
    description="It needs the configuration's `server.admin_key` as its API key.",
    tags=["server"],
)
async def reload_config(request: Request[Any, Any, Any]) -> dict[str, Any]:
    request.app.state.keyring().require_admin(request.headers)
    try:
        return asdict(await reload(request.app))
    except ConfigError as error:
        raise InvalidConfigurationError(error.message) from None
