"""OpenAI's images dialect: request bytes in, bodies and server-sent events out."""

from imagerouter.openai.models import describe
from imagerouter.openai.request import NO_PROMPT, Call, Delivery, Door, addresses, as_sent, decode, interpret
from imagerouter.openai.values import typed_parameters

__all__ = [
    "NO_PROMPT",
    "Call",
    "Delivery",
    "Door",
    "addresses",
    "as_sent",
    "decode",
    "describe",
    "interpret",
    "typed_parameters",
]
