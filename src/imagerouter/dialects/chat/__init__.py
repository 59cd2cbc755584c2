"""Pictures through chat completions: the last message says what to draw, and earlier ones hold what to draw on."""

from imagerouter.dialects.chat.request import Asked, read
from imagerouter.dialects.chat.response import Chunks, OpenRouterChunks, body, drawn

__all__ = ["Asked", "Chunks", "OpenRouterChunks", "body", "drawn", "read"]
