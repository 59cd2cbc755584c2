"""What was sent to a real AUTOMATIC1111, sent here: each answer has all that its answer had, in the same types."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

TAPES = Path(__file__).parents[1] / "tapes" / "a1111" / "a1111"
FLEET = """
providers:
  fake:
    type: imagerouter.testing:FakeProvider
    models: [tinyA.safetensors, tinyB.safetensors, sub/tinyC.safetensors]
"""
NOT_OURS = ("/openapi.json", "/sdapi/v1/schedulers")
"""The description of all that a server is, and a list that this one was too old for."""
REFUSED = {
    "nope.safetensors", "tiny", "sub_tinyC", "7852620a74",
    "7852620a74c2ef3bd99a342d9cf3b516d8866f1c22281db5da2f3d494ad80062",
}  # fmt: skip
"""Names of models that aren't here, where the real server draws with another model, or goes by a hash."""
FORGIVEN = {
    "script that is not installed", "script_name that is not there", "unknown setting", "alias of a sampler",
    "sampler in small letters", "unknown upscaler", "second pass without a strength", "unknown refiner",
}  # fmt: skip
"""Errors there, and no reason to refuse the picture here: it is drawn without, and told so."""
NOT_DRAWN = "over two pictures"
"""A batch with an input picture for each: one request has one input here, and drawing with both would be another."""
OPEN = (".extra_generation_params", ".options")
"""Objects that hold whatever there is to tell."""


def png() -> str:
    buffer = BytesIO()
    Pillow.linear_gradient("L").resize((64, 64)).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def filled(value: Any) -> Any:
    """With a picture wherever the tape only says that there was one."""
    if isinstance(value, list):
        return [filled(item) for item in value]
    if isinstance(value, dict):
        return {name: filled(item) for name, item in value.items()}
    return png() if isinstance(value, str) and "base64 chars" in value else value


def lines(tape: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each request with the title of its section."""
    title = ""
    for line in (TAPES / f"{tape}.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        if told["kind"] == "note":
            title = told["text"]
        elif told["kind"] == "http":
            yield title, told


def differences(theirs: Any, ours: Any, path: str = "") -> Iterator[str]:
    """Keys that ours lacks and values of another type; nothing is known of the type of what is ``null``."""
    if theirs is None or ours is None or path.endswith(OPEN):
        return
    if path.endswith(".info") and isinstance(theirs, str) and isinstance(ours, str) and theirs.startswith("{"):
        theirs, ours = json.loads(theirs), json.loads(ours)
    numbers = isinstance(theirs, int | float) and isinstance(ours, int | float)
    if type(theirs) is not type(ours) and (not numbers or bool in (type(theirs), type(ours))):
        yield f"{path}: {type(ours).__name__} instead of {type(theirs).__name__}"
    elif isinstance(theirs, dict):
        for name in theirs:
            yield from differences(theirs[name], ours[name], f"{path}.{name}") if name in ours else [f"{path}.{name}"]
    elif isinstance(theirs, list) and theirs and ours:
        yield from differences(theirs[0], ours[0], f"{path}[0]")


def expected(title: str, told: dict[str, Any]) -> bool:
    """Whether the request is to be answered with a picture, or what else was asked for."""
    request = told.get("request")
    overrides = request.get("override_settings", {}) if isinstance(request, dict) else {}
    if title == NOT_DRAWN or overrides.get("sd_model_checkpoint") in REFUSED or "Stable-diffusion" in str(overrides):
        return False
    return told["status"] == 200 or title in FORGIVEN or (request or {}) == {"nope_key": 1}


@pytest.mark.parametrize("tape", ["checkpoints", "discovery", "errors", "formats", "img2img", "txt2img"])
async def test_answers_have_the_recorded_shape(start: Any, tape: str) -> None:
    running = await start(FLEET)
    wrong: list[str] = []
    for title, told in lines(tape):
        if told["path"] in NOT_OURS:
            continue
        request = told.get("request")
        sent = {"content": request} if isinstance(request, str) else {"json": filled(request)} if request else {}
        reply = await running.http.request(told["method"], told["path"], **sent)
        if reply.is_success is not expected(title, told):
            wrong.append(f"{title}: {reply.status_code} {reply.text[:200]}")
        elif told["path"].endswith("/options") and told["method"] == "GET":
            shared = {name: told["response"][name] for name in reply.json().keys() & told["response"].keys()}
            wrong += [f"{title}: {each}" for each in differences(shared, reply.json())]
        elif not reply.is_success and told["status"] != 200:
            wrong += [f"{title}: no {name}" for name in told["response"].keys() - reply.json().keys() - {"detail"}]
        elif told["status"] == 200 and told["path"] != "/sdapi/v1/cmd-flags" and reply.is_success:
            wrong += [f"{title}: {each}" for each in differences(told["response"], reply.json())]
    assert wrong == []
