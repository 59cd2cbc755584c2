"""``imagerouter generate``."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from imagerouter.cli.backend import connect
from imagerouter.cli.options import backend_options, chosen_server, json_option
from imagerouter.cli.output import Output
from imagerouter.cli.progress import Bars
from imagerouter.client import Picture, Result

IMAGE_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OPERATIONS_WITH = {"images": ("edit", "inpaint"), "mask": ("inpaint",)}
"""The pictures that came with a request of these kinds."""


def _lora(text: str) -> dict[str, Any]:
    name, colon, weight = text.rpartition(":")
    if not colon:
        return {"name": text}
    try:
        return {"name": name, "weight": float(weight)}
    except ValueError:
        raise click.BadParameter(f"`{weight}` is not a weight; write it like `pixel-art:0.8`") from None


@click.command(epilog="Example: imagerouter generate 'a lighthouse at dusk' --steps 30 --seed 7 -o lighthouse.png")
@click.argument("prompt", required=False)
@click.option(
    "-o",
    "--output",
    default="image.png",
    show_default=True,
    metavar="FILE",
    help="File to write, `-` for stdout; several pictures become FILE-1, FILE-2, …",
)
@click.option(
    "--from",
    "source",
    type=IMAGE_FILE,
    metavar="FILE",
    help="Picture with an embedded request, to be drawn again; PROMPT and options count more.",
)
@click.option("--embed", is_flag=True, help="Write the request, prompt and seed included, into the file, for --from.")
@click.option("-m", "--model", help="Model name from `imagerouter models`.")
@click.option("-n", type=click.IntRange(1, 100), default=1, show_default=True, help="Number of pictures.")
@click.option("--size", metavar="WxH", help="Pixels, such as 1024x1024.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Picture i of n has seed + i.")
@click.option("--steps", type=click.IntRange(1), help="Sampling steps.")
@click.option("--cfg-scale", type=float, help="How closely to follow the prompt.")
@click.option("--negative-prompt", metavar="TEXT", help="What the picture should not show.")
@click.option("--sampler", help="Such as `dpmpp_2m` or `DPM++ 2M Karras`.")
@click.option("--scheduler", help="Such as `karras`.")
@click.option(
    "--image",
    "images",
    type=IMAGE_FILE,
    multiple=True,
    metavar="FILE",
    help="Picture to start from; may be given several times.",
)
@click.option("--mask", type=IMAGE_FILE, metavar="FILE", help="Picture whose transparent part is drawn anew.")
@click.option("--strength", type=click.FloatRange(0, 1), help="How far the input picture may change.")
@click.option(
    "--lora",
    "loras",
    type=_lora,
    multiple=True,
    metavar="NAME[:WEIGHT]",
    help="LoRA to apply; may be given several times.",
)
@click.option(
    "--output-format", type=click.Choice(["png", "jpeg", "webp", "avif"]), help="Default: by the file's suffix."
)
@click.option("--output-compression", type=click.IntRange(0, 100), help="Quality of JPEG, WebP and AVIF.")
@backend_options
@json_option
@click.pass_context
def generate(
    context: click.Context, /, output: str, as_json: bool, source: Path | None, embed: bool, **options: Any
) -> None:
    """Draw pictures of PROMPT and save them.

    The work is done by the server that --server or IMAGEROUTER_URL names, or in this process without one.
    """
    server, config = chosen_server(context), options.pop("config")
    options.pop("server")
    destination = Output(output, options["n"])
    destination.check(explicit_format=options["output_format"], as_json=as_json)
    options["output_format"] = options["output_format"] or destination.format
    fields = request_fields(options) | ({"metadata": "embed"} if embed else {})
    defaults = defaults_from(source, fields) if source is not None else {}
    if "prompt" not in fields | defaults:
        raise click.MissingParameter(param_hint="'PROMPT'", param_type="argument")
    try:
        result = asyncio.run(_draw(server, config, defaults | fields, hidden=as_json))
    except asyncio.CancelledError:
        click.echo("Terminated", err=True)
        context.exit(143)
    saved = [_saved(index, picture, destination) for index, picture in enumerate(result)]
    if as_json:
        report = {"images": saved, "imagerouter": result.report}
        click.echo(json.dumps(report, indent=2, ensure_ascii=False))
    else:
        _tell(saved, result, destination)


def request_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The options as the body of a request: what wasn't given isn't in it."""
    fields = {name: value for name, value in options.items() if value not in (None, ())}
    if "loras" in fields:
        fields["loras"] = list(fields["loras"])
    if "images" in fields:
        fields["images"] = [_encoded(path) for path in fields["images"]]
    if "mask" in fields:
        fields["mask"] = _encoded(fields["mask"])
    return fields


def defaults_from(source: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """What the request embedded in a picture says, as far as it goes with ``fields``."""
    from imagerouter.embedding import FIELDS, read
    from imagerouter.samplers import split

    request = read(source.read_bytes())
    if request is None:
        reason = f"`{source}` has no embedded request; was it drawn with --embed, or `metadata: embed`?"
        raise click.BadParameter(reason, param_hint="'--from'")
    for needed, name in (("images", "--image"), ("mask", "--mask")):
        if request.get("operation") in _OPERATIONS_WITH[needed] and needed not in fields:
            raise click.UsageError(f"`{source}` was drawn from another picture, which isn't in it: give it with {name}")
    defaults = {name: request[name] for name in FIELDS if name in request}
    if fields.get("output_format", request.get("output_format")) == request.get("output_format"):
        written = ("output_format", "output_compression")
        defaults |= {name: request[name] for name in written if name in request}
    if split(fields.get("sampler", ""))[1] is not None:  # the scheduler in "DPM++ 2M Karras"
        defaults.pop("scheduler", None)
    return defaults


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


async def _draw(server: str | None, config: Path | None, fields: dict[str, Any], *, hidden: bool) -> Result:
    _stop_cleanly()
    with Bars(fields["n"], hidden=hidden) as bars:
        async with connect(server, config) as backend:
            return await backend.draw(fields, bars.update)


def _stop_cleanly() -> None:
    """SIGTERM, as `timeout` and service managers send it, stops the work on the backends as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    with suppress(NotImplementedError):  # Windows
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def _saved(index: int, picture: Picture, destination: Output) -> dict[str, Any]:
    width, height = picture.size
    return {
        "path": destination.save(index, picture.data),
        "seed": picture.seed,
        "size": f"{width}x{height}",
        "media_type": picture.media_type,
    }


def _tell(saved: list[dict[str, Any]], result: Result, destination: Output) -> None:
    for image in saved:
        seed = "no seed" if image["seed"] is None else f"seed {image['seed']}"
        line = f"{image['path']}  {image['size']}  {seed}  {result.model} on {result.provider}"
        click.echo(line, err=destination.is_stdout)
    if result.ignored:
        click.echo(f"Ignored by {result.provider}: {', '.join(result.ignored)}", err=True)
