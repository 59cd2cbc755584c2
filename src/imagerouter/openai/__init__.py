"""OpenAI's images dialect: request bytes in, bodies and server-sent events out."""

from imagerouter.openai.models import describe
from imagerouter.openai.request import Call, Delivery, check_parameters, interpret, parse

__all__ = ["Call", "Delivery", "check_parameters", "describe", "interpret", "parse"]
