"""Peak memory of the server while many clients upload a picture at the same moment: each answer is checked."""

import argparse
import asyncio
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image

TAIL = 1024
"""Bytes that each client holds back until all have sent the rest."""
CONFIG = "providers: {fake: {type: 'imagerouter.testing:FakeProvider'}}\nlimits: {queue: 1000}\n"


def memory(pid: int, what: str) -> float:
    """``VmHWM`` (the peak) or ``VmRSS`` (now) of a process in MB, Linux only."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{what}:")[2].split()[0]) / 1024


def noise(megabytes: float, **saving: object) -> bytes:
    """A picture whose file has this many megabytes, as nothing in it can be compressed."""
    side = round((megabytes * 1e6 / 3) ** 0.5)
    pixels = random.Random(1).randbytes(side * side * 3)
    out = BytesIO()
    Image.frombytes("RGB", (side, side), pixels).save(out, **saving)
    return out.getvalue()


def form(file: bytes) -> tuple[str, bytes]:
    head = 'content-disposition: form-data; name="image"; filename="a"'
    body = f'--x\r\ncontent-disposition: form-data; name="prompt"\r\n\r\nx\r\n--x\r\n{head}\r\n\r\n'.encode()
    return "multipart/form-data; boundary=x", body + file + b"\r\n--x--\r\n"


def text(file: bytes) -> tuple[str, bytes]:
    body = {"prompt": "x", "images": [{"image_url": "data:image/png;base64," + base64.b64encode(file).decode()}]}
    return "application/json", json.dumps(body).encode()


def turned(megabytes: float) -> bytes:
    """A JPEG that stands upright only by its EXIF, and so has to be decoded and encoded anew."""
    exif = Image.Exif()
    exif[0x112] = 6
    return noise(megabytes * 2.5, format="JPEG", quality=95, exif=exif)  # compressed to 0.4


async def upload(address: tuple[str, int], sent: tuple[str, bytes], ready: asyncio.Barrier) -> None:
    kind, body = sent
    reader, writer = await asyncio.open_connection(*address)
    head = f"POST /v1/images/edits HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode())
    writer.write(memoryview(body)[:-TAIL])
    await writer.drain()
    await ready.wait()
    writer.write(body[-TAIL:])
    status = (await reader.readline()).split()[1]
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    answer = await reader.readexactly(int(headers.split(b"content-length:")[1].split(b"\r\n")[0]))
    if status != b"200" or b"b64_json" not in answer:
        raise RuntimeError(f"HTTP {status.decode()}: {answer[:300]!r}")
    writer.close()


async def uploads(url: str, sent: tuple[str, bytes], count: int) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    ready = asyncio.Barrier(count)
    await asyncio.gather(*(upload((host, int(port)), sent, ready) for _ in range(count)))


def start(folder: str) -> tuple["subprocess.Popen[str]", str]:
    config = Path(folder) / "bench.yaml"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "imagerouter", "serve", "--port", "0", "--config", str(config)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = next(event["url"] for line in server.stderr or () if (event := json.loads(line)).get("url"))
    # Logging stays on, as it would be; only nobody reads it here.
    subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    return server, url


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=50)
    options.add_argument("--megabytes", type=float, default=8.0)
    chosen = options.parse_args()
    file = noise(chosen.megabytes, format="PNG", compress_level=0)
    kinds = {"form, PNG": form(file), "form, turned JPEG": form(turned(chosen.megabytes)), "JSON, PNG": text(file)}
    for kind, sent in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            server, url = start(folder)
            asyncio.run(uploads(url, form(noise(0.01, format="PNG")), 1))
            before = memory(server.pid, "VmRSS")
            try:
                asyncio.run(uploads(url, sent, chosen.count))
                peak = memory(server.pid, "VmHWM")
            finally:
                server.terminate()
                server.wait()
        size = len(sent[1]) / 2**20
        print(
            f"{kind:>18}: {chosen.count} bodies of {size:.1f} MB: peak {peak:.0f} MB, {before:.0f} MB before",
            flush=True,
        )
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
