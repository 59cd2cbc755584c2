"""The adapter in front of a tape, through its public door."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from tests.providers import sink
from tests.providers.a1111.tapes import DRAWING, family_tape, lines

from imagerouter import ImageRequest, ImageRouterError, Images
from imagerouter.testing import Tape
from imagerouter.testing.script import with_pictures
from imagerouter_a1111 import A1111Config, A1111Provider, dialects, residency
from imagerouter_a1111.sdapi import press as common
from imagerouter_a1111.sdcpp import press as native

PRIVATE = ("/data", "/app", "127.0.0.1", "Traceback", "HTTPException")
"""What an answer on the tapes has in it and no client may see."""


@asynccontextmanager
async def desk(tape: Tape, **keys: Any) -> AsyncIterator[A1111Provider]:
    """A provider that is started."""
    provider = A1111Provider("desk", A1111Config(**{"base_url": tape.url} | keys))
    await provider.start()
    try:
        yield provider
    finally:
        await provider.aclose()


def request(**changes: Any) -> ImageRequest:
    fields = {"model": "tinyA.safetensors", "prompt": "a cat", "seed": 42, "steps": 2, "width": 64, "height": 64}
    return ImageRequest(**fields | changes)


class Sink(sink.Sink):
    """With what a tape's answers are compared by."""

    @property
    def steps(self) -> list[int]:
        """Steps as they were told, without repetitions."""
        return list(dict.fromkeys(seen.step for seen in self if seen.stage == "render"))


def drawing_of(provider: A1111Provider, sink: Sink, **changes: Any) -> asyncio.Task[Images]:
    return asyncio.create_task(provider.generate(request(**changes), sink))


def sent(tape: Tape, method: str, path: str) -> list[Any]:
    """Bodies of the requests that the tape got."""
    return [one.json() if one.body else None for one in tape.requests if (one.method, one.path) == (method, path)]


def jobs(tape: Tape) -> list[dict[str, Any]]:
    """Bodies of the jobs that were sent, in their order."""
    return [one.json() for one in tape.requests if one.method == "POST" and one.path in DRAWING]


async def jobs_by_now(tape: Tape, count: int) -> list[dict[str, Any]]:
    while len(jobs(tape)) < count:
        await asyncio.sleep(0)
    return jobs(tape)


def interruptions(tape: Tape) -> int:
    return len(sent(tape, "POST", "/sdapi/v1/interrupt"))


def stopped(tape: Tape) -> list[str]:
    """Of each interruption the task that was asked about last: the order itself names none."""
    found, last = [], ""
    for one in tape.requests:
        if one.path == "/internal/progress":
            last = one.json()["id_task"]
        elif one.path == "/sdapi/v1/interrupt":
            found.append(last)
    return found


def recorded(name: str, section: str, number: int = 0) -> list[str]:
    """Base64 of the pictures in one of a section's answers, as the tape plays them."""
    answers = [line["response"] for line in lines(name, section) if line.get("path") in DRAWING]
    pictures: list[str] = with_pictures(answers[number])["images"]
    return pictures


def drawn_with(name: str, section: str, number: int = 0) -> str:
    """The model that a section's pictures were drawn with, as the adapter calls it."""
    answers = [line["response"] for line in lines(name, section) if line.get("path") in DRAWING]
    text = json.loads(answers[number]["info"])["infotexts"][0]
    said = re.findall(r"Model: (\w+)", text)[-1]
    return {"sdA": "Diffusers/tiny/sdA", "sdB": "Diffusers/tiny/sdB", "tinyC": "sub/tinyC.safetensors"}.get(
        said, f"{said}.safetensors"
    )


def is_presentable(message: str) -> bool:
    return "\n" not in message and not any(word in message for word in PRIVATE)


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that would be asked after a while are asked as fast as they are answered."""
    for name, dialect in dialects.DIALECTS.items():
        monkeypatch.setitem(dialects.DIALECTS, name, replace(dialect, poll_seconds=0.0))
    monkeypatch.setattr(common, "SOON", 0.0)
    monkeypatch.setattr(native, "POLL_LEAST", 0.0)
    monkeypatch.setattr(residency, "FRESH_SECONDS", 0.0)


async def refused(
    name: str,
    section: str,
    expected: type[ImageRouterError],
    *,
    keys: Mapping[str, Any] | None = None,
    answers: Mapping[tuple[str, str], Any] | None = None,
    **changes: Any,
) -> ImageRouterError:
    """What comes of one request that is sent, and fails."""
    async with (
        family_tape(name, section=section, answers=answers or {}) as tape,
        desk(tape, **(keys or {})) as provider,
    ):
        with pytest.raises(ImageRouterError) as raised:
            await provider.generate(request(**changes), Sink())
        assert len(jobs(tape)) == 1
        assert interruptions(tape) == 0
        assert tape.unanswered == []
    assert type(raised.value) is expected
    assert is_presentable(raised.value.message)
    return raised.value


async def never_sent(
    name: str,
    section: str,
    expected: type[ImageRouterError],
    *,
    keys: Mapping[str, Any] | None = None,
    answers: Mapping[tuple[str, str], Any] | None = None,
    **changes: Any,
) -> ImageRouterError:
    """What comes of a request that a server was seen to fail with, or to take for another."""
    async with (
        family_tape(name, section=section, answers=answers or {}) as tape,
        desk(tape, **(keys or {})) as provider,
    ):
        with pytest.raises(expected) as raised:
            await provider.generate(request(**changes), Sink())
        assert jobs(tape) == []
    assert is_presentable(raised.value.message)
    return raised.value
