"""Adapter for servers that speak OpenAI's images API, OpenAI itself and other imagerouters among them."""

from imagerouter_openai.config import OpenAIConfig
from imagerouter_openai.provider import OpenAIProvider

__all__ = ["OpenAIConfig", "OpenAIProvider"]
