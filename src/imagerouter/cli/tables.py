"""Tables on stdout: fitted to a terminal, and unfolded where another program reads them."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

UNFOLDED = 1000


def new_table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def show(table: Table) -> None:
    width = None if sys.stdout.isatty() else UNFOLDED
    Console(width=width, markup=False, highlight=False).print(table)


def lasting(seconds: float) -> str:
    """A duration for people: ``0.05 s``, ``4.5 s``, ``18 s``, ``2 min 5 s``, ``1 h 3 min``."""
    if seconds < 9.95:
        return f"{round(seconds, 2):.2g} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
