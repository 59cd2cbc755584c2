"""Providers that are hard on a server."""

import asyncio
import os
import threading
from contextlib import suppress
from random import Random

import structlog
from PIL import Image as Pillow

from imagerouter.images import png
from imagerouter.testing import FakeProvider
from imagerouter.types import Image, ImageRequest, Images, ProgressSink


class Stubborn(FakeProvider):
    """Never lets go of a job, like a thread that can't be interrupted."""

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        await super().generate(request, progress)
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


class Threaded(FakeProvider):
    """Starts in a thread that never ends."""

    async def start(self) -> None:
        await asyncio.to_thread(self._hang)

    def _hang(self) -> None:
        structlog.get_logger().info("threaded.stuck")
        threading.Event().wait()


class Big(FakeProvider):
    """Draws pictures that fill every buffer on the way to the client."""

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        png = b"\x89PNG\r\n\x1a\n" + os.urandom(16_000_000)
        return Images(images=(Image(data=png),))


class Noise(FakeProvider):
    """Draws a picture of 3 MB that no other seed has."""

    async def generate(self, request: ImageRequest, progress: ProgressSink) -> Images:
        noise = Pillow.frombytes("RGB", (1000, 1000), Random(request.seed).randbytes(3_000_000))
        return Images(images=(Image(data=png(noise)),))
