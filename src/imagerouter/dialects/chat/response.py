"""`Outcome` → a chat completion, whole or in chunks, in OpenAI's shape with OpenRouter's ``images``.

A client that said with ``modalities`` that it expects pictures finds them in ``images``, as data URLs. One that didn't
gets Markdown in the text, with links: that is all it is sure to show, and to send back with the next message. Never
both: several clients would show the picture twice.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import count, repeat
from typing import Any

from imagerouter.dialects.chat import markdown
from imagerouter.dialects.chat.request import Asked
from imagerouter.dialects.openrouter import error_body
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, response
from imagerouter.types import Image


def body(outcome: Outcome, call: Call, asked: Asked, urls: Sequence[str | None] = ()) -> bytes:
    """The whole answer, one choice per picture.

    :param urls: where the pictures are kept, if they are; a picture without one becomes a data URL.
    """
    return response.encode(
        {
            "id": call.job.id,
            "object": "chat.completion",
            "created": int(time.time()),
            "model": outcome.model,
            "system_fingerprint": None,
            "choices": [
                {
                    "index": index,
                    "message": {"role": "assistant", "content": "", "refusal": None, **_shown(image, url, asked)},
                    "finish_reason": "stop",
                    "logprobs": None,
                    **response.seed(outcome, index),
                }
                for index, image, url in _kept(outcome, urls)
            ],
            "usage": response.usage(outcome),
            "imagerouter": _report(outcome, call, urls),
        }
    )


def _kept(outcome: Outcome, urls: Sequence[str | None]) -> Iterator[tuple[int, Image, str | None]]:
    """The pictures, and where each is kept."""
    return zip(count(), outcome.images, urls or repeat(None), strict=False)


def _shown(image: Image, url: str | None, asked: Asked) -> dict[str, Any]:
    """The part of a message, or of what is added to one, that shows a picture."""
    address = url or f"data:{image.media_type};base64,{image.b64.decode('ascii')}"
    if asked.in_text:
        return {"content": markdown.picture(address)}
    return {"images": [{"type": "image_url", "index": 0, "image_url": {"url": address}}]}


def _report(outcome: Outcome, call: Call, urls: Sequence[str | None]) -> dict[str, Any]:
    return response.report(outcome, call.delivery, ["response_format"] if None in urls else [])


def drawn(outcome: Outcome, urls: Sequence[str | None] = ()) -> Iterator[dict[str, Any]]:
    """The payloads for `Chunks` that tell an outcome; ``urls`` as in `body`."""
    for index, image, url in _kept(outcome, urls):
        seed = response.seed(outcome, index)
        yield {"type": "picture", "index": index, "seed": seed, "b64_json": image, "url": url}
    yield {"type": "end", "outcome": outcome, "urls": urls}


class Chunks:
    """Writes the payloads of a stream as chunks: the role of each choice, its picture, and the end of all of them.

    What comes first is ``{"type": "begin"}``, then what `drawn` gives.
    """

    def __init__(self, call: Call, asked: Asked, model: str) -> None:
        """:param model: what is to draw; what did may be another."""
        self._call = call
        self._asked = asked
        self._head = {
            "id": call.job.id,
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": model,
        }

    def event(self, payload: dict[str, Any]) -> bytes:
        match payload["type"]:
            case "begin":
                return self._chunk(self._all({"role": "assistant", "content": ""}))
            case "picture":
                shown = _shown(payload["b64_json"], payload["url"], self._asked)
                return self._chunk([{**_choice(payload["index"], shown), **payload["seed"]}])
        return self._end(payload["outcome"], payload["urls"])

    def failed(self, error: ImageRouterError) -> bytes:
        return _written(error.body())

    def end(self) -> bytes:
        return b"data: [DONE]\n\n"

    def _all(self, delta: dict[str, Any], finish_reason: str | None = None) -> list[dict[str, Any]]:
        return [_choice(index, delta, finish_reason) for index in range(self._call.job.n)]

    def _end(self, outcome: Outcome, urls: Sequence[str | None]) -> bytes:
        self._head["model"] = outcome.model
        ends, report = self._all({}, "stop"), _report(outcome, self._call, urls)
        usage = response.usage(outcome)
        if self._asked.with_usage:  # as OpenAI has it, in a chunk without choices; OpenRouter's clients never ask
            return self._chunk(ends, imagerouter=report) + self._chunk([], usage=usage)
        return self._chunk(ends, imagerouter=report, usage=usage)

    def _chunk(self, choices: list[dict[str, Any]], **more: Any) -> bytes:
        return _written({**self._head, "choices": choices, **more})


class OpenRouterChunks(Chunks):
    """The same for OpenRouter's clients: what went wrong has to stand in a chunk like all others.

    Source: ``openrouter`` 1.3.84 (PyPI), ``components/chatstreamchunk.py``.
    """

    def failed(self, error: ImageRouterError) -> bytes:
        return self._chunk(self._all({"content": ""}, "error"), **error_body(error))


def _choice(index: int, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _written(data: dict[str, Any]) -> bytes:
    return b"data: " + response.encode(data) + b"\n\n"
