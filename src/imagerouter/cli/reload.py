"""``imagerouter reload``."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import click

from imagerouter.cli.backend import remote
from imagerouter.cli.options import json_option, running_server_option

WORDS = {
    "kept": "unchanged",
    "changed": "changed",
    "started": "started",
    "stopped": "stopped",
    "needs_restart": "needs a restart",
}


@click.command(epilog="Example: imagerouter reload --server http://127.0.0.1:8000")
@running_server_option
@json_option
def reload(server: str, as_json: bool) -> None:
    """Let a running server load its configuration again; what runs is finished, and what is wrong changes nothing.

    The server wants its `server.admin_key`, which is taken from the variable IMAGEROUTER_API_KEY. Exits with 2 if the
    file is wrong; then every problem is a line `file:line:column: …`. The same happens when the server's process gets
    the signal SIGHUP.
    """
    done = asyncio.run(_reloaded(server))
    if as_json:
        click.echo(json.dumps(done, indent=2, ensure_ascii=False))
        return
    for key, words in WORDS.items():
        if done.get(key):
            click.echo(f"{words}: {', '.join(done[key])}")


async def _reloaded(server: str) -> dict[str, Any]:
    async with remote(server) as backend:
        return await backend.reload()
