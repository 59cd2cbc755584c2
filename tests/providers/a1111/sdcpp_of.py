"""What the tests of stable-diffusion.cpp's own jobs share: a provider, its requests, and what became of them."""

import asyncio
import base64
from contextlib import asynccontextmanager
from io import BytesIO

import pytest
from PIL import Image as Pillow

from imagerouter import ImageRequest
from imagerouter.testing.wire import Response
from imagerouter_a1111 import A1111Provider
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.sdcpp import press


def hasten(monkeypatch):
    """Questions that would be asked after a while are asked at once."""
    monkeypatch.setattr(press, "POLL_LEAST", 0.0)
    monkeypatch.setattr(press, "POLL_SHARE", 0.0)
    monkeypatch.setattr(press, "GONE_SECONDS", 0.2)
    monkeypatch.setattr(press, "STOP_SECONDS", 0.05)


@asynccontextmanager
async def desk(fake, **keys):
    provider = A1111Provider("desk", A1111Config(base_url=fake.url, **keys))
    await provider.start()
    try:
        yield provider
    finally:
        await provider.aclose()


def request(**changes):
    return ImageRequest(
        **{"model": "tiny-sd15", "prompt": "a fox", "seed": 7, "steps": 2, "width": 64, "height": 64} | changes
    )


def nobody(progress):
    """Doesn't listen."""


def drawing(provider, sink=nobody, **changes):
    return asyncio.create_task(provider.generate(request(**changes), sink))


def pixels(images):
    return [Pillow.open(BytesIO(image.data)).tobytes() for image in images.images]


def sent(fake):
    return fake.bodies("/sdcpp/v1/img_gen")


def cancellations(fake):
    return [path for path in fake.paths() if path.endswith("/cancel")]


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def answer_jobs(native, state):
    """Of whatever job: this is how it is."""
    native.answer("POST", "/sdcpp/v1/img_gen", lambda _: Response(status=202, json={"id": "job_1"}))
    native.answer("GET", "/sdcpp/v1/jobs/job_1", lambda _: Response(json=state))


def png(colour):
    held = BytesIO()
    Pillow.new("RGB", (64, 64), colour).save(held, "PNG")
    return held.getvalue()


PICTURE = base64.b64encode(png((0, 0, 255))).decode()


def completed(*pictures):
    return {"status": "completed", "result": {"images": [{"index": i, "b64_json": b} for i, b in enumerate(pictures)]}}


def failure(message, status="failed"):
    return {"status": status, "error": {"code": "generation_failed", "message": message}}
