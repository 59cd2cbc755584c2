"""What imagerouter adds to a picture: the same ComfyUI, driven by hand and through a server, turn by turn.

    python bench/comfyui/latency.py --comfyui http://127.0.0.1:8188 --checkpoint NAME

By hand means as little as possible: one open websocket, one `POST /prompt`, one `GET /view`. The other way is what a
client sees: `POST /v1/images/generations` at a server of its own process, the picture in base64 included. Both draw
64x64 in one step with the checkpoint loaded and a new seed each time. Turns alternate, so that what else the machine
does falls on both.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect

SIZE = 64


def graph(checkpoint: str, seed: int, prefix: str) -> dict[str, object]:
    return {
        "model": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "positive": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red fox", "clip": ["model", 1]}},
        "negative": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["model", 1]}},
        "latent": {"class_type": "EmptyLatentImage", "inputs": {"width": SIZE, "height": SIZE, "batch_size": 1}},
        "sampler": {
            "class_type": "KSampler",
            "inputs": {
                "seed": seed,
                "steps": 1,
                "cfg": 7.0,
                "sampler_name": "dpmpp_2m",
                "scheduler": "karras",
                "denoise": 1.0,
                "model": ["model", 0],
                "positive": ["positive", 0],
                "negative": ["negative", 0],
                "latent_image": ["latent", 0],
            },
        },
        "decode": {"class_type": "VAEDecode", "inputs": {"samples": ["sampler", 0], "vae": ["model", 2]}},
        "save": {"class_type": "SaveImage", "inputs": {"filename_prefix": prefix, "images": ["decode", 0]}},
    }


class ByHand:
    """A client of ComfyUI's own interface."""

    def __init__(self, http: httpx.AsyncClient, socket: object, client_id: str, checkpoint: str) -> None:
        self.http, self.socket, self.client_id, self.checkpoint = http, socket, client_id, checkpoint

    async def draw(self, seed: int) -> bytes:
        prompt_id = str(uuid4())
        body = {
            "prompt": graph(self.checkpoint, seed, f"latency/{prompt_id[:8]}"),
            "client_id": self.client_id,
            "prompt_id": prompt_id,
            "extra_data": {"preview_method": "none"},
        }
        (await self.http.post("/prompt", json=body)).raise_for_status()
        file = None
        async for message in self.socket:  # type: ignore[attr-defined]
            if isinstance(message, bytes):
                continue
            event = json.loads(message)
            if event["data"].get("prompt_id") != prompt_id:
                continue
            if event["type"] == "executed":
                file = event["data"]["output"]["images"][0]
            if event["type"] == "execution_success":
                break
        return (await self.http.get("/view", params=file)).content


async def through_router(http: httpx.AsyncClient, checkpoint: str, seed: int) -> float:
    body = {"model": checkpoint, "prompt": "a red fox", "seed": seed, "steps": 1, "size": f"{SIZE}x{SIZE}"}
    answer = await http.post("/v1/images/generations", json=body)
    answer.raise_for_status()
    return float(answer.json()["imagerouter"]["overhead_ms"])


async def compare(comfyui: str, router: str, checkpoint: str, turns: int) -> None:
    client_id = str(uuid4())
    by_hand, routed, own = [], [], []
    async with (
        httpx.AsyncClient(base_url=comfyui, timeout=600, trust_env=False) as direct,
        httpx.AsyncClient(base_url=router, timeout=600, trust_env=False) as http,
        connect(f"ws{comfyui[4:]}/ws?clientId={client_id}", max_size=None, compression=None, proxy=None) as socket,
    ):
        hand = ByHand(direct, socket, client_id, checkpoint)
        for turn in range(-3, turns):
            started = time.perf_counter()
            await hand.draw(1000 + turn)
            between = time.perf_counter()
            overhead = await through_router(http, checkpoint, 500_000 + turn)
            ended = time.perf_counter()
            if turn >= 0:  # the first ones load and warm up
                by_hand.append((between - started) * 1000)
                routed.append((ended - between) * 1000)
                own.append(overhead)
    hand_median, routed_median = statistics.median(by_hand), statistics.median(routed)
    added = statistics.median(b - a for a, b in zip(by_hand, routed, strict=True))
    print(f"by hand      median {hand_median:8.1f} ms")
    print(f"imagerouter  median {routed_median:8.1f} ms, of which by its own account {statistics.median(own):.1f}")
    print(f"added        {routed_median - hand_median:+.1f} ms between medians, {added:+.1f} ms median of the pairs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comfyui", default="http://127.0.0.1:8188")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--turns", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "latency.yaml"
        config.write_text(
            f"providers:\n  desk:\n    type: comfyui\n    base_url: {options.comfyui}\nserver: {{log_format: json}}\n"
        )
        command = [sys.executable, "-m", "imagerouter", "serve", "-c", str(config), "--port", "0"]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            router = ""
            for line in server.stderr:
                if found := re.search(r'"url":\s*"(http[^"]+)"', line):
                    router = found[1]
                if '"provider.ready"' in line:
                    break
            threading.Thread(target=server.stderr.read, daemon=True).start()  # or a full pipe would stop the server
            try:
                asyncio.run(compare(options.comfyui, router, options.checkpoint, options.turns))
            finally:
                server.terminate()
                server.communicate(timeout=60)


if __name__ == "__main__":
    main()
