"""Foreign exceptions → imagerouter's, with messages that hold no path and no traceback."""

from __future__ import annotations

from imagerouter import GenerationError, ImageRouterError, OutOfMemoryError
from imagerouter.logs import get_logger

log = get_logger("imagerouter.diffusers")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_LONGEST = 160


class Cancelled(Exception):
    """Raised inside a pipeline to stop it between two steps; never leaves this package."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)


def translate(error: Exception, doing: str) -> ImageRouterError:
    """:param doing: what failed, as in "the model can't be loaded"."""
    if isinstance(error, ImageRouterError):
        return error
    if is_out_of_memory(error):
        return OutOfMemoryError("not enough memory for this model at this size; try a smaller picture or fewer at once")
    log.error("diffusers_failed", doing=doing, exc_info=error)
    return GenerationError(f"{doing}: {_short(error)}")


def _short(error: Exception) -> str:
    text = str(error).strip().partition("\n")[0]
    is_safe = text and len(text) <= _LONGEST and not any(sign in text for sign in "/\\")
    return f"{type(error).__name__}: {text}" if is_safe else type(error).__name__
