"""What imagerouter adds to a picture: the same server of AUTOMATIC1111's family, by hand and through a server.

    python bench/a1111/latency.py --server http://127.0.0.1:7860 --checkpoint NAME

By hand means as little as possible: one `POST /sdapi/v1/txt2img` on an open connection. The other way is what a client
sees: `POST /v1/images/generations` at a server of its own process. Both draw 64x64 in one step with the checkpoint
loaded and a new seed each time. Turns alternate, so that what else the machine does falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx

SIZE = 64
STEPS = 1
UNPACKED = {"accept-encoding": "identity"}
"""As the adapter asks for it: otherwise the server compresses the picture, which takes longer than it saves."""


async def by_hand(http: httpx.AsyncClient, checkpoint: str, seed: int) -> bytes:
    body = {
        "prompt": "a red fox",
        "seed": seed,
        "steps": STEPS,
        "cfg_scale": 7.0,
        "width": SIZE,
        "height": SIZE,
        "sampler_name": "Euler",
        "override_settings": {"sd_model_checkpoint": checkpoint},
    }
    answer = await http.post("/sdapi/v1/txt2img", json=body)
    return base64.b64decode(answer.raise_for_status().json()["images"][0])


async def through_router(http: httpx.AsyncClient, checkpoint: str, seed: int) -> tuple[bytes, float]:
    body = {
        "model": f"webui/{checkpoint}",
        "prompt": "a red fox",
        "seed": seed,
        "steps": STEPS,
        "cfg_scale": 7.0,
        "size": f"{SIZE}x{SIZE}",
        "sampler": "euler",
        "scheduler": "normal",
    }
    answer = (await http.post("/v1/images/generations", json=body)).raise_for_status().json()
    return base64.b64decode(answer["data"][0]["b64_json"]), float(answer["imagerouter"]["overhead_ms"])


async def compare(server: str, router: str, checkpoint: str, turns: int) -> None:
    hand, routed, own = [], [], []
    async with (
        httpx.AsyncClient(base_url=server, headers=UNPACKED, timeout=600, trust_env=False) as direct,
        httpx.AsyncClient(base_url=router, timeout=600, trust_env=False) as http,
    ):
        for turn in range(-3, turns):
            started = time.perf_counter()
            await by_hand(direct, checkpoint, 1000 + turn)
            between = time.perf_counter()
            _, overhead = await through_router(http, checkpoint, 500_000 + turn)
            ended = time.perf_counter()
            if turn >= 0:  # the first ones load and warm up
                hand.append((between - started) * 1000)
                routed.append((ended - between) * 1000)
                own.append(overhead)
    added = statistics.median(b - a for a, b in zip(hand, routed, strict=True))
    between_medians = statistics.median(routed) - statistics.median(hand)
    print(f"by hand      median {statistics.median(hand):8.1f} ms")
    print(f"imagerouter  median {statistics.median(routed):8.1f} ms, its own overhead {statistics.median(own):.1f}")
    print(f"added        {between_medians:+.1f} ms between medians, {added:+.1f} ms median of the pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:7860")
    parser.add_argument("--checkpoint", required=True, help="as the server calls it")
    parser.add_argument("--turns", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "latency.yaml"
        config.write_text(
            f"providers:\n  webui: {{type: a1111, base_url: '{options.server}'}}\nserver: {{log_format: json}}\n"
        )
        command = [sys.executable, "-m", "imagerouter", "serve", "-c", str(config), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            router = ""
            for line in server.stderr:
                if found := re.search(r'"url":\s*"(http[^"]+)"', line):
                    router = found[1]
                if router and '"provider.ready"' in line:
                    break
            threading.Thread(target=server.stderr.read, daemon=True).start()  # or a full pipe would stop the server
            try:
                asyncio.run(compare(options.server, router, options.checkpoint, options.turns))
            finally:
                server.terminate()
                server.wait(timeout=60)


if __name__ == "__main__":
    main()
