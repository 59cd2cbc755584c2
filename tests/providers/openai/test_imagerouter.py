"""Another imagerouter behind ours: both are real, and the pictures are drawn behind the second one."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import httpx
import msgspec
import pytest
import pytest_asyncio

from imagerouter import GenerationError
from imagerouter.app.server import Listening, listening
from imagerouter.config.loader import load_text
from imagerouter.testing import FakeProvider, make_image
from imagerouter.testing.drawing import decode

FAR = """
providers: {{fake: {{type: 'imagerouter.testing:FakeProvider'}}}}
keys: {{near: {{secret: {key}}}}}
server: {{port: 0}}
"""
NEAR = "providers: {{far: {{type: openai, base_url: '{url}', api_key: {key}}}}}\nserver: {{port: 0}}"
KEY = "sk-a-key-for-tests"
ASKED = {
    "model": "fake",
    "prompt": "a fox",
    "seed": 4294967295,
    "n": 2,
    "size": "100x60",
    "negative_prompt": "fog",
    "steps": 3,
    "cfg_scale": 4.5,
    "sampler": "DPM++ 2M Karras",
}


class Chain:
    """Ours, and the one behind it."""

    def __init__(self, near: Listening, far: Listening, http: httpx.AsyncClient) -> None:
        self.near, self.far, self.http = near, far, http
        backend = far.engine.fleet.members["fake"].provider
        assert isinstance(backend, FakeProvider)
        self.backend = backend

    async def both(self, path: str, **request) -> list[httpx.Response]:
        """The same, asked directly and through ours."""
        headers = {"authorization": f"Bearer {KEY}"}
        servers = (self.far, self.near)
        return [await self.http.post(f"{server.url}{path}", headers=headers, **request) for server in servers]


@pytest_asyncio.fixture
async def chain() -> AsyncIterator[Chain]:
    async with AsyncExitStack() as stack:
        far = await stack.enter_async_context(listening(load_text(FAR.format(key=KEY))))
        await far.engine.fleet.settled()
        near = await stack.enter_async_context(listening(load_text(NEAR.format(url=far.url, key=KEY))))
        await near.engine.fleet.settled()
        yield Chain(near, far, await stack.enter_async_context(httpx.AsyncClient(timeout=30, verify=False)))


def pictures(response: httpx.Response) -> list[bytes]:
    assert response.status_code == 200, response.text
    return [base64.b64decode(item["b64_json"]) for item in response.json()["data"]]


async def test_every_parameter_and_the_seeds_arrive_and_the_same_pictures_come_back(chain):
    direct, through = await chain.both("/v1/images/generations", json=ASKED)
    assert pictures(through) == pictures(direct)
    first, second = chain.backend.requests
    assert second == first
    told = through.json()["imagerouter"]
    assert told["applied"] == direct.json()["imagerouter"]["applied"]
    assert told["ignored"] == []


async def test_edits_and_masks_arrive_as_they_were_sent(chain):
    files = {
        "image": ("a.png", make_image(64, 64, "navy").data, "image/png"),
        "mask": ("b.png", make_image(64, 64, (0, 0, 0, 0)).data, "image/png"),
    }
    fields = {"model": "fake", "prompt": "a fox", "seed": "7", "strength": "0.4"}
    direct, through = await chain.both("/v1/images/edits", data=fields, files=files)
    assert pictures(through) == pictures(direct)
    first, second = chain.backend.requests
    assert [decode(each.mask).tobytes() for each in (first, second)] == [b"\xff" * 64 * 64] * 2
    assert [each.strength for each in (first, second)] == [0.4, 0.4]
    assert [each.images[0].data for each in (first, second)] == [files["image"][1]] * 2


async def test_what_it_offers_is_what_we_offer(chain):
    listed = [
        (await chain.http.get(f"{server.url}/v1/models", headers={"authorization": f"Bearer {KEY}"})).json()
        for server in (chain.far, chain.near)
    ]
    same = ("id", "operations", "size", "supported_parameters", "description")
    far, near = ({key: each["data"][0][key] for key in same} for each in listed)
    assert near == far


def told(response: httpx.Response) -> list[tuple[str, int | None, str | None]]:
    """Kind, step and picture of each event."""
    events = [msgspec.json.decode(line[6:]) for line in response.text.splitlines() if line.startswith("data: ")]
    return [(event["type"], event.get("step"), event.get("b64_json")) for event in events]


@pytest.mark.parametrize("wanted", [1, 3])
async def test_steps_and_previews_come_through_as_they_are_told_directly(chain, wanted):
    body = {**ASKED, "n": 1, "steps": 8, "stream": True, "stream_progress": True, "partial_images": wanted}
    direct, through = map(told, await chain.both("/v1/images/generations", json=body))
    previews = [[text for kind, _, text in events if kind.endswith("partial_image")] for events in (direct, through)]
    assert previews[1] == previews[0]
    assert len(previews[0]) == wanted
    steps = [step for kind, step, _ in through if kind.endswith("progress")]
    assert steps == sorted(steps)
    assert steps[-1] == 8
    assert through[-1] == direct[-1]


async def test_a_client_that_hangs_up_cancels_the_job_at_the_far_end(chain):
    chain.backend.gated = True
    asking = asyncio.create_task(chain.http.post(f"{chain.near.url}/v1/images/generations", json=ASKED))
    await chain.backend.held()
    asking.cancel()
    await chain.backend.until(lambda: chain.backend.outcomes == ["cancelled"])


async def test_what_the_far_end_refuses_is_told_in_its_words_and_not_tried_again(chain):
    direct, through = await chain.both("/v1/images/generations", json={**ASKED, "steps": 500})
    assert (direct.status_code, through.status_code) == (400, 400)
    assert through.json()["error"]["param"] == "steps"
    chain.backend.fail_with(GenerationError("the paint ran out"))
    _, through = await chain.both("/v1/images/generations", json=ASKED)
    assert through.status_code == 502
    assert "the paint ran out" in through.json()["error"]["message"]
    assert len(chain.backend.calls) == 2


async def test_a_key_that_the_far_end_does_not_know_is_the_servers_fault(chain):
    near = load_text(NEAR.format(url=chain.far.url, key="another-key"))
    async with listening(near) as server:
        await server.engine.fleet.settled()
        ready = (await chain.http.get(f"{server.url}/health/ready")).json()
    assert "credentials" in ready["providers"]["far"]["detail"]


async def test_a_request_that_two_hand_to_each_other_ends_with_an_error_that_says_so(chain):
    knot = f"providers: {{near: {{type: openai, base_url: '{chain.near.url}'}}}}\nserver: {{port: 0}}"
    await chain.far.engine.reload(load_text(knot))
    await chain.far.engine.fleet.settled()
    for stream in (False, True):
        _, through = await chain.both("/v1/images/generations", json={**ASKED, "stream": stream})
        assert "provider `far` rejected it: provider `near` rejected it: this request has come back" in through.text
