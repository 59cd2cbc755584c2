"""``stream: true`` is answered with server-sent events that both SDKs read."""

import asyncio
import base64
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image as Pillow


async def stream(running: Any, **body: Any) -> list[Any]:
    events = await running.sdk.images.generate(prompt="a fox", stream=True, extra_body=body)
    return [event async for event in events]


async def test_the_sdk_reads_previews_and_then_the_picture(running: Any) -> None:
    events = await stream(running, partial_images=2, size="64x64", steps=8)
    assert [event.type.rpartition(".")[2] for event in events] == [
        "partial_image",
        "partial_image",
        "completed",
    ]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    done = events[-1]
    assert Pillow.open(BytesIO(base64.b64decode(done.b64_json))).size == (64, 64)
    assert (done.size, done.output_format, done.usage.total_tokens) == ("64x64", "png", 0)


async def test_each_image_of_n_is_completed_with_its_index_and_seed(running: Any) -> None:
    events = await stream(running, n=3, seed=4)
    assert [(e.image_index, e.seed) for e in events] == [(0, 4), (1, 5), (2, 6)]
    single = (await running.draw(seed=5)).json()["data"][0]["b64_json"]
    assert events[1].b64_json == single


async def test_progress_comes_only_when_asked_for(running: Any) -> None:
    events = await stream(running, stream_progress=True, steps=3)
    seen = [event for event in events if event.type == "image_generation.progress"]
    assert [(e.step, e.steps, e.provider) for e in seen if e.stage == "render"] == [
        (1, 3, "fake"), (2, 3, "fake"), (3, 3, "fake"),
    ]  # fmt: skip


async def test_who_waits_is_told_its_place_and_everybody_how_long_it_will_take(start: Any) -> None:
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}")
    first = asyncio.create_task(running.draw())
    await running.fake().held()
    waiting = asyncio.create_task(stream(running, stream_progress=True))
    await running.waiting()
    running.fake().gated = False
    running.fake().release()
    events = await waiting
    await first
    queued = [event for event in events if event.type == "image_generation.queued"]
    drawing = [event for event in events if event.type == "image_generation.progress"]
    assert [(event.queue_position, event.provider) for event in queued] == [(0, None)]
    assert all(event.eta >= 0 for event in [*queued, *drawing])
    assert drawing[-1].eta == 0


async def test_an_error_in_mid_stream_is_raised_by_the_sdk(running: Any) -> None:
    running.fake().fail_with(RuntimeError("boom"))
    with pytest.raises(openai.APIError) as caught:
        await stream(running)
    assert caught.value.code == "generation_failed"


async def test_a_request_that_cant_be_understood_is_a_plain_400_even_with_stream(running: Any) -> None:
    with pytest.raises(openai.BadRequestError):
        await stream(running, steps="many")


async def test_what_can_be_refused_at_once_has_its_own_status_even_with_stream(running: Any) -> None:
    with pytest.raises(openai.NotFoundError):
        await stream(running, model="nobody")
    with pytest.raises(openai.BadRequestError):
        await stream(running, sampler="eulr")


async def test_the_stream_is_sent_as_events_that_no_proxy_buffers(running: Any) -> None:
    reply = await running.draw(stream=True)
    assert reply.headers["content-type"].startswith("text/event-stream")
    assert reply.headers["x-accel-buffering"] == "no"
    assert reply.text.endswith("\n\n")


async def test_a_silent_stream_is_kept_alive_with_comments(start: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("imagerouter.app.work.KEEP_ALIVE_SECONDS", 0.01)
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}")
    request = {"prompt": "x", "stream": True}
    async with running.http.stream("POST", "/v1/images/generations", json=request) as reply:
        lines = reply.aiter_lines()
        assert await anext(lines) == ": keepalive"
        running.fake().release()
        rest = [line async for line in lines]
    assert "event: image_generation.completed" in rest


async def test_hanging_up_in_mid_stream_cancels_the_work(start: Any) -> None:
    running = await start("providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}")
    request = {"prompt": "x", "stream": True, "stream_progress": True}
    async with running.http.stream("POST", "/v1/images/generations", json=request) as reply:
        await anext(reply.aiter_lines())
        await running.fake().held()
    await running.fake().until(lambda: bool(running.fake().cancelled))
    assert running.engine.scheduler.running == 0 or await settled(running)


async def settled(running: Any) -> bool:
    while running.engine.scheduler.running:
        await asyncio.sleep(0)
    return True


async def test_many_streams_leave_no_task_behind(running: Any) -> None:
    await stream(running)
    before = len(asyncio.all_tasks())
    await asyncio.gather(*(stream(running, seed=i) for i in range(20)))
    await running.sdk.close()
    while len(asyncio.all_tasks()) > before:
        await asyncio.sleep(0.01)
