"""Logs: one line per event through structlog, for a person on a terminal and as JSON everywhere else."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from imagerouter.config import Server

LogLevel = Literal["debug", "info", "warning", "error"]


def configure(server: Server) -> None:
    """Set up structlog for the process. Logs go to stderr; stdout belongs to what commands print."""
    import structlog

    has_terminal = sys.stderr.isatty()
    console = server.log_format == "console" or (server.log_format == "auto" and has_terminal)
    renderers: list[Any] = (
        # The default shows the local variables: keys and pictures among them, and drawing them holds up the server.
        [structlog.dev.ConsoleRenderer(colors=has_terminal, exception_formatter=structlog.dev.plain_traceback)]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[server.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
