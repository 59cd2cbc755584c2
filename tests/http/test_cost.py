"""What a picture costs the server, counted in copies and in calls: figures that no busy machine changes."""

import asyncio
import json
import re
import struct
import sys
import tracemalloc
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from types import FrameType

import httpx
import pybase64
import pytest
import structlog

from imagerouter.config import Server
from imagerouter.telemetry import configure

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.http.conftest import Start  # noqa: E402
from tests.providers.a1111.fake import FakeA1111  # noqa: E402

MOST_COPIES = 2.5
"""Pictures that are held at once: the answer of the backend, and for a moment what its base64 decodes to."""
MOST_CALLS = 1150
"""Functions that are called for a small picture by way of the OpenAI adapter, with those in C: 970, and some slack."""
REQUESTS = 50
ELSEWHERE = ("asyncio/", "/tests/", "selectors.py", "threading.py", "concurrent/", "weakref")
"""Parts of the names of files whose calls depend on what comes first, or are the test's own."""
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


@pytest.fixture
def logs_as_json() -> Iterator[None]:
    before = structlog.get_config()
    configure(Server(log_format="json"))
    yield
    structlog.configure(**before)


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """The address of a server that answers everything with this JSON."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                found = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(found[1]) if found else 0)
                writer.write(b"HTTP/1.1 200 -\r\ncontent-length: %d\r\n\r\n" % len(answer) + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_request_takes_few_calls(start: Start, logs_as_json: None) -> None:
    text = pybase64.b64encode(picture(800)).decode()
    answer = json.dumps({"created": 1, "data": [{"b64_json": text, "id": "dall-e-3"}]}).encode()
    async with answering(answer) as url:
        running = await start(
            f"providers: {{hosted: {{type: openai, base_url: '{url}/v1', models: [dall-e-3], concurrency: 64}}}}\n"
            "keys: {someone: {secret: sk-0123456789}}\n"
        )
        calls = Counter[str]()

        def count(frame: FrameType, event: str, _: object) -> None:
            file = frame.f_code.co_filename
            if event in ("call", "c_call") and not any(part in file for part in ELSEWHERE):
                calls[file] += 1

        async def draw() -> None:
            headers, body = {"authorization": "Bearer sk-0123456789"}, {"prompt": "a fox", "seed": 5}
            async with httpx.AsyncClient(base_url=running.server.url, headers=headers, timeout=60) as client:
                told = await asyncio.gather(
                    *(client.post("/v1/images/generations", json=body) for _ in range(REQUESTS))
                )
            assert {answer.json()["data"][0]["b64_json"] for answer in told} == {text}

        await asyncio.to_thread(asyncio.run, draw())
        sys.setprofile(count)  # of this thread, which is the server's and not the client's
        try:
            await asyncio.to_thread(asyncio.run, draw())
        finally:
            sys.setprofile(None)
    assert calls.total() / REQUESTS < MOST_CALLS, calls.most_common(10)
