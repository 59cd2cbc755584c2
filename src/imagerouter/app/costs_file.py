"""Where learned speeds outlive a restart (``server.costs_file``)."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from imagerouter.config import Server
from imagerouter.folders import user_folder

log = structlog.get_logger(__name__)


def costs_file(server: Server) -> Path | None:
    """The file, in a folder that is there and can be written to, or ``None``.

    With ``auto`` every port has its own; a free one (0) is another each time, and has none.
    """
    if server.costs_file is None or (server.costs_file == "auto" and server.port == 0):
        return None
    is_auto = server.costs_file == "auto"
    path = user_folder("state") / f"costs-{server.port}.json" if is_auto else Path(server.costs_file).expanduser()
    if (reason := _obstacle(path)) is not None:
        log.warning("costs.not_kept", path=str(path), reason=reason)
        return None
    return path


def _obstacle(path: Path) -> str | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return error.strerror or str(error)
    if path.is_dir():
        return "it is a folder"
    return None if os.access(path.parent, os.W_OK) else f"{path.parent} can't be written to"
