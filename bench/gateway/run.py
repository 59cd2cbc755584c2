"""CPU time of the gateway per picture: fixed counts, drained, every answer checked, any error fails the run."""

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
TICK = os.sysconf("SC_CLK_TCK")
KINDS = {"1.5 MB base64": "size: 1125000", "1.1 MB raw": "size: 1125000, base64: false", "1 KB base64": "size: 768"}


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


async def ask(address: tuple[str, int], seeds: "asyncio.Queue[int]", seen: dict[int, set[str]]) -> None:
    reader, writer = await asyncio.open_connection(*address)
    while not seeds.empty():
        seed = seeds.get_nowait()
        body = json.dumps({"prompt": "x", "seed": seed}).encode()
        head = f"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        status = (await reader.readline()).split()[1]
        if status != b"200":
            raise RuntimeError(f"HTTP {status.decode()}")
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        answer = await reader.readexactly(int(headers.split(b"content-length:")[1].split(b"\r\n")[0]))
        start = answer.index(b'"b64_json":"') + 12
        digest = hashlib.blake2b(answer[start : answer.index(b'"', start)]).hexdigest()
        seen.setdefault(seed % 24, set()).add(digest)
    writer.close()


async def load(url: str, count: int, at_once: int) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    seeds: asyncio.Queue[int] = asyncio.Queue()
    for seed in range(count):
        seeds.put_nowait(seed)
    seen: dict[int, set[str]] = {}
    await asyncio.gather(*(ask((host, int(port)), seeds, seen) for _ in range(at_once)))
    if any(len(digests) != 1 for digests in seen.values()) or len({*map(frozenset, seen.values())}) != len(seen):
        raise RuntimeError("answers were mixed up")


def start(provider: str, folder: str) -> tuple["subprocess.Popen[str]", str]:
    config = Path(folder) / "bench.yaml"
    config.write_text(f"providers: {{canned: {{type: 'canned:Canned', concurrency: 64, {provider}}}}}\n")
    command = [sys.executable, "-m", "imagerouter", "serve", "--port", "0", "--config", str(config)]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    url = ""
    for line in server.stderr or ():
        event = json.loads(line)
        url = event.get("url", url)
        if event["event"] == "server.listening":
            break
    # Logging stays on, as it would be; only nobody reads it here.
    subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    return server, url


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=400)
    options.add_argument("--at-once", type=int, default=16)
    chosen = options.parse_args()
    print(f"{chosen.count} requests, {chosen.at_once} at once, load average {os.getloadavg()[0]:.1f}")
    for kind, provider in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            server, url = start(provider, folder)
            asyncio.run(load(url, 48, chosen.at_once))
            before, began = cpu_seconds(server.pid), time.perf_counter()
            asyncio.run(load(url, chosen.count, chosen.at_once))
            used, wall = cpu_seconds(server.pid) - before, time.perf_counter() - began
            server.terminate()
            server.wait()
        print(f"{kind:>14}: {used / chosen.count * 1000:6.2f} ms CPU a request, {chosen.count / wall:7.0f} requests/s")


if __name__ == "__main__":
    main()
