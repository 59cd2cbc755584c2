"""How a ComfyUI is recorded: which requests do something, and where the names are."""

from __future__ import annotations

import json
import re
import struct
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagerouter.testing import Dialect, Request, Response, Tape
from imagerouter.testing.script import response_of, stand_in

TAPES = Path(__file__).parents[2] / "tapes" / "comfyui"
OBJECT_INFO = Path(__file__).parent / "object_info.json"


class Comfy(Dialect):
    """ComfyUI 0.33. The client's graph may be another one: nodes of the same class, in their order, correspond."""

    def effect(self, request: Request) -> str | None:
        path = request.path.removeprefix("/api")
        if request.method != "POST":
            return None
        if path == "/prompt":
            return "submit"
        if path in ("/interrupt", "/queue") or re.fullmatch(r"/jobs(/[^/]+)?/cancel", path):
            return "cancel"
        return None

    def subject(self, request: Request, answer: Any = None) -> str | None:
        if isinstance(answer, dict) and "prompt_id" in answer:
            return str(answer["prompt_id"])
        if matched := re.fullmatch(r"/api/jobs/([^/]+)/cancel", request.path):
            return matched[1]
        body = _json(request)
        named = [body.get("prompt_id"), *body.get("delete", [])]
        return next((str(name) for name in named if name), None)

    def names(self, recorded: Request, answer: Any, live: Request) -> Mapping[str, str]:
        chosen = _json(live).get("prompt_id")
        ours, theirs = (_by_class(_json(one).get("prompt", {})) for one in (live, recorded))
        nodes = {old: new for name, ids in theirs.items() for old, new in zip(ids, ours.get(name, []), strict=False)}
        return nodes | ({answer["prompt_id"]: chosen} if chosen and "prompt_id" in answer else {})

    def owner(self, request: Request) -> str | None:
        return _json(request).get("client_id")

    def client(self, handshake: Request) -> str | None:
        return handshake.query.get("clientId")

    def frame(self, stored: Any) -> bytes:
        """The picture itself isn't on a tape: a small one of the same kind stands in for it."""
        image = stand_in(stored["image_len"], stored["magic"])
        if stored["event"] == 4:
            about = json.dumps(stored["metadata"]).encode()
            return struct.pack(">II", 4, len(about)) + about + image
        return struct.pack(">II", stored["event"], stored["image_type"]) + image


def _json(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _by_class(graph: Mapping[str, Any]) -> dict[str, list[str]]:
    nodes = defaultdict(list)
    for node_id, node in graph.items():
        if isinstance(node, dict):
            nodes[str(node.get("class_type"))].append(node_id)
    return nodes


def comfy_tape(name: str, **options: Any) -> Tape:
    """A transcript of a real server by the name of its file; ``options`` as for `Tape.load`.

    Left out of the files: headers but the content type, bytes of pictures, and, in all but `queue_and_cancel`,
    `runtime_errors`, `two_clients`, `txt2img_then_cached`, `validation_errors` and `websocket_images_and_previews`,
    the ``progress_state`` messages.
    """
    given = dict(options.pop("answers", {}))
    answers = given | {question: answer for question, answer in usual_answers().items() if question not in given}
    return Tape.load(TAPES / f"{name}.jsonl", Comfy(), answers=answers, **options)


def usual_answers() -> dict[tuple[str, str], Any]:
    """What a real server said about itself, and what it says to what changes nothing on a tape."""
    lines = [json.loads(line) for line in (TAPES / "info.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {(line["method"], line["path"]): response_of(line, line["response"]) for line in lines}
    classes = json.loads(OBJECT_INFO.read_text(encoding="utf-8"))
    checkpoints = next(line["response"] for line in lines if line["path"] == "/models/checkpoints")
    classes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [checkpoints]
    return {
        **told,
        ("GET", "/object_info"): classes,
        ("GET", "/object_info/*"): lambda asked: _one_of(classes, asked.path.rpartition("/")[2]),
        ("GET", "/models/*"): [],
        ("GET", "/experiment/models/*"): [],
        ("GET", "/view_metadata/*"): Response(status=404),
        ("GET", "/view"): Response(body=stand_in(0, "89504e47"), headers={"content-type": "image/png"}),
        ("GET", "/history"): {},
        ("GET", "/history/*"): {},
        ("GET", "/api/jobs"): {"jobs": [], "pagination": {"offset": 0, "limit": None, "total": 0, "has_more": False}},
        ("GET", "/api/jobs/*"): Response(status=404, json={"error": "Job not found"}),
        ("POST", "/history"): Response(),
        ("POST", "/queue"): Response(),
        ("POST", "/interrupt"): Response(),
        ("POST", "/api/jobs/*/cancel"): {"cancelled": False},
        ("POST", "/upload/image"): {"name": "uploaded.png", "subfolder": "", "type": "input"},
    }


def _one_of(classes: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: classes[name]} if name in classes else {}
