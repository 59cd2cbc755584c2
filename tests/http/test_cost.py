"""What a picture costs the server, counted in copies of it: a figure that no busy machine changes."""

import asyncio
import json
import re
import struct
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import httpx
import pybase64

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.http.conftest import Start  # noqa: E402
from tests.providers.a1111.fake import FakeA1111  # noqa: E402

MOST_COPIES = 3.5
"""Pictures that are held at once: the backend's answer, the one cut out of it, and what the socket hasn't taken yet."""
PIECE = 64 * 1024
"""Bytes that the test itself handles at once, so that none of the copies are its own."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def picture(size: int) -> bytes:
    """A PNG in everything but its pixels, without texts that would have to be taken out."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", Random(1).randbytes(size)) + chunk(b"IEND", b"")


def job(text: bytes) -> bytes:
    """What ``txt2img`` answers, with the picture in base64 as ``text``."""
    info = {"all_seeds": [1], "infotexts": ["x\nSteps: 20, Seed: 1, Size: 1024x1024"], "index_of_first_image": 0}
    return b'{"images":["' + text + b'"],' + json.dumps({"parameters": {}, "info": json.dumps(info)}).encode()[1:]


@asynccontextmanager
async def with_job(backend: FakeA1111, answer: bytes) -> AsyncIterator[str]:
    """The address of a front of ``backend`` that answers each ``txt2img`` itself, in pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                found = re.search(r"content-length: (\d+)", head.lower())
                body = await reader.readexactly(int(found[1])) if found else b""
                method, path = head.split(" ", 2)[:2]
                content = answer
                if not path.endswith("/txt2img"):
                    content = (await http.request(method, path, content=body)).content
                writer.write(f"HTTP/1.1 200 -\r\ncontent-length: {len(content)}\r\n\r\n".encode())
                for at in range(0, len(content), PIECE):
                    writer.write(content[at : at + PIECE])
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with httpx.AsyncClient(base_url=backend.url, verify=False) as http:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()


async def test_a_picture_in_base64_is_passed_on_with_few_copies(start: Start, tmp_path: Path) -> None:
    text = pybase64.b64encode(picture(8_000_000))
    async with FakeA1111() as backend, with_job(backend, job(text)) as url:
        running = await start(f"providers: {{webui: {{type: a1111, base_url: '{url}'}}}}\n")

        async def draw() -> None:
            body = {"prompt": "a fox", "size": "1024x1024"}
            with (tmp_path / "answer").open("wb") as file:
                async with running.http.stream("POST", "/v1/images/generations", json=body) as response:
                    assert response.status_code == 200
                    async for piece in response.aiter_raw(PIECE):
                        file.write(piece)

        await draw()
        tracemalloc.start()
        try:
            await draw()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    answer = json.loads((tmp_path / "answer").read_bytes())
    assert answer["data"][0]["b64_json"].encode() == text
    assert peak / len(text) < MOST_COPIES
