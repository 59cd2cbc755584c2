"""``imagerouter explain``."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from imagerouter.cli.backend import connect
from imagerouter.cli.generate import IMAGE_FILE, request_fields
from imagerouter.cli.options import backend_options, chosen_server, json_option
from imagerouter.cli.tables import lasting, new_table, show

Fields = dict[str, Any]


def _parameter(text: str) -> tuple[str, Any]:
    """``steps=30`` → ("steps", 30): the value is JSON, or a text if it can't be read as that."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise click.BadParameter(f"`{text}` is no parameter; write it like `steps=30`")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@click.command(epilog="Example: imagerouter explain --model sdxl --size 1536x1024 -P provider.sort=price")
@click.option("-m", "--model", help="Model name from `imagerouter models`.")
@click.option("-n", type=click.IntRange(1, 100), default=1, show_default=True, help="Number of pictures.")
@click.option("--size", metavar="WxH", help="Pixels, such as 1536x1024.")
@click.option("--steps", type=click.IntRange(1), help="Sampling steps.")
@click.option("--image", "images", type=IMAGE_FILE, multiple=True, metavar="FILE", help="Picture to start from.")
@click.option("--mask", type=IMAGE_FILE, metavar="FILE", help="Picture whose transparent part is drawn anew.")
@click.option(
    "--provider-only", "only", multiple=True, metavar="NAME", help="No other provider; may be given several times."
)
@click.option(
    "-P",
    "--parameter",
    "parameters",
    type=_parameter,
    multiple=True,
    metavar="KEY=VALUE",
    help="Any other parameter of a request, such as `cfg_scale=7` or `provider.sort=price`.",
)
@backend_options
@json_option
@click.pass_context
def explain(context: click.Context, /, as_json: bool, **options: Any) -> None:
    """Tell who would draw a request and how long it would take, and why others can't. Nothing is drawn.

    Asks the server that --server or IMAGEROUTER_URL names; without one, the providers of the configuration, which
    then are as new: nothing was learned and nobody waits. Exits with 1 if nothing can serve the request.
    """
    server, config = chosen_server(context), options.pop("config")
    options.pop("server")
    answer = asyncio.run(_answer(server, config, _fields(options)))
    if as_json:
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        for told in (answer, *answer["fallbacks"]):
            _tell(told)
    if (refused := answer.get("would_answer")) is not None:
        click.echo(f"Nothing can serve it, the answer is HTTP {refused['status']}: {refused['message']}", err=True)
        context.exit(1)


def _fields(options: dict[str, Any]) -> Fields:
    """The body of the request. A dotted name is a key inside of an object."""
    parameters, only = options.pop("parameters"), options.pop("only")
    fields = request_fields(options)
    for name, value in (*parameters, *([("provider.only", list(only))] if only else [])):
        *path, key = name.split(".")
        inner = fields
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise click.UsageError(f"`{name}`: `{part}` is no object")
        inner[key] = value
    return fields


async def _answer(server: str | None, config: Path | None, fields: Fields) -> Fields:
    async with connect(server, config) as backend:
        return await backend.route(fields)


def _tell(told: Fields) -> None:
    """One model: who would get the request, in order, and who can't."""
    asked = "the default model" if told["default"] else f"asked for as {told['asked']}"
    click.echo(told["model"] if told["asked"] == told["model"] else f"{told['model']}, {asked}")
    if told["targets"]:
        show(_targets(told))
    if told["refusals"]:
        show(_refusals(told))
    for reason in told["missing"]:
        click.echo(f"not there: {reason}")


def _targets(told: Fields) -> Table:
    table = new_table("", "target", "in all", "waiting", "loading", "drawing", "remarks")
    images = {share["target"]: share["images"] for share in told["spread"]}
    for target in told["targets"]:
        loading = "is loaded" if target["resident"] else lasting(target["load_seconds"])
        table.add_row(
            str(target["rank"]),
            target["target"],
            lasting(target["total_seconds"]),
            lasting(target["queue_seconds"]),
            loading,
            lasting(target["render_seconds"]),
            "; ".join(_remarks(target, images.get(target["target"]))),
        )
    return table


def _remarks(target: Fields, images: int | None) -> list[str]:
    remarks = [f"draws {images} of the pictures"] if images else []
    if target["tier"] > 1:
        remarks.append("only if none before it can")
    if "price" in target:
        remarks.append(f"${target['price']:g}")
    if target["ignored"]:
        remarks.append(f"ignores {', '.join(target['ignored'])}")
    if target["rules"]:
        remarks.append(f"by {', '.join(target['rules'])}")
    return remarks


def _refusals(told: Fields) -> Table:
    table = new_table("can't", "because")
    for refusal in told["refusals"]:
        # Other reasons name it themselves, or it is one that the request doesn't have.
        is_value = refusal["param"] and refusal["kind"] in ("parameter", "strict", "size")
        table.add_row(refusal["target"], (f"`{refusal['param']}` " if is_value else "") + refusal["reason"])
    return table
