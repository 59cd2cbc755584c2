"""``imagerouter parity-check``."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from imagerouter.cli.options import config_option, json_option, local_config
from imagerouter.cli.tables import new_table, show
from imagerouter.config import Config
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.parity import checking, measured
from imagerouter.parity.checking import Checked, tier_of
from imagerouter.routing.catalogue import PublicModel

PATIENCE_SECONDS = 60.0
"""For the slowest provider to start."""


@click.command(name="parity-check", epilog="Example: imagerouter parity-check dreamshaper -c imagerouter.yaml")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@config_option
@click.option("--steps", type=click.IntRange(1, 100), default=8, show_default=True, help="Sampling steps.")
@click.option("--size", type=click.IntRange(64, 4096), help="Pixels of a side. Default: the model's own.")
@click.option("--save/--no-save", default=True, help="Keep the result, for servers with this configuration.")
@json_option
@click.pass_context
def parity_check(
    context: click.Context,
    models: Sequence[str],
    *,
    config: Path | None,
    steps: int,
    size: int | None,
    save: bool,
    as_json: bool,
) -> None:
    """Draw the same on every provider of a model, and tell how far the pictures agree.

    Without MODEL it takes every model that several providers have. Figures are peak signal-to-noise ratios in dB:
    60 and more count as exact, 45 and more as close. Servers with this configuration then go by what was measured.
    """
    checked, used = asyncio.run(_check(models, config, steps, size))
    if as_json:
        click.echo(json.dumps([_told(each) for each in checked], indent=2, ensure_ascii=False))
    else:
        for each in checked:
            click.echo(f"{each.model}")
            show(_table(each))
            for (feature, target), reason in each.failures.items():
                click.echo(f"{target}: {feature}: {reason}", err=True)
    path = _keep(checked, used) if save else None
    if path is not None and not as_json:
        click.echo(f"kept in {path}")
    if any(each.failures for each in checked):
        context.exit(1)


async def _check(names: Sequence[str], file: Path | None, steps: int, size: int | None) -> tuple[list[Checked], Config]:
    config = await local_config(file)
    async with Engine(config) as engine:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await engine.fleet.settled()
        except TimeoutError:
            reason = f"not every provider started within {PATIENCE_SECONDS:g} seconds; `imagerouter check` tells which"
            raise ImageRouterError(reason) from None
        chosen = _chosen(engine, names)
        found = [await checking.check(engine, model, steps=steps, size=size, tell=_tell) for model in chosen]
    click.echo("\r\033[K" if _is_watched() else "", err=True, nl=False)
    return found, config


def _chosen(engine: Engine, names: Sequence[str]) -> list[PublicModel]:
    """Raises `ImageRouterError` where there is nothing to compare."""
    catalogue = engine.catalogue
    wanted = [(name, catalogue.resolve(name)) for name in names or catalogue.names()]
    for name, model in wanted:
        if model is None:
            raise ImageRouterError(f"there is no model `{name}`; `imagerouter models` lists them")
    several = [model for _, model in wanted if model is not None and len(checking.comparable(model)) > 1]
    if lacking := [name for name, model in wanted if names and model not in several]:
        raise ImageRouterError(f"`{lacking[0]}` is on fewer than two providers that can be compared (docs/parity.md)")
    if not several:
        raise ImageRouterError("no model is on two providers that can be compared (docs/parity.md)")
    return several


def _is_watched() -> bool:
    return sys.stderr.isatty()


def _tell(feature: str, target: str) -> None:
    if _is_watched():
        click.echo(f"\r\033[K{feature} on {target}", err=True, nl=False)


def _keep(found: Sequence[Checked], config: Config) -> Path | None:
    """Raises `ImageRouterError` where it can't be written; what was found is told by then."""
    if (path := measured.file_of(config.server)) is None:
        return None
    try:
        measured.save(path, {name: row for each in found for name, row in each.measurements(config).items()})
    except OSError as error:
        raise ImageRouterError(f"can't write {path}: {error.strerror}") from None
    return path


def _table(checked: Checked) -> Table:
    pairs = list(dict.fromkeys(pair for row in checked.decibels.values() for pair in row))
    table = new_table("case", *(f"{one} ~ {other}" for one, other in pairs))
    for feature, row in checked.decibels.items():
        if row:
            table.add_row(feature, *(_shown(row.get(pair)) for pair in pairs))
    return table


def _shown(decibels: float | None) -> str:
    return "-" if decibels is None else f"{decibels:.1f} {tier_of(decibels)}"


def _told(checked: Checked) -> dict[str, Any]:
    pairs = [
        {"case": feature, "targets": list(pair), "db": round(decibels, 1), "tier": tier_of(decibels)}
        for feature, row in checked.decibels.items()
        for pair, decibels in row.items()
    ]
    failures = [{"case": case, "target": name, "reason": why} for (case, name), why in checked.failures.items()]
    return {"model": checked.model, "pairs": pairs, "failures": failures}
