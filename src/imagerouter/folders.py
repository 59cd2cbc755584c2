"""Where files of this user belong (XDG base directory specification)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

_USUAL = {"cache": ".cache", "config": ".config", "state": ".local/state"}


def user_folder(kind: Literal["cache", "config", "state"]) -> Path:
    """Our own folder among those of one kind; it needn't be there."""
    home = os.environ.get(f"XDG_{kind.upper()}_HOME") or Path.home() / _USUAL[kind]
    return Path(home) / "imagerouter"
