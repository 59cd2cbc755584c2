"""``imagerouter top``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from imagerouter.cli.backend import Remote, remote
from imagerouter.cli.options import running_server_option
from imagerouter.cli.tables import lasting, new_table, show
from imagerouter.errors import ImageRouterError

ANSWER_SECONDS = 5.0
"""For the server to answer; it has all of it in memory."""
COLOURS = {"ready": "green", "starting": "yellow", "half_open": "yellow", "open": "red", "not_ready": "red"}

Fields = dict[str, Any]


@click.command(epilog="Example: imagerouter top --server http://127.0.0.1:8000")
@running_server_option
@click.option(
    "--interval",
    type=click.FloatRange(0.1),
    default=1,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks at the server.",
)
@click.option("--once", is_flag=True, help="Print it once; so it is where the output is no terminal.")
def top(server: str, interval: float, once: bool) -> None:
    """Watch what every provider of a running server is doing. `q` or Ctrl-C ends it."""
    if once or not sys.stdout.isatty():
        asyncio.run(_print(server))
    else:
        asyncio.run(_watch(server, interval))


async def _print(server: str) -> None:
    async with remote(server) as backend:
        answer = await backend.providers()
    show(_table(answer))
    click.echo(_totals(answer))


async def _watch(server: str, interval: float) -> None:
    over = asyncio.Event()
    with Live(console=Console(highlight=False), screen=True, auto_refresh=False) as live, _ended_by_keys(over):
        async with remote(server) as backend:
            ending = asyncio.create_task(over.wait())
            showing = asyncio.create_task(_show(backend, live, interval))
            done, _ = await asyncio.wait([ending, showing], return_when=asyncio.FIRST_COMPLETED)
            for task in (ending, showing):
                task.cancel()
            if showing in done:
                showing.result()


async def _show(backend: Remote, live: Live, interval: float) -> None:
    """Look and show, again and again. While the server is away, what was seen last stays."""
    answer: Fields | None = None
    while True:
        problem = ""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answer = await backend.providers()
        except ImageRouterError as error:
            problem = error.message
        except TimeoutError:
            problem = "the server does not answer"
        live.update(_screen(answer, problem), refresh=True)
        await asyncio.sleep(interval)


@contextmanager
def _ended_by_keys(over: asyncio.Event) -> Iterator[None]:
    """Ctrl-C, SIGTERM and, where the terminal allows to read single keys, `q` set ``over``."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, over.set)
    if (restore := _read_keys(over)) is None:
        yield
        return
    try:
        yield
    finally:
        restore()


def _read_keys(over: asyncio.Event) -> Callable[[], None] | None:
    """Single keys instead of lines, as long as they are read; how to undo it, or ``None`` where it can't be done."""
    try:
        import termios
        import tty
    except ImportError:  # Windows
        return None
    if not sys.stdin.isatty():
        return None
    loop, keyboard = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)

    def pressed() -> None:
        keys = os.read(keyboard, 64)
        if not keys or b"q" in keys.lower():
            over.set()

    def restore() -> None:
        loop.remove_reader(keyboard)
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)

    tty.setcbreak(keyboard)
    loop.add_reader(keyboard, pressed)
    return restore


def _screen(answer: Fields | None, problem: str) -> Group:
    parts: list[Any] = [Text("imagerouter", style="bold")]
    if problem:
        parts.append(Text(f"{problem}; trying again", style="red"))
    if answer is not None:
        parts += [Text(_totals(answer)), Text(), _table(answer)]
    return Group(*parts, Text(), Text("q: quit", style="dim"))


def _totals(answer: Fields) -> str:
    data, queue = answer["data"], answer["queue"]
    ready = sum(provider["state"] in ("ready", "half_open") for provider in data)
    text = f"{ready} of {len(data)} ready, {queue['running']} running, {queue['waiting']} of {queue['limit']} waiting"
    return text + (f", done in {lasting(queue['backlog_seconds'])}" if queue["backlog_seconds"] else "")


def _table(answer: Fields) -> Table:
    table = new_table("provider", "state", "loaded", "running", "waiting", "others", "drawing", "loading", "remarks")
    for provider in answer["data"]:
        speeds = _speeds(provider)
        table.add_row(
            provider["name"],
            Text(provider["state"].replace("_", " "), style=COLOURS.get(provider["state"], "")),
            ", ".join(provider["resident"]) or "-",
            f"{provider['running']}/{provider['concurrency']}",
            str(provider["waiting"]),
            str(provider["foreign"]["jobs"]),
            ", ".join(f"{speed['model']} {lasting(speed['seconds'])}" for speed in speeds) or "-",
            ", ".join(lasting(speed["load_seconds"]) for speed in speeds) or "-",
            "; ".join(_remarks(provider)),
        )
    return table


def _speeds(provider: Fields) -> list[Fields]:
    """Of the models that are loaded, or else of the first ones that have run: what a standard picture takes."""
    speeds: list[Fields] = provider["speeds"]
    return [speed for speed in speeds if speed["model"] in provider["resident"]] or speeds[:3]


def _remarks(provider: Fields) -> list[str]:
    remarks = [provider["detail"]] if provider["detail"] else []
    remarks += [f"{target['model']}: {target['reason']}" for target in provider["targets"] if target["reason"]]
    error = provider["last_error"]
    if error is not None and error["message"] not in provider["detail"]:
        remarks.append(f"{lasting(error['seconds_ago'])} ago: {error['message']}")
    return remarks
