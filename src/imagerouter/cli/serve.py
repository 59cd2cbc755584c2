"""``imagerouter serve``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, get_args

import click

from imagerouter.cli.options import config_option
from imagerouter.config import Server
from imagerouter.telemetry import configure

LOG_LEVELS = get_args(Server.model_fields["log_level"].annotation)


@click.command(epilog="Example: imagerouter serve --config imagerouter.yaml --port 8080")
@config_option
@click.option("--host", help="Address to listen on; overrides `server.host`.")
@click.option("--port", type=click.IntRange(0, 65535), help="TCP port; overrides `server.port`.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), help="Overrides `server.log_level`.")
def serve(config: Path | None, **overrides: Any) -> None:
    """Run the server until it is told to stop (Ctrl-C or SIGTERM); running jobs are finished first."""
    from imagerouter import app
    from imagerouter.app.reload import FileSource

    given = {key: value for key, value in overrides.items() if value is not None}
    configure(Server(**given))
    source = FileSource(config, **given)
    app.serve(asyncio.run(source()), source)
