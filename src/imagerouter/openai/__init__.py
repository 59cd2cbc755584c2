"""OpenAI's images dialect: request bytes in, bodies and server-sent events out."""

from imagerouter.openai.models import describe
from imagerouter.openai.request import Call, Delivery, interpret, parse
from imagerouter.openai.values import typed_parameters

__all__ = ["Call", "Delivery", "describe", "interpret", "parse", "typed_parameters"]
