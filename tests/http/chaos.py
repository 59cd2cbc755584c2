"""Backends that die, hang and babble; and a crowd of clients that wants its pictures all the same."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from openai import APIStatusError, AsyncOpenAI
from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake import FakeA1111

from imagerouter.provider import Status
from imagerouter.testing import FakeProvider, Response

LISTENING = "0A"
"""In Linux' table of sockets."""

PAGE = b"<!DOCTYPE html><html><body><h1>It works!</h1></body></html>"
NO_PICTURE = base64.b64encode(b"this is no picture, whatever it is called").decode()
JSON = {"content-type": "application/json"}
BABBLE = {
    "a page": Response(headers={"content-type": "text/html"}, body=PAGE),
    "half a JSON": Response(headers=JSON, body=b'{"images": ["iVBORw0KGgo'),
    "base64 of no picture": Response(json={"images": [NO_PICTURE], "info": "{}"}),
    "no base64": Response(json={"images": ["iVBORw0KGgo%%%"], "info": "{}"}),
    "no pictures": Response(json={"images": [], "info": "{}"}),
    "a list": Response(json=["nothing", "of", "the", "kind"]),
    "nothing": Response(headers=JSON),
    "half a body": Response(json={"images": ["iVBORw0KGgo" * 400], "info": "{}"}, cut_after=1000),
}
"""What a job may be answered with instead of its pictures; all of it under the status 200."""


class Backend(FakeA1111):
    """A web UI that comes to grief when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self._silence: asyncio.Server | None = None
        self._listeners = 0

    @property
    def open(self) -> int:
        """Connections that somebody keeps open now."""
        return len(self.wire._connections) + self._listeners

    async def die(self) -> None:
        """In the middle of a job."""
        await self.step()
        await self.abort()

    def babble(self, *answers: Response) -> None:
        """Answer jobs with these, in turn, and draw nothing."""
        told = itertools.cycle(answers)
        self.answer("POST", "/sdapi/v1/txt2img", lambda _: next(told))

    async def fall_silent(self) -> None:
        """From now on whoever connects is listened to, and never answered."""
        await self.abort()
        self._silence = await asyncio.start_server(self._listen, "127.0.0.1", self.wire.port, reuse_address=True)

    async def __aexit__(self, *raised: Any) -> None:
        if self._silence is not None:
            self._silence.close()
        await super().__aexit__(*raised)

    async def _listen(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._listeners += 1
        try:
            while await reader.read(65536):
                pass
        except ConnectionError:
            pass
        finally:
            self._listeners -= 1
            writer.close()


class Shared(FakeProvider):
    """A provider that others have jobs for, too."""

    others = 0
    """Jobs that are somebody else's."""

    async def status(self) -> Status:
        status = await super().status()
        return msgspec.structs.replace(status, queued=self.others)


@dataclass(frozen=True)
class Wish:
    """What one client asks for."""

    number: int

    @property
    def prompt(self) -> str:
        return f"fox {self.number}"

    @property
    def n(self) -> int:
        return 2 if self.number % 10 == 0 else 1

    @property
    def seeds(self) -> list[int]:
        return [10 * self.number + index for index in range(self.n)]

    async def sent(self, sdk: AsyncOpenAI, **more: Any) -> Reply:
        extra = {"seed": self.seeds[0], "steps": 2, **more}
        try:
            answer = await sdk.images.generate(
                model="tinyA", prompt=self.prompt, n=self.n, size="64x64", extra_body=extra
            )
        except APIStatusError as error:
            return Reply(self, (), error.status_code, error.body if isinstance(error.body, dict) else {})
        assert answer.data is not None
        files = tuple(image.b64_json or "" for image in answer.data)
        return Reply(self, files, 200, (answer.model_extra or {})["imagerouter"])


@dataclass(frozen=True)
class Reply:
    """What became of a wish. ``told`` is the error, or what the router tells of the pictures."""

    wish: Wish
    files: tuple[str, ...]
    status: int
    told: dict[str, Any]

    @property
    def attempts(self) -> list[tuple[str, str]]:
        """Who tried, and what came of it."""
        return [(one["provider"], one.get("code") or "ok") for one in self.told.get("attempts", ())]


def crowd(sdk: AsyncOpenAI, count: int, first: int = 0) -> list[asyncio.Task[Reply]]:
    """So many clients, all at once."""
    return [asyncio.create_task(Wish(number).sent(sdk)) for number in range(first, first + count)]


def drawn(backends: Iterable[FakeA1111]) -> dict[tuple[str, int], list[str]]:
    """The files of all pictures that were drawn to their end, by prompt and seed."""
    found: dict[tuple[str, int], list[str]] = {}
    for job in (job for backend in backends for job in backend.jobs if job.status == "done"):
        first = job.params["seed"]
        for seed, (picture, text) in enumerate(zip(job.pictures, job.texts, strict=True), first):
            found.setdefault((job.params["prompt"], seed), []).append(pictures.encode(picture, "png", text))
    return found


def times_drawn(backends: Iterable[FakeA1111]) -> Counter[tuple[str, int]]:
    """How often each picture was drawn to its end, by prompt and seed."""
    return Counter({wish: len(files) for wish, files in drawn(backends).items()})


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """For what nobody can be asked to tell of."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def connections() -> set[str]:
    """The TCP connections that this process has open, at either end, closed by the other one or not.

    As Linux tells it; elsewhere none.
    """
    table = Path("/proc/self/net/tcp")
    mine: set[str] = set()
    if not table.exists():
        return mine
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):  # the one that was used to list them
            mine.add(os.readlink(f"/proc/self/fd/{number}"))
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return {f"{row[1]} {row[2]}" for row in rows if row[3] != LISTENING and f"socket:[{row[9]}]" in mine}
