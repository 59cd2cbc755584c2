"""Transcripts of real servers, replayed over real sockets to a client that asks other things than the recorder did.

A tape is JSON lines, each with a ``kind``:

- ``http``: ``method``, ``path`` (with the query), ``request``, ``status``, ``headers``, ``response``; with ``late``
  (a label) it was answered only where the line ``answer`` with the same ``to`` is;
- ``ws_open``: ``ws`` (a label), ``clientId``; ``ws_closed``: ``ws``, ``code`` (``null``: the recorder hung up);
- ``ws_text``: ``ws``, ``message``; ``ws_send`` the same, from the client; ``ws_binary``: ``ws``, ``frame``;
- ``note``: ``text``, the title of what follows.

It is a script. What changes something at the server (a submission, a cancellation: `Dialect.effect`) has to be
asked by the client too, and what was recorded after it is sent only then; everything else is sent as fast as the
event loop turns. Questions are answered from the nearest recorded answer to the same question. Names that the client
chose itself (ids of jobs, of itself, of nodes) stand for those on the tape. Recorded times play no part.

    async with Tape.load(path, Dialect(), section="out of memory", answers={("GET", "/models"): ...}) as tape:
        ...  # a client of tape.url
    assert tape.unanswered == []
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Self

from imagerouter.testing.script import (
    Dialect,
    Gate,
    Line,
    Script,
    cut,
    request_of,
    response_of,
    same_question,
    translated,
)
from imagerouter.testing.wire import Request, Response, Socket, WireServer

__all__ = ["Answers", "Dialect", "Tape"]

Answers = Mapping[tuple[str, str], Any]
"""For what the tape has no answer to: by method and path (without the query; ``*`` stands for anything) the JSON, a
`Response`, or a function from the `Request` to one."""


class Tape:
    """One transcript, served between ``async with`` and its end."""

    def __init__(
        self,
        lines: list[Line],
        dialect: Dialect,
        *,
        answers: Answers | None = None,
        sockets: list[str] | None = None,
        prefix: str = "",
        required_headers: Mapping[str, str] | None = None,
    ) -> None:
        """``sockets``: labels of those that are played, by default those of the client that connected first. What
        other clients did is taken as done. ``prefix``, ``required_headers``: as of a `WireServer`.
        """
        self.answers = dict(answers or {})
        self.unanswered: list[str] = []
        """Requests that got 501, as ``GET /path``."""
        self.requests: list[Request] = []
        self.server = WireServer(self._answer, self._on_socket, prefix=prefix, required_headers=required_headers)
        self._dialect = dialect
        self._script = Script(lines, dialect, sockets)
        self._position = 0
        self._names: dict[str, str] = {}
        """What is called how by the client, wherever it occurs."""
        self._names_of: dict[str, Mapping[str, str]] = {}
        """The same for what is said about one job."""
        self._owners: dict[str, str | None] = {}
        self._sockets: dict[str, Socket] = {}
        self._heard: dict[str, int] = {}
        self._changed = asyncio.Event()

    @classmethod
    def load(
        cls,
        path: Path,
        dialect: Dialect,
        *,
        section: str | int | None = None,
        until: str | None = None,
        **options: Any,
    ) -> Self:
        """Read a tape. ``section`` takes a part of it: a text what follows the note with this text, up to the next
        note (or the one with ``until``), a number what follows that submission (from 0), up to the next one.
        ``options``: as of `Tape`.
        """
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        if section is not None:
            lines = cut(lines, dialect, section, until)
        return cls(lines, dialect, **options)

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def finished(self) -> bool:
        """Whether all of it has been played."""
        return self._position >= len(self._script.lines)

    async def end(self) -> None:
        """Wait until all of it has been played."""
        await self._until(lambda: self.finished)

    def pass_gate(self) -> None:
        """Somebody else makes the next request that the tape waits for."""
        next(gate for gate in self._script.gates.values() if not gate.passed).passed = True
        self._notify()

    async def __aenter__(self) -> Self:
        await self.server.start()
        self._player = asyncio.create_task(self._play())
        return self

    async def __aexit__(self, *raised: Any) -> None:
        self._player.cancel()
        (outcome,) = await asyncio.gather(self._player, return_exceptions=True)
        await self.server.__aexit__(*raised)
        if isinstance(outcome, Exception):
            raise outcome

    # What it says by itself

    async def _play(self) -> None:
        while not self.finished:
            line = self._script.lines[self._position]
            await self._until(self._may_pass)
            if line.get("ws") in self._script.labels:
                await self._perform(line)
            self._position += 1
            self._notify()
            await asyncio.sleep(0)

    def _may_pass(self) -> bool:
        """Whether what the client has to do before the next line is done."""
        line = self._script.lines[self._position]
        if (gate := self._script.gates.get(self._position)) is not None:
            return gate.passed
        label: str | None = line.get("ws")
        if label not in self._script.labels:
            return True
        if label not in self._sockets:
            return False
        if line["kind"] == "ws_send":
            said = self._script.lines[: self._position + 1]
            asked: int = sum(one["kind"] == "ws_send" and one["ws"] == label for one in said)
            return self._heard[label] >= asked
        job = self._script.job_in(line)
        return job is None or self._script.jobs[job].passed

    async def _perform(self, line: Line) -> None:
        socket = self._sockets[line["ws"]]
        job = self._script.job_in(line)
        if job is not None and self._owners.get(job) not in (None, self._dialect.client(socket.request)):
            return  # the client has come back under another name: what is about that job isn't for it
        if line["kind"] == "ws_text":
            await socket.send_json(self._translated(line["message"]))
        elif line["kind"] == "ws_binary":
            await socket.send_bytes(self._dialect.frame(self._translated(line["frame"])))
        elif line["kind"] == "ws_closed" and (line["code"] is not None or self._comes_back()):
            socket.abort()

    def _comes_back(self) -> bool:
        rest = self._script.lines[self._position :]
        return any(line["kind"] == "ws_open" and line["ws"] in self._script.labels for line in rest)

    async def _on_socket(self, socket: Socket) -> None:
        """The client's sockets are those of the tape in turn; one more than there are hears nothing."""
        label = next((label for label in self._script.labels if label not in self._sockets), None)
        if label is not None:
            self._heard[label] = 0
            self._sockets[label] = socket
            recorded, live = self._script.clients.get(label), self._dialect.client(socket.request)
            self._names |= {recorded: live} if recorded and live else {}
            self._notify()
        async for _ in socket:
            if label is not None:
                self._heard[label] += 1
                self._notify()

    # What it answers

    async def _answer(self, request: Request) -> Response:
        self.requests.append(request)
        kind = self._dialect.effect(request)
        if kind is not None and (gate := self._gate(kind, request)) is not None:
            names = self._pass(gate, request)
            await self._until(lambda: self._position > gate.until)
            if same_question(gate.request, self._as_recorded(request)):
                return self._response(gate.line, names)
        found = self._script.nearest(self._as_recorded(request), self._position)
        return self._default(request) if found is None else self._response(found)

    def _gate(self, kind: str, request: Request) -> Gate | None:
        """The next request of this kind that the tape waits for, about the same job."""
        subject = translated(self._dialect.subject(request), self._back())
        gates = list(self._script.gates.items())
        if kind == "look":  # what was seen after a submission isn't there before it
            ahead = next((index for index, gate in gates if gate.kind == "submit" and not gate.passed), None)
            gates = [(index, gate) for index, gate in gates if ahead is None or index < ahead]
        same = [gate for _, gate in gates if gate.kind == kind and (kind == "submit" or gate.job in (None, subject))]
        waiting = next((gate for gate in same if not gate.passed), None)
        return same[-1] if same and waiting is None and kind == "look" else waiting

    def _pass(self, gate: Gate, request: Request) -> Mapping[str, str]:
        """Returns the names in a submission: the answer may speak of it although it was refused, and no job."""
        submits = gate.kind == "submit"
        names = self._dialect.names(gate.request, gate.line["response"], request) if submits else {}
        if submits and gate.job is not None:
            self._names_of[gate.job] = names
            self._names[gate.job] = names.get(gate.job, gate.job)
            self._owners[gate.job] = self._dialect.owner(request)
        gate.passed = True
        self._notify()
        return names

    def _response(self, line: Line, names: Mapping[str, str] | None = None) -> Response:
        body = line["response"]
        job = self._script.job_in([*request_of(line).path.split("/"), body])
        return response_of(line, translated(body, names) if names else self._translated(body, job))

    def _default(self, request: Request) -> Response:
        for (method, path), answer in self.answers.items():
            if method == request.method and fnmatchcase(request.path, path):
                given = answer(request) if callable(answer) else answer
                return given if isinstance(given, Response) else Response(json=given)
        self.unanswered.append(f"{request.method} {request.path}")
        return Response(status=501, json={"error": "this is not on the tape"})

    # Names

    def _translated(self, value: Any, job: str | None = None) -> Any:
        """In the client's names. What tells no job is about the one that was submitted last."""
        job = job or self._script.job_in(value) or next(reversed(self._names_of), None)
        return translated(value, self._names | dict(self._names_of.get(job or "", {})))

    def _as_recorded(self, request: Request) -> Request:
        back = self._back()
        path = "/".join(back.get(part, part) for part in request.path.split("/"))
        query = {name: back.get(value, value) for name, value in request.query.items()}
        return Request(request.method, path, query, request.headers, request.body)

    def _back(self) -> dict[str, str]:
        return {live: recorded for recorded, live in self._names.items()}

    # Waiting

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await self._changed.wait()

    def _notify(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
