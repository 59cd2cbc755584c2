"""Providers that are hard on a server."""

import asyncio
import os
import struct
import threading
import zlib
from contextlib import suppress
from random import Random

import structlog

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
        header = struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", Random(request.seed).randbytes(3_000_000)), (b"IEND", b""))
        png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)
        return Images(images=(Image(data=png),))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
