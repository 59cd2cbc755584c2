"""``imagerouter models``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from imagerouter.cli.backend import connect
from imagerouter.cli.options import backend_options, chosen_server, json_option
from imagerouter.cli.tables import new_table, show


@click.command(epilog="Example: imagerouter models --server http://127.0.0.1:8000")
@backend_options
@json_option
@click.pass_context
def models(context: click.Context, /, config: Path | None, as_json: bool, **_: Any) -> None:
    """List the models that can be used, of a running server or of a configuration."""
    listed = asyncio.run(_listed(chosen_server(context), config))
    if as_json:
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
    elif listed:
        show(_table(listed))
    else:
        click.echo("No models; `imagerouter check` tells why.", err=True)


async def _listed(server: str | None, config: Path | None) -> list[dict[str, Any]]:
    async with connect(server, config) as backend:
        return await backend.models()


def _table(listed: list[dict[str, Any]]) -> Table:
    table = new_table("name", "providers", "operations", "size", "resident on")
    for model in listed:
        targets = model["targets"]
        table.add_row(
            ", ".join([model["id"], *model["aliases"]]),
            ", ".join(_mark(target) for target in targets) or "none",
            ", ".join(model["operations"]),
            model["size"] or "",
            ", ".join(target["provider"] for target in targets if target["resident"]),
        )
    return table


def _mark(target: dict[str, Any]) -> str:
    provider: str = target["provider"]
    return provider if target["ready"] else f"{provider} (not ready)"
