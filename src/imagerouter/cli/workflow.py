"""``imagerouter workflow``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from imagerouter.cli.options import config_option, json_option, local_config
from imagerouter.cli.tables import new_table, show
from imagerouter.config import Config
from imagerouter.provider import Binding, Provider
from imagerouter.registry import provider_class
from imagerouter.suggest import did_you_mean


@click.group()
def workflow() -> None:
    """Work with workflow files."""


@workflow.command(epilog="Example: imagerouter workflow inspect portrait.json -p desk")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-p", "--provider", metavar="NAME", help="Whose workflow it is. Default: the first that runs workflows.")
@config_option
@json_option
def inspect(file: Path, provider: str | None, config: Path | None, as_json: bool) -> None:
    """Show which parameters of a request can be used in a workflow FILE, and where they are written.

    The provider's server has to be running: it knows the nodes.
    """
    bindings = asyncio.run(_inspect(file, provider, config))
    if as_json:
        click.echo(json.dumps([_plain(binding) for binding in bindings], indent=2, ensure_ascii=False))
    else:
        show(_table(bindings))


async def _inspect(file: Path, name: str | None, path: Path | None) -> list[Binding]:
    provider = _chosen(await local_config(path), name)
    try:
        await provider.start()
        return await provider.inspect(file)
    finally:
        await provider.aclose()


def _chosen(config: Config, name: str | None) -> Provider[Any]:
    able = {
        known: entry
        for known, entry in config.providers.items()
        if provider_class(entry.type).inspect is not Provider.inspect
    }
    if name is None and able:
        name = next(iter(able))
    if name not in able:
        what = "no provider runs workflows" if name is None else f"no provider named `{name}` runs workflows"
        hint = did_you_mean(name, able) if name else ""
        raise click.UsageError(f"{what}{hint or '; name one with --config'}")
    return provider_class(able[name].type)(name, able[name].config)


def _table(bindings: list[Binding]) -> Table:
    table = new_table("parameter", "written to", "says", "detail")
    for binding in bindings:
        table.add_row(binding.parameter, ", ".join(binding.places) or "-", binding.source, binding.detail)
    return table


def _plain(binding: Binding) -> dict[str, Any]:
    return {
        "parameter": binding.parameter,
        "places": list(binding.places),
        "source": binding.source,
        "detail": binding.detail,
    }
