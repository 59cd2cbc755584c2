"""CPU time of HTTP clients under httpx's API: what one request costs this process, for large and small answers.

    python bench/gateway/clients.py --rounds 5

The answers come from another process. Every one is checked; an error ends the run. ``httpx-aiohttp`` takes part where
it is installed, and so does uvloop with ``--uvloop``.
"""

import argparse
import asyncio
import gc
import importlib.util
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import httpx

from imagerouter.http import make_client

PICTURES = 24
"""Distinct answers, so that a mixed-up one shows."""
SIZES = {"1.5 MB": 1_500_000, "1 KB": 1_000}
AT_ONCE = (1, 16, 64)
QUESTION = b'{"prompt": "a lighthouse at dusk", "steps": 20, "width": 1024, "height": 1024, "batch_size": 1}'
TIMEOUT = 60.0


def body(index: int, size: int) -> bytes:
    return random.Random(index).randbytes(size - 2) + index.to_bytes(2, "big")


class Upstream(asyncio.Protocol):
    """Answers ``POST /<size>/<index>`` with prepared bytes as soon as the request is there."""

    prepared: dict[bytes, bytes] = {}  # noqa: RUF012 - shared on purpose

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        if self.seen.endswith(QUESTION):
            self.transport.write(self.prepared[self.seen.split(b" ", 2)[1]])
            self.seen = b""


async def serve() -> None:
    for size in SIZES.values():
        head = (
            b"HTTP/1.1 200 OK\r\nserver: bench\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % size
        )
        Upstream.prepared |= {b"/%d/%d" % (size, index): head + body(index, size) for index in range(PICTURES)}
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def stock() -> httpx.AsyncBaseTransport:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=4)
    return httpx.AsyncHTTPTransport(limits=limits)


def aiohttp() -> httpx.AsyncBaseTransport:
    from httpx_aiohttp import AiohttpTransport

    transport: httpx.AsyncBaseTransport = AiohttpTransport(limits=httpx.Limits(max_connections=None))
    return transport


CLIENTS: dict[str, Callable[[], httpx.AsyncBaseTransport | None]] = {"stock httpx": stock, "imagerouter": lambda: None}
if importlib.util.find_spec("httpx_aiohttp"):
    CLIENTS["httpx-aiohttp"] = aiohttp


async def ask(client: httpx.AsyncClient, size: int, numbers: "list[int]", expected: list[bytes]) -> None:
    while numbers:
        index = numbers.pop() % PICTURES
        response = await client.post(f"{size}/{index}", content=QUESTION)
        if response.status_code != 200 or response.content[-64:] != expected[index]:
            raise RuntimeError("a wrong answer")


async def measure(name: str, url: str, size: int, at_once: int, count: int) -> float:
    """Seconds of CPU, user and system, for one request; the connections are open already."""
    expected = [body(index, size)[-64:] for index in range(PICTURES)]
    async with make_client(url, read_timeout=TIMEOUT, transport=CLIENTS[name]()) as client:
        for number in range(PICTURES):
            response = await client.post(f"{size}/{number}", content=QUESTION)
            if response.content != body(number, size):
                raise RuntimeError("a wrong answer")
        warm = list(range(at_once))
        await asyncio.gather(*(ask(client, size, warm, expected) for _ in range(at_once)))
        numbers = list(range(count))
        gc.collect()
        before = time.process_time()
        await asyncio.gather(*(ask(client, size, numbers, expected) for _ in range(at_once)))
        return (time.process_time() - before) / count


def run(options: argparse.Namespace, url: str) -> None:
    runner = asyncio.run
    if options.uvloop:
        import uvloop

        runner = uvloop.run
    cases = [(label, at_once) for label in SIZES for at_once in AT_ONCE]
    figures: dict[tuple[str, int, str], list[float]] = {}
    for _ in range(options.rounds):
        for label, at_once in cases:
            for name in random.sample(sorted(CLIENTS), len(CLIENTS)):
                count = options.count if SIZES[label] > 100_000 else 4 * options.count
                used = runner(measure(name, url, SIZES[label], at_once, count))
                figures.setdefault((label, at_once, name), []).append(used * 1000)
    show(cases, figures)


def show(cases: list[tuple[str, int]], figures: dict[tuple[str, int, str], list[float]]) -> None:
    print(f"{'answer':>7} {'at once':>7}  {'client':<14} {'ms CPU a request':>20}  of stock httpx")
    for label, at_once in cases:
        reference = figures[label, at_once, "stock httpx"]
        for name in CLIENTS:
            ours = figures[label, at_once, name]
            ratio = statistics.median(one / other for one, other in zip(ours, reference, strict=True))
            shown = f"{statistics.median(ours):.2f} [{min(ours):.2f}-{max(ours):.2f}]"
            print(f"{label:>7} {at_once:>7}  {name:<14} {shown:>20}  {ratio:.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--count", type=int, default=200, help="requests for a large answer; four times that for a small one"
    )
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
        return
    used = [
        f"{name} {version(name)}" for name in ("httpx", "httpcore", "httpx-aiohttp", "aiohttp", "uvloop") if has(name)
    ]
    print(f"Python {platform.python_version()}, {', '.join(used)}; load average {os.getloadavg()[0]:.1f}")
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as upstream:
        try:
            assert upstream.stdout is not None
            run(options, f"http://127.0.0.1:{int(upstream.stdout.readline())}/")
        finally:
            upstream.terminate()


def has(name: str) -> bool:
    return importlib.util.find_spec(name.replace("-", "_")) is not None


if __name__ == "__main__":
    main()
