"""CPU time of a 1.5 MB picture in base64 on its way through the adapter, and through the whole gateway.

    python bench/a1111/passthrough.py

The server is a canned one in a process of its own, so its time isn't counted. Beside the adapter stand httpx alone
(the answer is received, and nothing is done with it) and the naive way (parse the JSON, decode the picture, encode it).
The turns of all alternate; a ratio is taken within a round, and the median over the rounds is printed. The gateway
is measured by the time of its whole process, beside a provider that has its picture ready (`bench/gateway`).
"""

import argparse
import asyncio
import base64
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from imagerouter import ImageRequest
from imagerouter_a1111 import A1111Config, A1111Provider

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "gateway")]

from backend import NAME, PICTURES  # noqa: E402
from run import cpu_seconds, load  # noqa: E402

BODY = {
    "prompt": "a red fox",
    "negative_prompt": "",
    "steps": 20,
    "cfg_scale": 7.0,
    "width": 1024,
    "height": 1024,
    "sampler_name": "DPM++ 2M",
    "scheduler": "Karras",
}

Way = Callable[[int], Awaitable[bytes]]
"""From a seed to what is there in the end."""


@contextmanager
def backend() -> Iterator[str]:
    with subprocess.Popen([sys.executable, str(HERE / "backend.py")], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


def ways(client: httpx.AsyncClient, provider: A1111Provider) -> dict[str, Way]:
    async def httpx_alone(seed: int) -> bytes:
        return (await client.post("/sdapi/v1/txt2img", json={**BODY, "seed": seed})).content

    async def naive(seed: int) -> bytes:
        answer = json.loads(await httpx_alone(seed))
        return base64.b64encode(base64.b64decode(answer["images"][0]))

    async def adapter(seed: int) -> bytes:
        asked = ImageRequest(model=f"{NAME}.safetensors", prompt="a red fox", seed=seed, width=1024, height=1024)
        return (await provider.generate(asked, lambda _: None)).images[0].b64

    return {"httpx alone": httpx_alone, "naive": naive, "adapter": adapter}


async def spend(way: Way, seeds: range, at_once: int) -> float:
    """CPU milliseconds a picture."""
    waiting = iter(seeds)

    async def draw() -> None:
        for seed in waiting:
            await way(seed)

    before = time.process_time()
    await asyncio.gather(*(draw() for _ in range(at_once)))
    return (time.process_time() - before) / len(seeds) * 1000


async def same_pictures(told: dict[str, Way]) -> None:
    for seed in range(PICTURES):
        if await told["naive"](seed) != await told["adapter"](seed):
            raise RuntimeError("the adapter's picture is another one")


async def in_process(url: str, chosen: argparse.Namespace) -> None:
    provider = A1111Provider("bench", A1111Config(base_url=url))
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    async with httpx.AsyncClient(base_url=url, limits=limits, trust_env=False, timeout=60) as client:
        await provider.start()
        told = ways(client, provider)
        await same_pictures(told)
        await client.get("/asked")
        for seed in range(10):
            await told["adapter"](seed)
        print("requests for ten jobs:", (await client.get("/asked")).json())
        for at_once in (1, 16):
            rounds = await alternate(told, chosen, at_once)
            show(f"adapter in process, {at_once} at once", rounds, "httpx alone")
        await provider.aclose()


async def alternate(told: dict[str, Way], chosen: argparse.Namespace, at_once: int) -> list[dict[str, float]]:
    rounds = []
    for _ in range(chosen.rounds):
        order = random.sample(list(told), len(told))
        rounds.append({name: await spend(told[name], range(chosen.count), at_once) for name in order})
    return rounds


def show(title: str, rounds: list[dict[str, float]], unit: str) -> None:
    print(f"\n{title}: ms CPU a picture, median of {len(rounds)} rounds [least, most], and times {unit}")
    for name in sorted(rounds[0], key=lambda name: statistics.median(one[name] for one in rounds)):
        spent = [one[name] for one in rounds]
        ratios = [one[name] / one[unit] for one in rounds]
        print(
            f"{name:>28} {statistics.median(spent):7.2f} [{min(spent):.2f}, {max(spent):.2f}]"
            f"   {statistics.median(ratios):5.2f}x [{min(ratios):.2f}, {max(ratios):.2f}]"
        )


@contextmanager
def gateway(providers: str) -> Iterator[tuple[int, str]]:
    """Process id and address of a server whose provider is ready."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.yaml"
        config.write_text(f"providers: {{{providers}}}\nserver: {{log_format: json}}\n")
        command = [sys.executable, "-m", "imagerouter", "serve", "--port", "0", "--config", str(config)]
        environment = {**os.environ, "PYTHONPATH": str(HERE.parent / "gateway")}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
            url, waiting = "", {"server.listening", "provider.ready"}
            while waiting and (line := server.stderr.readline() if server.stderr else ""):
                event = json.loads(line)
                url = event.get("url", url)
                waiting.discard(event["event"])
            # Logging stays on, as it would be; only nobody reads it here.
            reader = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            try:
                yield server.pid, url
            finally:
                server.terminate()
                server.wait()
                reader.wait()


def spent_by(server: tuple[int, str], count: int, at_once: int) -> float:
    """CPU milliseconds a picture of a whole process."""
    pid, url = server
    before = cpu_seconds(pid)
    asyncio.run(load(url, count, at_once))
    return (cpu_seconds(pid) - before) / count * 1000


def through_gateway(url: str, chosen: argparse.Namespace) -> None:
    ready = "canned: {type: 'canned:Canned', concurrency: 64}"
    sized = f"checkpoints: false, models: {{{NAME}: {{width: 1024, height: 1024}}}}"
    webui = f"webui: {{type: a1111, concurrency: 64, base_url: '{url}', {sized}}}"
    with gateway(ready) as alone, gateway(webui) as through:
        servers = {"gateway, picture ready": alone, "gateway and adapter": through}
        for server in servers.values():
            asyncio.run(load(server[1], 48, 16))
        for at_once in (1, 16):
            rounds = [
                {name: spent_by(server, chosen.count, at_once) for name, server in servers.items()}
                for _ in range(chosen.rounds)
            ]
            show(f"whole server process, {at_once} at once", rounds, "gateway, picture ready")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=200, help="pictures in one turn")
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    print(f"{chosen.count} pictures a turn, load average {os.getloadavg()[0]:.1f}")
    with backend() as url:
        asyncio.run(in_process(url, chosen))
        through_gateway(url, chosen)


if __name__ == "__main__":
    main()
