"""The command ``imagerouter``. Each subcommand's module is imported only when it is the one to run.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from imagerouter import __version__
from imagerouter.errors import ConfigError, ImageRouterError

COMMANDS = {
    "serve": ("imagerouter.cli.serve:serve", "Run the server."),
    "generate": ("imagerouter.cli.generate:generate", "Draw pictures and save them."),
    "models": ("imagerouter.cli.models:models", "List the models that can be used."),
    "explain": ("imagerouter.cli.explain:explain", "Tell who would draw a request, and why others can't."),
    "top": ("imagerouter.cli.top:top", "Watch what every provider of a server is doing."),
    "check": ("imagerouter.cli.check:check", "Check a configuration file and every provider in it."),
    "parity-check": (
        "imagerouter.cli.parity_check:parity_check",
        "Find out which providers draw the same pictures.",
    ),
    "reload": ("imagerouter.cli.reload:reload", "Let a running server load its configuration again."),
    "workflow": ("imagerouter.cli.workflow:workflow", "See what a workflow file can do."),
    "config": ("imagerouter.cli.config:config", "Work with configuration files."),
}


class LazyGroup(click.Group):
    """Knows its commands by name and one line of help, so that ``--help`` imports none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: imagerouter generate 'a lighthouse at dusk' -o lighthouse.png",
)
@click.version_option(__version__, prog_name="imagerouter", message="%(prog)s %(version)s")
def cli() -> None:
    """One OpenAI-compatible image endpoint in front of every image backend you run."""


def main() -> None:
    """Run the command line and exit; what goes wrong becomes a line on stderr and an exit code."""
    sys.exit(_run())


def _run() -> int:
    try:
        result: Any = cli.main(standalone_mode=False)
    except ConfigError as error:
        click.echo(error.message, err=True)
        return 2
    except ImageRouterError as error:
        click.echo(f"Error: {error.message}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): that is no failure, and Python mustn't flush once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0
