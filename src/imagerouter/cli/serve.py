"""``imagerouter serve``."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import click

from imagerouter.cli.options import config_option
from imagerouter.telemetry import LogLevel, configure

COLLECT_AFTER = 10_000
"""New objects after which garbage is looked for; Python's own 700 are not even those of the requests in flight."""


@click.command(epilog="Example: imagerouter serve --config imagerouter.yaml --port 8080")
@config_option
@click.option("--host", help="Address to listen on; overrides `server.host`.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; overrides `server.port`.")
@click.option("--log-level", type=click.Choice(get_args(LogLevel)), help="Overrides `server.log_level`.")
def serve(config: Path | None, **overrides: Any) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM); running jobs are finished first."""
    with _no_collections():
        with _absent("rich", "pygments", "attr"):
            # structlog, httpx and Litestar take these in where they can, for what a server never does.
            from imagerouter import app
        from imagerouter.app.reload import FileSource
        from imagerouter.config import Server

        given = {key: value for key, value in overrides.items() if value is not None}
        configure(Server(**given))
        source = FileSource(config, **given)
        loaded = asyncio.run(source())
    app.serve(loaded, source)


@contextmanager
def _no_collections() -> Iterator[None]:
    """What a start makes stays until the end: no garbage collection has to look at it, neither now nor later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(COLLECT_AFTER)
        gc.enable()


@contextmanager
def _absent(*modules: str) -> Iterator[None]:
    """Whoever tries to import one of these in here finds that it isn't installed."""
    kept = {name: sys.modules[name] for name in modules if name in sys.modules}
    sys.modules.update(dict.fromkeys(modules))  # type: ignore[arg-type]  # `None` is what import takes for absent
    try:
        yield
    finally:
        for name in modules:
            del sys.modules[name]
        sys.modules.update(kept)
