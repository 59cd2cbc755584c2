"""What a tape says: its lines, who has to do what for them, and how names on it are told from the client's."""

# ruff: noqa: ARG002  (what a dialect of one's own may look at)
from __future__ import annotations

import base64
import itertools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from imagerouter.testing.drawing import draw
from imagerouter.testing.wire import Request, Response

Line = dict[str, Any]

STAND_IN = re.compile(r"<(\d+) bytes, starts ([0-9a-f]*)>")
"""How a body is stored that was left out."""
PICTURE = re.compile(r"<\d+ base64 chars: (png|jpeg|webp) (\d+)x(\d+)( with texts)?>")
"""How a picture is stored that stood, as base64, inside of JSON. One of the same kind and size stands in for it."""


class Dialect:
    """What a tape's server speaks. As it is: questions and answers, nothing has effects and nobody a name."""

    def effect(self, request: Request) -> str | None:
        """What a request changes at the server: ``submit`` for a new job, or any other word, such as ``cancel``.
        Requests of one kind may stand in for each other. ``None`` where it only asks.

        ``look`` is a question whose answers are told one after the other, each time that it is asked, and the last
        one as often as need be.
        """
        return None

    def subject(self, request: Request, answer: Any = None) -> str | None:
        """The job that a request with an effect is about, as far as it or its answer tells."""
        return None

    def names(self, recorded: Request, answer: Any, live: Request) -> Mapping[str, str]:
        """What a submission's names on the tape (the job's, its nodes') are for the client that submits."""
        return {}

    def owner(self, request: Request) -> str | None:
        """The client's own name, in a submission."""
        return None

    def client(self, handshake: Request) -> str | None:
        """The client's own name, where it opens a websocket."""
        return None

    def frame(self, stored: Any) -> bytes:
        """A binary message from what the tape has of it, names translated."""
        return bytes.fromhex(stored)


@dataclass(slots=True)
class Gate:
    """A request with an effect: what was recorded after it waits until the client has made it."""

    kind: str
    line: Line
    request: Request
    job: str | None
    passed: bool = False
    until: int = -1
    """Place of the line that its answer waits for."""


class Script:
    """The lines of a tape, and its gates by their place."""

    def __init__(self, lines: list[Line], dialect: Dialect, labels: list[str] | None) -> None:
        self.lines = lines
        opened = [line for line in lines if line["kind"] == "ws_open"]
        first = opened[0]["clientId"] if opened else None
        mine = [line["ws"] for line in opened if line["clientId"] == first] if first else []
        self.labels = labels if labels is not None else mine or [line["ws"] for line in opened[:1]]
        """Sockets that are played, in the order in which they were opened."""
        self.clients = {line["ws"]: line["clientId"] for line in opened}
        others = {client for label, client in self.clients.items() if label not in self.labels}
        strangers = others - {self.clients.get(label) for label in self.labels}
        self.gates: dict[int, Gate] = {}
        answered = {line["to"]: index for index, line in enumerate(lines) if line["kind"] == "answer"}
        for index, line in enumerate(lines):
            if line["kind"] != "http" or (kind := dialect.effect(asked := request_of(line))) is None:
                continue
            gate = Gate(kind, line, asked, dialect.subject(asked, line["response"]))
            gate.passed = dialect.owner(asked) in strangers if kind == "submit" else False
            gate.until = answered.get(line.get("late"), -1)
            self.gates[index] = gate
        self.jobs = {gate.job: gate for gate in self.gates.values() if gate.kind == "submit" and gate.job}
        for gate in self.gates.values():
            gate.passed |= gate.job in self.jobs and self.jobs[gate.job].passed

    def job_in(self, value: Any) -> str | None:
        """The first job that a message names."""
        return next((text for text in _texts(value) if text in self.jobs), None)

    def nearest(self, asked: Request, position: int) -> Line | None:
        """The recorded answer to the same question: the last one before ``position``, else the first one after it."""
        found = [
            (index, line)
            for index, line in enumerate(self.lines)
            if line["kind"] == "http" and index not in self.gates and same_question(request_of(line), asked)
        ]
        past = [line for index, line in found if index <= position]
        return past[-1] if past else found[0][1] if found else None


def cut(lines: list[Line], dialect: Dialect, section: str | int, until: str | None = None) -> list[Line]:
    """A part of a tape, with the sockets that were open when it began."""
    if isinstance(section, str):
        titles = [(index, line["text"]) for index, line in enumerate(lines) if line["kind"] == "note"]
        start = next(index for index, text in titles if section in text)
        ends = [index for index, text in titles if index > start and (until is None or until in text)]
    else:
        jobs = [
            index
            for index, line in enumerate(lines)
            if line["kind"] == "http" and dialect.effect(request_of(line)) == "submit"
        ]
        start, ends = jobs[section], jobs[section + 1 :]
    return [*_still_open(lines[:start]), *lines[start : ends[0] if ends else len(lines)]]


def _still_open(lines: list[Line]) -> Iterator[Line]:
    """Sockets that aren't closed, each with the greeting it got."""
    closed = {line["ws"] for line in lines if line["kind"] == "ws_closed"}
    greeted: set[str] = set()
    for line in lines:
        label = line.get("ws")
        if label is None or label in closed:
            continue
        if line["kind"] == "ws_open":
            yield line
        elif line["kind"] == "ws_text" and label not in greeted:
            greeted.add(label)
            yield line


def request_of(line: Line) -> Request:
    """What was asked; a body that isn't JSON was stored as a text about it."""
    target = urlsplit(line["path"])
    stored = line["request"]
    body = b"" if stored is None else stored.encode() if isinstance(stored, str) else json.dumps(stored).encode()
    query = dict(parse_qsl(target.query, keep_blank_values=True))
    return Request(line["method"], unquote(target.path), query, {}, body)


def response_of(line: Line, body: Any) -> Response:
    """What was answered, with ``body`` for the recorded one."""
    stored = {name.lower(): value for name, value in line["headers"].items()}
    headers = {name: stored[name] for name in ("content-type", "date") if name in stored}
    kind = headers.get("content-type", "")
    if isinstance(body, str) and (left_out := STAND_IN.fullmatch(body)):
        return Response(status=line["status"], headers=headers, body=stand_in(int(left_out[1]), left_out[2]))
    if isinstance(body, str) and "json" not in kind:
        return Response(status=line["status"], headers=headers, body=body.encode())
    if body is None and not kind:
        return Response(status=line["status"], headers=headers)
    return Response(status=line["status"], headers=headers, json=with_pictures(body))


def with_pictures(value: Any) -> Any:
    """``value`` with every `PICTURE` drawn. All of one value look different, and the same each time."""
    number = itertools.count()

    def drawn(text: str) -> str:
        if (stored := PICTURE.fullmatch(text)) is None:
            return text
        fingerprint = f"{next(number)} {text}".encode()
        picture = draw(fingerprint, int(stored[2]), int(stored[3]), stored[1], "stand-in" if stored[4] else "")
        return base64.b64encode(picture).decode()

    return _changed(value, drawn)


def stand_in(length: int, start: str) -> bytes:
    """For bytes that were left out: a picture if they began as one (in hex), else their beginning and zeros."""
    for magic, file_format in (("89504e47", "png"), ("ffd8ff", "jpeg"), ("52494646", "webp")):
        if start.startswith(magic):
            return draw(f"{length} {start}".encode(), 64, 64, file_format)
    return bytes.fromhex(start).ljust(length, b"\0")


def same_question(recorded: Request, asked: Request) -> bool:
    """Whether two requests differ in nothing but bodies and empty fields of the query."""
    fields = [{key: value for key, value in one.query.items() if value} for one in (recorded, asked)]
    return (recorded.method, recorded.path) == (asked.method, asked.path) and fields[0] == fields[1]


def translated(value: Any, names: Mapping[str, str]) -> Any:
    """``value`` with every text that is a name replaced, keys included."""
    return _changed(value, lambda text: names.get(text, text))


def _changed(value: Any, change: Callable[[str], str]) -> Any:
    """``value`` with every text changed, keys included."""
    match value:
        case str():
            return change(value)
        case list():
            return [_changed(item, change) for item in value]
        case dict():
            return {change(key): _changed(item, change) for key, item in value.items()}
        case _:
            return value


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _texts(item)
        case dict():
            for key, item in value.items():
                yield key
                yield from _texts(item)
