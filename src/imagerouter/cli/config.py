"""``imagerouter config``."""

from __future__ import annotations

import click


@click.group()
def config() -> None:
    """Work with configuration files."""


@config.command(epilog="Example: imagerouter config schema > schema.json")
def schema() -> None:
    """Print the JSON schema of the configuration file, each installed provider type's keys included.

    Editors use it when the file's first line is `# yaml-language-server: $schema=./schema.json`.
    """
    from imagerouter.config.schema import render

    click.echo(render(), nl=False)
