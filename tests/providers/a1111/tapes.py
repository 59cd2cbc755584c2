"""How the servers of the family are recorded: which requests do something, and where the names are.

AUTOMATIC1111 1.7, the same without its user interface and with ``--api-auth``, SD.Next of July 2026, and
stable-diffusion.cpp of August 2026. Left out of the files: headers but the content type, pictures, fields of
``parameters`` that weren't asked for, and most settings. Where an answer was recorded without its end, the end is as
the server's code writes it: ``info`` of SD.Next, and the jobs of stable-diffusion.cpp from "one that is drawn" on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagerouter.testing import Dialect, Request, Response, Tape
from imagerouter.testing.script import response_of

TAPES = Path(__file__).parents[2] / "tapes" / "a1111"

GONE = Response(status=404, json={"detail": "Not Found"})
DRAWING = ("/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdcpp/v1/img_gen")


class Family(Dialect):
    """All of them; a job is called what the client calls it, or, by stable-diffusion.cpp, what its path says."""

    def effect(self, request: Request) -> str | None:
        if request.method == "POST" and request.path in DRAWING:
            return "submit"
        if request.path == "/sdapi/v1/interrupt" or request.path.endswith("/cancel"):
            return "cancel"
        is_job = request.path.startswith("/sdcpp/v1/jobs/")
        return "look" if is_job or request.path in ("/internal/progress", "/sdapi/v1/progress") else None

    def subject(self, request: Request, answer: Any = None) -> str | None:
        if request.path.startswith("/sdcpp/v1/jobs/"):
            return request.path.split("/")[4]
        if request.path == "/sdcpp/v1/img_gen":
            return answer.get("id") if isinstance(answer, dict) else None
        body = _json(request)
        return body.get("id_task") or body.get("force_task_id")

    def names(self, recorded: Request, answer: Any, live: Request) -> Mapping[str, str]:
        theirs, ours = (_json(one).get("force_task_id") for one in (recorded, live))
        return {theirs: ours} if theirs and ours else {}


def _json(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def lines(name: str, section: str | None = None) -> list[dict[str, Any]]:
    """A tape's lines; of a section those that follow its note, up to the next one."""
    found = [json.loads(line) for line in (TAPES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    if section is None:
        return found
    start = next(i for i, line in enumerate(found) if line["kind"] == "note" and section in line["text"]) + 1
    end = next((i for i, line in enumerate(found[start:], start) if line["kind"] == "note"), len(found))
    return found[start:end]


def family_tape(name: str, **options: Any) -> Tape:
    """A transcript of a real server by its folder and file; ``options`` as for `Tape.load`."""
    usual = usual_answers(name.partition("/")[0])
    answers = usual | dict(options.pop("answers", {}))
    return Tape.load(TAPES / f"{name}.jsonl", Family(), answers=answers, **options)


def usual_answers(server: str) -> dict[tuple[str, str], Any]:
    """What a server said about itself last, and what it says to what changes nothing on a tape."""
    told = lines(f"{server}/discovery") if server != "a1111_auth" else [*lines("a1111/discovery"), _described()]
    found = {
        (line["method"], line["path"].partition("?")[0]): response_of(line, line["response"])
        for line in told
        if line["kind"] == "http" and (server != "a1111_auth" or not line["path"].startswith("/internal/"))
    }
    missing = {(method, "/internal/*"): GONE for method in ("GET", "POST")}
    return found | missing | ({("GET", "/sdapi/v1/*"): Response(status=404)} if server == "sdcpp" else {})


def _described() -> dict[str, Any]:
    return next(line for line in lines("a1111_auth/auth") if line.get("path") == "/openapi.json")
