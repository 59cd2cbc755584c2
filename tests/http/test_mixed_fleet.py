"""ComfyUI, AUTOMATIC1111 and the built-in model behind one endpoint. The first two are recorded ones, and may die."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.providers.a1111 import tapes as a1111  # noqa: E402
from tests.providers.a1111.replay import jobs, jobs_by_now, recorded  # noqa: E402
from tests.providers.comfyui import tapes as comfyui  # noqa: E402
from tests.providers.comfyui.replay import nodes_of, submitted  # noqa: E402

from imagerouter.testing import Response, Tape  # noqa: E402
from imagerouter.testing.script import stand_in  # noqa: E402
from imagerouter_comfyui import jobs as patience  # noqa: E402

FLEET = """
providers:
  desk: {{type: comfyui, base_url: '{desk}', keep_metadata: true}}
  webui: {{type: a1111, base_url: '{webui}', keep_metadata: true}}
  {more}
models:
  fox: {{targets: [{{provider: desk, model: tiny_a.ckpt}}, {{provider: webui, model: tinyA.safetensors}}]}}
"""
TWO = ("a1111/txt2img", "two at once, with a task id")
PICTURES = {
    "desk": [stand_in(29012, "89504e470d0a1a0a"), stand_in(0, "89504e47")],
    "webui": [base64.b64decode(picture) for picture in recorded(*TWO)],
}
"""What the backends draw for two seeds."""
ORDERS = [("desk", "webui"), ("webui", "desk")]


# Backends that live, and that die


FIRST, SECOND = slice(2, 48), slice(61, 91)
"""Two jobs that differ in their seed, from submission to picture; before them the client connects."""


def comfy(*parts: slice) -> Tape:
    """A connection, and ``parts`` of what was recorded next."""
    text = (comfyui.TAPES / "txt2img_then_cached.jsonl").read_text(encoding="utf-8")
    told = [json.loads(line) for line in text.splitlines()]
    kept = [*told[:2], *(line for part in parts for line in told[part] if not says_queue(line))]
    return Tape(kept, comfyui.Comfy(), answers=comfyui.usual_answers())


def says_queue(line: dict[str, Any]) -> bool:
    """The two jobs were recorded one after the other, so the queue was empty between them."""
    return bool(line["kind"] == "ws_text" and line["message"]["type"] == "status")


def living_comfy() -> Tape:
    return comfy(FIRST, SECOND)


def dying_comfy() -> Tape:
    """It is in the second step of the first picture when it gets the second job, and says no more."""
    return comfy(slice(2, 26), slice(61, 62))


def failing_comfy() -> Tape:
    tape = comfy()
    failed = Response(status=500, body=b"500 Internal Server Error", headers={"content-type": "text/plain"})
    tape.answers = {("POST", "/prompt"): failed, **tape.answers}
    return tape


def webui() -> Tape:
    return a1111.family_tape(TWO[0], section=TWO[1])


def dying_webui() -> Tape:
    """It never answers the job."""
    (job,) = (line for line in a1111.lines(*TWO) if line["kind"] == "http")
    never = [{**job, "late": "never"}, job, {"kind": "answer", "to": "never"}]
    return Tape(never, a1111.Family(), answers=a1111.usual_answers("a1111"))


def failing_webui() -> Tape:
    return a1111.family_tape("a1111/errors", section="batch of none")


BACKENDS = {
    "alive": {"desk": living_comfy, "webui": webui},
    "absent": {"desk": living_comfy, "webui": webui},
    "gone": {"desk": living_comfy, "webui": webui},
    "dying": {"desk": dying_comfy, "webui": dying_webui},
    "failing": {"desk": failing_comfy, "webui": failing_webui},
}


class Fleet:
    """A server before two tapes."""

    def __init__(self, running: Any, tapes: dict[str, Tape], states: dict[str, str]) -> None:
        self.sdk = running.sdk
        self.tapes = tapes
        self.states = states

    async def draw(self, first: str) -> Any:
        """Two foxes of whatever seeds, from ``first`` if it can draw them."""
        extra = {"provider": {"order": [first]}, "steps": 4}
        asked = self.sdk.images.generate(model="fox", prompt="a fox", n=2, size="64x64", extra_body=extra)
        answer, *_ = await asyncio.gather(asked, *(self.die(name) for name in self.tapes))
        return answer

    async def die(self, name: str) -> None:
        """In the middle of a job."""
        if self.states[name] == "dying":
            tape = self.tapes[name]
            await (tape.end() if name == "desk" else jobs_by_now(tape, 1))
            await tape.server.abort()

    def seeds(self, name: str) -> list[int]:
        """What a backend was asked to draw, in the order of the pictures."""
        tape = self.tapes[name]
        if name == "webui":
            return [job["seed"] + i for job in jobs(tape) for i in range(job["n_iter"] * job["batch_size"])]
        samplers = [inputs for job in submitted(tape) for inputs in nodes_of(job["prompt"], "KSampler")]
        return [sampler["seed"] for sampler in samplers]


@pytest.fixture
async def fleet(start: Any, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """``await fleet(desk="alive", webui="dying")``"""
    monkeypatch.setattr(patience, "REFUSED_SECONDS", 0.0)
    async with AsyncExitStack() as stack:

        async def _fleet(more: str = "", **states: str) -> Fleet:
            tapes = {name: await stack.enter_async_context(BACKENDS[state][name]()) for name, state in states.items()}
            urls = {name: tape.url for name, tape in tapes.items()}
            await take_away(tapes, states, "absent")
            running = await start(FLEET.format(**urls, more=more))
            await take_away(tapes, states, "gone")
            return Fleet(running, tapes, states)

        yield _fleet


async def take_away(tapes: dict[str, Tape], states: dict[str, str], which: str) -> None:
    for name, tape in tapes.items():
        if states[name] == which:
            await tape.server.abort()


def files(answer: Any) -> list[bytes]:
    return [base64.b64decode(image.b64_json) for image in answer.data]


def attempts(answer: Any) -> list[tuple[str, str]]:
    """Who tried, and what came of it."""
    return [(one["provider"], one.get("code") or "ok") for one in answer.model_extra["imagerouter"]["attempts"]]


def consecutive(seeds: list[int]) -> bool:
    return seeds == [seeds[0], (seeds[0] + 1) % 2**32]


# What becomes of a request


@pytest.mark.parametrize(("first", "other"), ORDERS)
async def test_one_model_is_drawn_by_the_backend_that_is_asked_first(fleet: Any, first: str, other: str) -> None:
    both = await fleet(desk="alive", webui="alive")
    answer = await both.draw(first)
    assert attempts(answer) == [(first, "ok")]
    assert files(answer) == PICTURES[first]
    assert [image.seed for image in answer.data] == both.seeds(first)
    assert consecutive(both.seeds(first))
    assert both.seeds(other) == []


@pytest.mark.parametrize(("dead", "living"), ORDERS)
async def test_a_backend_that_was_never_there_is_not_tried(fleet: Any, dead: str, living: str) -> None:
    one = await fleet(**{dead: "absent", living: "alive"})
    answer = await one.draw(dead)
    assert attempts(answer) == [(living, "ok")]
    assert files(answer) == PICTURES[living]
    assert consecutive(one.seeds(living))


ENDS = {
    "gone": {"desk": "provider_unavailable", "webui": "provider_unavailable"},
    "dying": {"desk": "provider_bad_response", "webui": "provider_unavailable"},
    "failing": {"desk": "generation_failed", "webui": "generation_failed"},
}
"""What comes of it: nobody is asked a second time while there is another who may be asked."""


@pytest.mark.parametrize(("dead", "living"), ORDERS)
@pytest.mark.parametrize("end", ENDS)
async def test_the_other_backend_draws_the_same_seeds(fleet: Any, end: str, dead: str, living: str) -> None:
    both = await fleet(**{dead: end, living: "alive"})
    answer = await both.draw(dead)
    assert attempts(answer) == [(dead, ENDS[end][dead]), (living, "ok")]
    assert files(answer) == PICTURES[living]
    assert [image.seed for image in answer.data] == both.seeds(living)
    assert consecutive(both.seeds(living))
    if end != "gone":
        assert both.seeds(dead) == both.seeds(living)[: len(both.seeds(dead))] != []


async def test_the_built_in_model_answers_by_its_own_name_beside_them(fleet: Any) -> None:
    all_three = await fleet(more="here: {type: diffusers}", desk="gone", webui="gone")
    listed = {model.id async for model in all_three.sdk.models.list()}
    assert {"fox", "builtin"} <= listed
    answer = await all_three.sdk.images.generate(
        model="builtin", prompt="a red circle", size="64x64", extra_body={"steps": 2}
    )
    assert attempts(answer) == [("here", "ok")]
    assert Pillow.open(BytesIO(files(answer)[0])).size == (64, 64)
