"""Drawing over stable-diffusion.cpp's own jobs."""

import asyncio
import base64
from io import BytesIO

import pytest
from PIL import Image as Pillow
from tests.providers.a1111.fake_dialects import LISTS
from tests.providers.a1111.sdcpp_of import (
    answer_jobs,
    cancellations,
    cancelled,
    desk,
    drawing,
    hasten,
    nobody,
    pixels,
    png,
    request,
    sent,
)
from tests.providers.sink import Sink

from imagerouter.testing.wire import Response


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    hasten(monkeypatch)


@pytest.fixture
async def native(launch):
    return await launch("sdcpp")


# Drawing


async def test_a_picture_is_drawn_as_a_job_of_the_servers_own(native):
    async with desk(native) as provider:
        images = await provider.generate(request(), nobody)
    assert [image.media_type for image in images.images] == ["image/png"]
    assert [job.route for job in native.jobs] == ["img_gen"]


async def test_images_come_in_the_order_of_their_seeds(native):
    async with desk(native) as provider:
        together = await provider.generate(request(n=3), nobody)
        alone = [await provider.generate(request(seed=7 + index), nobody) for index in range(3)]
    assert pixels(together) == [pixels(images)[0] for images in alone]


async def test_images_that_are_told_in_another_order_are_put_right(native):
    drawn = [base64.b64encode(png(colour)).decode() for colour in ((255, 0, 0), (0, 255, 0))]
    listed = [{"index": 1, "b64_json": drawn[1]}, {"index": 0, "b64_json": drawn[0]}]
    answer_jobs(native, {"status": "completed", "result": {"images": listed}})
    async with desk(native) as provider:
        images = await provider.generate(request(n=2), nobody)
    assert [Pillow.open(BytesIO(image.data)).getpixel((0, 0)) for image in images.images] == [(255, 0, 0), (0, 255, 0)]


async def test_more_images_than_a_job_may_have_are_drawn_by_several(native):
    async with desk(native) as provider:
        images = await provider.generate(request(n=10, steps=1), nobody)
    assert len(set(pixels(images))) == 10
    assert [(body["seed"], body["batch_count"]) for body in sent(native)] == [(7, 8), (15, 2)]


async def test_a_servers_own_limit_of_images_is_kept(native, monkeypatch):
    monkeypatch.setitem(LISTS["sdcpp_limits"], "max_batch_count", 1)
    async with desk(native) as provider:
        images = await provider.generate(request(n=2), nobody)
    assert len(images.images) == 2
    assert [body["batch_count"] for body in sent(native)] == [1, 1]


async def test_prompts_stay_out_of_the_files_unless_the_owner_wants_them_in(native):
    for keep in (False, True):
        async with desk(native, keep_metadata=keep) as provider:
            await provider.generate(request(), nobody)
    assert [body["embed_image_metadata"] for body in sent(native)] == [False, True]


# Progress


async def test_progress_ends_at_the_last_step(native):
    native.hold()
    async with desk(native) as provider:
        sink = Sink()
        task = drawing(provider, sink)
        await sink.until(lambda seen: seen.stage == "render")
        native.release()
        await task
    assert [(seen.step, seen.steps, seen.image_index) for seen in (sink[0], sink[-1])] == [(0, 2, 0), (2, 2, 0)]


async def test_progress_over_several_jobs_never_goes_back(native):
    sink = Sink()
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider, sink, n=17, steps=1)
        for step in range(3):
            await native.held()
            await sink.until(lambda seen, step=step: (len(sent(native)), seen.stage) == (step + 1, "render"))
            await native.step()
        await task
    told = [seen.step for seen in sink if seen.stage == "render"]
    assert told == sorted(told)
    assert told[-1] == 1


async def test_a_job_that_waits_knows_how_many_are_before_it(native):
    native.hold()
    async with desk(native) as provider:
        first = drawing(provider)
        await native.held()
        second, sink = drawing(provider), Sink()
        await native.waiting(1)
        third = drawing(provider, sink)
        await sink.until(lambda seen: seen.stage == "queue")
        assert {seen.queue_position for seen in sink} == {2}
        native.release()
        await asyncio.gather(first, second, third)
    assert sink[-1].stage == "render"


async def test_the_status_counts_the_jobs_of_others_that_are_before_ours(native):
    native.hold()
    async with desk(native) as ours, desk(native) as theirs:
        first = drawing(theirs)
        await native.held()
        sink = Sink()
        second = drawing(ours, sink)
        await sink.until(lambda seen: seen.stage == "queue")
        status = await ours.status()
        assert (status.running, status.queued) == (1, 1)
        native.release()
        await asyncio.gather(first, second)
        status = await ours.status()
        assert (status.running, status.queued) == (0, 0)


# Stopping


async def test_a_job_that_waits_is_cancelled_when_its_client_goes(native):
    native.hold()
    async with desk(native) as provider:
        first = drawing(provider)
        await native.held()
        second = drawing(provider)
        await native.waiting(1)
        await cancelled(second)
        assert [job.status for job in native.jobs] == ["running", "cancelled"]
        native.release()
        await first


async def test_a_job_that_is_drawn_already_is_waited_for_in_the_background(native):
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        await cancelled(task)
        assert [job.status for job in native.jobs] == ["running"]
        assert (await provider.status()).running == 1
        native.release()
        await native.idle()
    assert len(cancellations(native)) == 1


async def test_a_client_that_goes_while_its_job_is_handed_over_leaves_no_job_behind(native):
    native.hold()
    async with desk(native) as provider:
        first = drawing(provider)
        await native.held()
        submitted = len(native.requests)
        second = drawing(provider)
        await native.until(lambda: len(native.requests) > submitted and len(sent(native)) == 2)
        await cancelled(second)
        await native.until(lambda: native.jobs[-1].status == "cancelled")
        native.release()
        await first


async def test_a_job_is_cancelled_even_if_the_first_order_to_do_so_is_lost(native):
    native.hold()
    async with desk(native) as provider:
        first = drawing(provider)
        await native.held()
        second = drawing(provider)
        await native.waiting(1)
        path = f"/sdcpp/v1/jobs/{[*native.native_jobs][-1]}/cancel"

        def lose(_):
            native.answers.pop(("POST", path))

        native.answer("POST", path, lose)
        await cancelled(second)
        await native.until(lambda: native.jobs[-1].status == "cancelled")
        native.release()
        await first


async def test_a_server_that_can_stop_a_drawing_is_told_to(native):
    native.hold()
    async with desk(native) as provider:
        task = drawing(provider)
        await native.held()
        told = {"id": "x", "status": "cancelled", "error": {"code": "cancelled", "message": "job cancelled by client"}}
        path = f"/sdcpp/v1/jobs/{[*native.native_jobs][-1]}"
        native.answer("POST", f"{path}/cancel", lambda _: Response(json=told))
        native.answer("GET", path, lambda _: Response(json=told))
        await cancelled(task)
        assert (await provider.status()).running == 0
        native.release()
