"""An AUTOMATIC1111 1.10 that costs nothing: it has every answer ready. Run as a process, it prints its address.

`GET /asked` gives how often each route was asked for, and forgets it.
"""

import asyncio
import hashlib
import json
import os
import re
import struct
import zlib
from collections import Counter

import pybase64

PICTURES = 24
"""Distinct pictures, so that a mixed-up answer shows; which one comes is told by the seed."""
SIZE = 1_125_000
"""Bytes of one picture, which are 1.5 MB of base64."""
NAME, HASH = "canned", hashlib.sha256(b"canned").hexdigest()
TITLE = f"{NAME}.safetensors [{HASH[:10]}]"
FIELDS = """prompt negative_prompt styles seed subseed subseed_strength sampler_name scheduler batch_size n_iter steps
cfg_scale width height denoising_strength override_settings override_settings_restore_afterwards enable_hr hr_scale
hr_upscaler hr_second_pass_steps hr_resize_x hr_resize_y force_task_id send_images save_images do_not_save_samples
do_not_save_grid init_images mask""".split()


def described() -> dict[str, object]:
    """As much of ``/openapi.json`` as tells what a server can do."""
    reference = {"$ref": "#/components/schemas/Job"}
    job = {"post": {"requestBody": {"content": {"application/json": {"schema": reference}}}}}
    routes = [*ANSWERS, "/internal/progress"]
    paths = {route: {} for route in routes} | {"/sdapi/v1/txt2img": job, "/sdapi/v1/img2img": job}
    return {"paths": paths, "components": {"schemas": {"Job": {"properties": {field: {} for field in FIELDS}}}}}


ANSWERS: dict[str, object] = {
    "/sdapi/v1/options": {
        "sd_model_checkpoint": TITLE,
        "sd_checkpoint_hash": HASH,
        "sd_vae": "Automatic",
        "CLIP_stop_at_last_layers": 1,
        "enable_pnginfo": True,
        "samples_format": "png",
    },
    "/sdapi/v1/sd-models": [
        {
            "title": TITLE,
            "model_name": NAME,
            "hash": HASH[:10],
            "sha256": HASH,
            "filename": f"/models/{NAME}.safetensors",
            "config": None,
        }
    ],
    "/sdapi/v1/samplers": [{"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}],
    "/sdapi/v1/schedulers": [{"name": "karras", "label": "Karras", "aliases": None}],
    "/sdapi/v1/scripts": {"txt2img": [], "img2img": []},
    "/sdapi/v1/loras": [],
    "/sdapi/v1/sd-vae": [],
    "/sdapi/v1/upscalers": [],
    "/sdapi/v1/latent-upscale-modes": [],
    "/sdapi/v1/cmd-flags": {},
    "/sdapi/v1/progress": {"progress": 0.0, "state": {"job": "", "job_count": 0, "job_timestamp": "0"}},
    "/internal/pending-tasks": {"size": 0, "tasks": []},
}


def picture(index: int) -> bytes:
    """A PNG of 1024x1024 in everything but its pixels, which are noise."""
    noise = index.to_bytes(4, "big") + os.urandom(SIZE - 4)
    header = struct.pack(">IIBBBBB", 1024, 1024, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", noise) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def job(index: int) -> bytes:
    text = f"a red fox\nSteps: 20, Sampler: DPM++ 2M, Seed: {index}, Size: 1024x1024, Model: {NAME}, Version: v1.10.1"
    info = {
        "all_seeds": [index],
        "sd_model_name": NAME,
        "sd_model_hash": HASH[:10],
        "index_of_first_image": 0,
        "infotexts": [text],
    }
    parameters = dict.fromkeys(FIELDS)
    rest = json.dumps({"parameters": parameters, "info": json.dumps(info)}).encode()
    return b'{"images":["' + pybase64.b64encode(picture(index)) + b'"],' + rest[1:]


def reply(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Canned:
    def __init__(self) -> None:
        self.jobs = [reply(job(index)) for index in range(PICTURES)]
        told = ANSWERS | {"/openapi.json": described()}
        self.answers = {path: reply(json.dumps(answer).encode()) for path, answer in told.items()}
        self.asked: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head.lower())
                body = await reader.readexactly(int(length[1])) if length else b""
                method, target = head.split(b" ", 2)[:2]
                writer.write(self.answer(method.decode(), target.decode().partition("?")[0], body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        if path == "/asked":
            asked, self.asked = self.asked, Counter()
            return reply(json.dumps(asked).encode())
        self.asked[f"{method} {path}"] += 1
        if path == "/sdapi/v1/txt2img":
            return self.jobs[json.loads(body)["seed"] % PICTURES]
        return self.answers.get(path) or b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}"


async def main() -> None:
    server = await asyncio.start_server(Canned().serve, "127.0.0.1", 0, limit=2**20)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
