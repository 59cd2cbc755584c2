"""The adapter in front of a server, and requests for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from imagerouter import ImageRequest, Images, Progress
from imagerouter_openai import OpenAIConfig, OpenAIProvider


@asynccontextmanager
async def started(url: str, **config: Any) -> AsyncIterator[OpenAIProvider]:
    provider = OpenAIProvider("far", OpenAIConfig(base_url=url, **config))
    await provider.start()
    try:
        yield provider
    finally:
        await provider.aclose()


def ask(**changes: Any) -> ImageRequest:
    return ImageRequest(**{"model": "gpt-image-2", "prompt": "a fox", "seed": 7, "width": 64, "height": 64, **changes})


async def draw(provider: OpenAIProvider, seen: list[Progress] | None = None, **changes: Any) -> Images:
    sink = [] if seen is None else seen
    return await provider.generate(ask(**changes), sink.append)
