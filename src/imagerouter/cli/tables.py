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
