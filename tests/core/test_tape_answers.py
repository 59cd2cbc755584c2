"""Answers on a tape that come late, are told one after the other, or have pictures in them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx
import pytest

from imagerouter.images import dimensions
from imagerouter.metadata import has_texts
from imagerouter.testing import Dialect, Request, Tape
from imagerouter.testing.script import with_pictures
from imagerouter.types import Image


class Studio(Dialect):
    """A painter who answers when the picture is there."""

    def effect(self, request: Request) -> str | None:
        return {"/paint": "submit", "/stop": "cancel", "/look": "look"}.get(request.path)

    def subject(self, request: Request, answer: Any = None) -> str | None:
        return (request.json() or {}).get("picture") if request.path != "/stop" else None

    def names(self, recorded: Request, answer: Any, live: Request) -> dict[str, str]:
        return {recorded.json()["picture"]: live.json()["picture"]}


def line(path: str, body: Any, answer: Any, **more: Any) -> dict[str, Any]:
    headers = {"content-type": "application/json"}
    return {
        "kind": "http",
        "method": "POST",
        "path": path,
        "request": body,
        "status": 200,
        "headers": headers,
        "response": answer,
        **more,
    }


def painted(name: str, **more: Any) -> dict[str, Any]:
    return line("/paint", {"picture": name}, {"done": name}, **more)


def look(name: str, seen: Any) -> dict[str, Any]:
    return line("/look", {"picture": name}, seen)


def answered(label: str) -> dict[str, Any]:
    return {"kind": "answer", "to": label}


class Client:
    def __init__(self, tape: Tape, http: httpx.AsyncClient) -> None:
        self._tape, self._http = tape, http

    async def ask(self, path: str, name: str | None = None) -> Any:
        body = None if name is None else {"picture": name}
        return (await self._http.post(f"{self._tape.url}{path}", json=body)).json()


class Played:
    """A tape and a client of it."""

    def __init__(self, *lines: dict[str, Any]) -> None:
        self.tape, self.http = Tape(list(lines), Studio()), httpx.AsyncClient(verify=False)

    async def __aenter__(self) -> tuple[Tape, Client]:
        await self.tape.__aenter__()
        return self.tape, Client(self.tape, self.http)

    async def __aexit__(self, *raised: Any) -> None:
        await self.http.aclose()
        await self.tape.__aexit__(*raised)


async def test_an_answer_that_came_late_comes_after_what_was_done_before_it():
    lines = [painted("old", late="a"), line("/stop", None, {}), answered("a")]
    async with Played(*lines) as (tape, client):
        painting = asyncio.create_task(client.ask("/paint", "new"))
        while not tape.requests:
            await asyncio.sleep(0)
        assert not painting.done()
        assert await client.ask("/stop") == {}
        assert await painting == {"done": "new"}
        assert tape.finished


async def test_looks_are_told_one_after_the_other_and_the_last_one_again():
    lines = [painted("old", late="a"), look("old", 1), look("old", 2), answered("a")]
    async with Played(*lines) as (tape, client):
        painting = asyncio.create_task(client.ask("/paint", "new"))
        while not tape.requests:
            await asyncio.sleep(0)
        assert [await client.ask("/look", "new") for _ in range(4)] == [1, 2, 2, 2]
        assert await painting == {"done": "new"}


async def test_looks_are_told_of_each_job_apart():
    lines = [painted("one", late="a"), painted("two", late="b"), look("one", 1), look("two", 5), look("one", 2)]
    async with Played(*lines, answered("b"), answered("a")) as (tape, client):
        both = [asyncio.create_task(client.ask("/paint", name)) for name in ("mine", "yours")]
        while len(tape.requests) < 2:
            await asyncio.sleep(0)
        names = [request.json()["picture"] for request in tape.requests]
        assert [await client.ask("/look", names[0]) for _ in range(3)] == [1, 2, 2]
        assert [await client.ask("/look", names[1]) for _ in range(2)] == [5, 5]
        await asyncio.gather(*both)


async def test_what_was_seen_after_a_submission_is_not_told_before_it():
    async with Played(look("old", "waiting"), painted("old"), look("old", "done")) as (_, client):
        assert [await client.ask("/look", "old") for _ in range(2)] == ["waiting", "waiting"]
        await client.ask("/paint", "new")
        assert await client.ask("/look", "new") == "done"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("texts", ["", " with texts"])
def test_pictures_inside_json_are_drawn_in_their_kind_and_size(kind, texts):
    stored = {"images": [f"<4232 base64 chars: {kind} 64x32{texts}>"] * 2, "note": "<not one>"}
    drawn = with_pictures(stored)
    assert drawn == with_pictures(stored)
    assert drawn["note"] == "<not one>"
    assert len(set(drawn["images"])) == 2
    for text in drawn["images"]:
        image = Image(data=base64.b64decode(text))
        assert image.media_type == f"image/{kind}"
        assert dimensions(image) == (64, 32)
        assert has_texts(image) is bool(texts)
