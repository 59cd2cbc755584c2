"""`Outcome` → bytes on the wire: the JSON body that every tested client accepts, and server-sent events.

Base64 is copied into the body and never parsed or decoded. ``usage`` carries OpenAI's and OpenRouter's names at
once, since each family of clients rejects an object without its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from imagerouter.errors import ImageRouterError
from imagerouter.images import dimensions
from imagerouter.jobs import Outcome
from imagerouter.openai.request import Delivery, Door
from imagerouter.streaming import Preview, Step
from imagerouter.types import Image, Progress

_encoder = msgspec.json.Encoder(enc_hook=lambda value: f"<{type(value).__name__}>")

encode = _encoder.encode
"""Any part of an answer as JSON."""

_TOKENS = {
    "input_tokens": 0,
    "output_tokens": 0,
    "total_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "prompt_tokens": 0,
    "completion_tokens": 0,
}


def usage(outcome: Outcome) -> dict[str, Any]:
    """No picture is counted in tokens here; ``cost`` is in US dollars."""
    return {**_TOKENS, "cost": round(outcome.cost, 9)}


def seed(outcome: Outcome, index: int) -> dict[str, int]:
    """The field ``seed`` of a picture, where it has one."""
    number = outcome.seed_of(index)
    return {} if number is None else {"seed": number}


def _quoted(image: Image) -> msgspec.Raw:
    return msgspec.Raw(b'"' + image.encoded + b'"')


def _format(image: Image) -> str:
    return image.media_type.removeprefix("image/")


def body(outcome: Outcome, delivery: Delivery, urls: Sequence[str | None] = ()) -> list[bytes | memoryview]:
    """The whole answer of a call without ``stream``, as pieces of which the base64 of each picture is one, uncopied.

    :param urls: where the pictures are kept, if they are; a picture without one becomes a data URL.
    """
    pieces, text = list[bytes | memoryview](), b'{"data":['
    for index, image in enumerate(outcome.images):
        about = _encoder.encode({"media_type": image.media_type, **seed(outcome, index)})[1:] + b","
        if urls and (url := urls[index]) is not None:
            text += b'{"url":' + _encoder.encode(url) + b"," + about
        else:
            place = b'"url":"data:%b;base64,' % image.media_type.encode() if delivery.as_url else b'"b64_json":"'
            pieces += [text + b"{" + place, image.encoded]
            text = b'",' + about
    return [*pieces, text[:-1] + b"]," + _encoder.encode(_about(outcome, delivery, urls))[1:]]


def _about(outcome: Outcome, delivery: Delivery, urls: Sequence[str | None]) -> dict[str, Any]:
    first = outcome.images[0]
    return {
        "created": int(time.time()),
        "output_format": _format(first),
        **_size(first),
        "usage": usage(outcome),
        "imagerouter": report(outcome, delivery, ["response_format"] if None in urls else []),
    }


def _size(image: Image) -> dict[str, str]:
    size = dimensions(image)
    return {"size": f"{size[0]}x{size[1]}"} if size else {}


def report(outcome: Outcome, delivery: Delivery, undone: Iterable[str] = ()) -> dict[str, Any]:
    """How the pictures came about: the ``imagerouter`` object of every answer.

    :param undone: parameters that turned out to have no effect when the answer was made.
    """
    applied, verdict = {**outcome.applied}, outcome.verdict
    for name in ("images", "mask"):
        applied.pop(name, None)
    return {
        "id": outcome.job.id,
        "model": outcome.model,
        "provider": outcome.target.provider,
        "target": outcome.target.model.id,
        "attempts": outcome.attempts,
        "queue_ms": round(outcome.queue_ms, 1),
        "load_ms": round(outcome.load_ms, 1),
        "render_ms": round(outcome.render_ms, 1),
        "overhead_ms": round(outcome.overhead_ms, 1),
        "applied": applied,
        "ignored": sorted({*outcome.ignored, *delivery.warnings, *undone}),
        "notes": outcome.notes,
        "reproducibility": {"tier": verdict.tier, "key": verdict.key, "reasons": verdict.reasons},
    }


def event(payload: dict[str, Any]) -> bytes:
    """One server-sent event, named by the payload's own ``type``."""
    return b"event: " + str(payload["type"]).encode() + b"\ndata: " + _encoder.encode(payload) + b"\n\n"


def _picture_fields(image: Image, outcome_size: dict[str, str]) -> dict[str, Any]:
    created = int(time.time())
    return {
        "b64_json": _quoted(image),
        "media_type": image.media_type,
        "created_at": created,
        "created": created,
        "background": "auto",
        "quality": "auto",
        "output_format": _format(image),
        "size": outcome_size.get("size", "auto"),
    }


def payloads(item: Preview | Step | Outcome, delivery: Delivery) -> Iterator[dict[str, Any]]:
    """What one piece of `imagerouter.streaming.news` is told as."""
    match item:
        case Preview():
            yield partial(item.progress, item.number, delivery.door)
        case Step():
            yield progressed(item.provider, item.progress, delivery.door)
        case _:
            yield from completed(item, delivery)


def partial(progress: Progress, number: int, door: Door) -> dict[str, Any]:
    """A preview on the way, as ``image_generation.partial_image`` or ``image_edit.partial_image``."""
    assert progress.preview is not None
    return {
        "type": f"{door}.partial_image",
        "partial_image_index": number,
        "image_index": progress.image_index or 0,
        **_picture_fields(progress.preview, _size(progress.preview)),
    }


def progressed(provider: str | None, progress: Progress, door: Door) -> dict[str, Any]:
    """A sign of life, only for clients that asked with ``stream_progress``."""
    return {
        "type": f"{door}.queued" if progress.stage == "queue" else f"{door}.progress",
        "provider": provider,
        "stage": progress.stage,
        "step": progress.step,
        "steps": progress.steps,
        "image_index": progress.image_index,
        "queue_position": progress.queue_position,
        "eta": None if progress.eta is None else round(progress.eta, 1),
    }


def completed(outcome: Outcome, delivery: Delivery) -> Iterator[dict[str, Any]]:
    """One ``image_generation.completed`` or ``image_edit.completed`` per image, in order."""
    for index, image in enumerate(outcome.images):
        yield {
            "type": f"{delivery.door}.completed",
            "image_index": index,
            **seed(outcome, index),
            **_picture_fields(image, _size(image)),
            "usage": usage(outcome),
            "imagerouter": report(outcome, delivery),
        }


def failed(error: ImageRouterError) -> dict[str, Any]:
    """An error in mid-stream: both SDKs raise only for a payload with an ``error`` object."""
    return {"type": "error", **error.body()}


def error_body(error: ImageRouterError) -> bytes:
    return _encoder.encode(error.body())
