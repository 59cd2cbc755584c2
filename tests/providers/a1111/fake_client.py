"""What the tests of the stand-in ask it with."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx
import PIL.Image
from tests.providers.a1111.fake import FakeA1111

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
CAT = {"prompt": "a cat", "steps": 3, "width": 64, "height": 64, "seed": 42, "sampler_name": "Euler a"}


Ask = Callable[..., Awaitable[tuple[FakeA1111, httpx.AsyncClient]]]


@asynccontextmanager
async def asking(launch: Callable[..., Awaitable[FakeA1111]]) -> AsyncIterator[Ask]:
    """Starts servers by dialect, each with a client."""
    async with AsyncExitStack() as stack:

        async def start(dialect: str = "a1111", **options: Any) -> tuple[FakeA1111, httpx.AsyncClient]:
            fake = await launch(dialect, **options)
            # Reading certificates takes longer than the test.
            client = httpx.AsyncClient(base_url=fake.url, verify=False)
            return fake, await stack.enter_async_context(client)

        yield start


async def draw(client: httpx.AsyncClient, path: str = TXT2IMG, **more: Any) -> dict[str, Any]:
    answer = await client.post(path, json=CAT | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def info(drawn: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(drawn["info"])
    return found


def pixels(text: str) -> PIL.Image.Image:
    return PIL.Image.open(io.BytesIO(base64.b64decode(text)))


def colours(text: str) -> bytes:
    return pixels(text).convert("RGB").tobytes()


def picture(colour: str, size: tuple[int, int] = (64, 64), half: bool = False) -> str:
    found = PIL.Image.new("RGB", size, colour)
    if half:
        found.paste("white", (0, 0, size[0] // 2, size[1]))
    file = io.BytesIO()
    found.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
