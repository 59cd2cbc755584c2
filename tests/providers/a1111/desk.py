"""The adapter in front of a stand-in, through its public door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tests.providers.a1111.fake import FakeA1111
from tests.providers.sink import Sink

from imagerouter import ImageRequest, Images
from imagerouter_a1111 import A1111Config, A1111Provider

JOBS = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img")
TURNS = 20_000
"""Of the event loop, until what is waited for will never come."""


@asynccontextmanager
async def desk(fake: FakeA1111, **keys: Any) -> AsyncIterator[A1111Provider]:
    """A provider that is started. In the end it has left nothing behind, and sent no setting that isn't known."""
    clip_skip = "CLIP_stop_at_last_layers"
    if fake.settings.labels.get(clip_skip) == 1:
        fake.settings.labels[clip_skip] = 1  # it is 1.0, with which the stand-in draws something else
    provider = A1111Provider("desk", A1111Config(**{"base_url": fake.url} | keys))
    await provider.start()
    try:
        yield provider
    finally:
        fake.release()
        await provider.aclose()
    await eventually(lambda: not tasks())
    for body in sent(fake):
        assert set(body.get("override_settings", {})) <= set(fake.settings.labels)


def tasks() -> list[str]:
    """What the adapter has under way."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    found = [code for one in coroutines if (code := getattr(one, "cr_code", None)) is not None]
    return [code.co_qualname for code in found if "imagerouter_a1111" in code.co_filename]


async def eventually(condition: Callable[[], bool]) -> None:
    """For what the stand-in doesn't hear of."""
    for _ in range(TURNS):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to it")


def sent(fake: FakeA1111) -> list[dict[str, Any]]:
    """Bodies of the jobs that were sent, in their order."""
    return [one.json() for one in fake.requests if one.method == "POST" and one.path in JOBS]


def interruptions(fake: FakeA1111) -> int:
    return fake.paths().count("POST /sdapi/v1/interrupt")


def request(model: str = "tinyA.safetensors", **changes: Any) -> ImageRequest:
    fields = {"model": model, "prompt": "a fox", "seed": 7, "steps": 2, "width": 64, "height": 64}
    return ImageRequest(**fields | changes)


def drawing_of(provider: A1111Provider, asked: ImageRequest, sink: Sink | None = None) -> asyncio.Task[Images]:
    return asyncio.create_task(provider.generate(asked, Sink() if sink is None else sink))


async def drawn(provider: A1111Provider, asked: ImageRequest) -> bytes:
    """The first picture's file."""
    return (await provider.generate(asked, Sink())).images[0].data
