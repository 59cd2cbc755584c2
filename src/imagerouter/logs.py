"""Loggers of the core and the adapters. In somebody else's program their lines go where that program's lines go.

That is to structlog, if the program has configured it, as `imagerouter.telemetry` does for the server. Otherwise it is
to the standard library's `logging`, below the logger ``imagerouter``, where nothing is shown that nobody asks for.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger


def get_logger(name: str) -> Any:
    """A structlog logger, like `structlog.get_logger`.

    :param name: the module's.
    """
    top = logging.getLogger(name.partition(".")[0])
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    return structlog.wrap_logger(None, wrapper_class=partial(_bound, name), logger_factory_args=(name,))  # type: ignore[arg-type]


def _bound(name: str, logger: WrappedLogger, processors: Any, context: Any) -> Any:
    if structlog.is_configured():
        return structlog.get_config()["wrapper_class"](logger, processors, context)
    return structlog.stdlib.BoundLogger(logging.getLogger(name), _PLAIN, context)


def _line(_: WrappedLogger, __: str, event: EventDict) -> tuple[tuple[str], dict[str, Any]]:
    """What `logging` is called with: ``image.done model='sdxl' n=2``."""
    kept = {name: event.pop(name) for name in ("exc_info", "stack_info") if name in event}
    words = [str(event.pop("event")), *(f"{name}={value!r}" for name, value in event.items())]
    return (" ".join(words),), kept


_PLAIN = (structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _line)
