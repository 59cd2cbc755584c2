"""``imagerouter check``."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click
from rich.table import Table

from imagerouter.cli.options import local_config
from imagerouter.cli.tables import new_table, show
from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.fleet.member import Member
from imagerouter.routing.catalogue import PublicModel

PATIENCE_SECONDS = 60.0
"""For the slowest provider to start."""


@click.command(epilog="Example: imagerouter check imagerouter.yaml")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.pass_context
def check(context: click.Context, file: Path | None) -> None:
    """Check a configuration file, and whether each provider in it can be used.

    Without FILE it checks the one that `imagerouter serve` would use. Exits with 0 if everything is usable,
    1 if a provider or model is not, 2 if the file is wrong; then every problem is a line `file:line:column: …`.
    """
    members, problems = asyncio.run(_probe(file))
    show(_table(members))
    for problem in problems:
        click.echo(problem, err=True)
    if problems or not all(member.ready for member in members):
        context.exit(1)


async def _probe(file: Path | None) -> tuple[list[Member], list[str]]:
    config = await local_config(file)
    async with Engine(config) as engine:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await engine.fleet.settled()
        except TimeoutError:
            pass
        catalogue = engine.catalogue
        problems = [line for name in config.models for line in _missing(catalogue.resolve(name))]
        if config.default_model and catalogue.resolve(config.default_model) is None:
            problems.append(f"default_model: there is no model `{config.default_model}`")
        members = list(engine.fleet.members.values())
        return members, problems + [line for member in members for line in _unusable(member, config)]


def _missing(model: PublicModel | None) -> list[str]:
    return [f"models.{model.name}: {reason}" for reason in model.missing] if model else []


def _unusable(member: Member, config: Config) -> list[str]:
    """Models that the provider's own keys define, and that can't be drawn. Files that it merely has don't count."""
    defined = getattr(config.providers[member.name].config, "models", {})
    broken = [model for model in member.models if model.problem and model.id in defined]
    return [f"providers.{member.name}.models.{model.id}: {model.problem}" for model in broken]


def _table(members: list[Member]) -> Table:
    table = new_table("provider", "type", "usable", "models", "detail")
    for member in members:
        usable = [model.name or model.id for model in member.models if not model.problem]
        detail = ", ".join(usable) if member.ready else member.detail
        table.add_row(member.name, member.type, "yes" if member.ready else "no", str(len(usable)), detail)
    return table
