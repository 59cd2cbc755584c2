"""Where the pictures go: one file, several numbered ones, or stdout."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from imagerouter.client.pictures import FORMATS
from imagerouter.errors import ImageRouterError


@dataclass(frozen=True)
class Output:
    """What ``-o`` names, for ``n`` pictures."""

    target: str
    n: int

    @property
    def is_stdout(self) -> bool:
        return self.target == "-"

    @property
    def format(self) -> str | None:
        suffix = Path(self.target).suffix
        return FORMATS.get(suffix.lower()) if suffix and not self.is_stdout else None

    def check(self, *, explicit_format: str | None, as_json: bool) -> None:
        """Refuse before anything is drawn what could not be saved afterwards."""
        if self.is_stdout:
            if self.n > 1:
                raise click.UsageError("several pictures can't go to stdout; name a file with -o")
            if as_json:
                raise click.UsageError("-o - and --json both want stdout")
            return
        path = Path(self.target)
        if path.suffix and self.format is None and explicit_format is None:
            known = ", ".join(FORMATS)
            raise click.UsageError(f"can't tell the format from `{path.name}`; use one of {known} or --output-format")
        if not path.parent.is_dir():
            raise click.UsageError(f"there is no folder `{path.parent}`")
        if path.is_dir():
            raise click.UsageError(f"`{path}` is a folder")

    def save(self, index: int, data: bytes) -> str:
        if self.is_stdout:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return "-"
        path = Path(self.target)
        if self.n > 1:
            path = path.with_stem(f"{path.stem}-{index + 1}")
        try:
            path.write_bytes(data)
        except OSError as error:
            raise ImageRouterError(f"can't write {path}: {error.strerror}") from None
        return str(path)
