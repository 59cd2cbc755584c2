"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from imagerouter.telemetry import configure

if TYPE_CHECKING:
    from imagerouter.config import Config

F = TypeVar("F", bound=Callable[..., Any])

config_option = click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Configuration file. Default: ./imagerouter.yaml, then ~/.config/imagerouter/imagerouter.yaml, "
    "then whatever is found on this machine.",
)
server_option = click.option(
    "--server",
    metavar="URL",
    envvar="IMAGEROUTER_URL",
    show_envvar=True,
    help="Use a running server instead of loading the models here.",
)
running_server_option = click.option(
    "--server",
    metavar="URL",
    envvar="IMAGEROUTER_URL",
    show_envvar=True,
    default="http://127.0.0.1:8000",
    show_default=True,
    help="The running server.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def backend_options(command: F) -> F:
    """``--server`` or ``--config``: where the work is done."""
    return server_option(config_option(command))


def chosen_server(context: click.Context) -> str | None:
    """The server's URL, or ``None`` for this process. An explicit ``--config`` wins over the environment."""
    server: str | None = context.params["server"]
    if server is None or context.params["config"] is None:
        return server
    if context.get_parameter_source("server") is ParameterSource.ENVIRONMENT:
        return None
    raise click.UsageError("--server and --config exclude each other: a server has its own configuration")


def configure_quietly() -> None:
    """For work in this process, where only errors are worth a line of log."""
    from imagerouter.config import Server

    configure(Server(log_level="error"))


async def local_config(path: Path | None) -> Config:
    """The configuration for work in this process."""
    from imagerouter.config.loader import resolve

    configure_quietly()
    return await resolve(path)
