"""What becomes of a job when the server, its users or the network do something unexpected."""

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from io import BytesIO

import pytest
from PIL import Image as Pillow
from tests.providers.comfyui.fake import FakeComfy
from tests.providers.sink import Sink

from imagerouter import (
    GenerationError,
    Image,
    ImageRequest,
    InvalidParameterError,
    MisconfiguredError,
    ModelNotFoundError,
    OutOfMemoryError,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderResponseError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.testing.drawing import make_image
from imagerouter.testing.wire import Response
from imagerouter_comfyui import ComfyConfig, ComfyProvider, jobs

pytestmark = pytest.mark.usefixtures("impatient")


@asynccontextmanager
async def desk(comfy, **keys):
    provider = ComfyProvider("desk", ComfyConfig(**{"base_url": comfy.url} | keys))
    await provider.start()
    try:
        yield provider
    finally:
        await provider.aclose()


def request(comfy, **changes):
    fields = {"model": comfy.files["checkpoints"][0], "prompt": "a fox", "seed": 7, "steps": 2}
    return ImageRequest(**{**fields, "width": 64, "height": 64, **changes})


def drawing_of(provider, asked, sink=lambda progress: None):
    return asyncio.create_task(provider.generate(asked, sink))


def forgotten(comfy):
    """The ids whose history was deleted."""
    bodies = [json.loads(r.body) for r in comfy.requests if (r.method, r.path) == ("POST", "/history")]
    return {prompt_id for body in bodies for prompt_id in body["delete"]}


async def test_a_picture_survives_a_lost_connection(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        comfy.drop_sockets()
        comfy.release()
        assert len((await task).images) == 1
        assert len(comfy.submitted) == 1


async def test_the_next_job_uses_a_new_connection_with_a_new_client_id(comfy):
    async with desk(comfy) as provider:
        await provider.generate(request(comfy), Sink())
        comfy.drop_sockets()
        for seed in (8, 9):  # the first of them may be sent before the loss is seen
            await provider.generate(request(comfy, seed=seed), Sink())
        assert comfy.submitted[0]["client_id"] != comfy.submitted[-1]["client_id"]


async def test_over_the_websocket_a_lost_picture_is_asked_for_again_and_not_drawn_again(comfy):
    comfy.hold()
    async with desk(comfy, transfer="websocket") as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        comfy.drop_sockets()
        comfy.release()
        assert len((await task).images) == 1
        first, second = (body["prompt"] for body in comfy.submitted)
        assert {node: first[node] for node in first if node != "save"} == {
            node: second[node] for node in second if node != "save"
        }
        assert second["save"]["class_type"] == "SaveImage"


async def test_a_job_that_a_restarted_server_has_lost_can_be_tried_again(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        await comfy.kill()
        await comfy.restart()
        with pytest.raises(ProviderUnavailableError, match="lost the job"):
            await task
        assert len((await provider.generate(request(comfy), Sink())).images) == 1


async def test_a_server_that_stays_away_is_given_up(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        await comfy.kill()
        with pytest.raises(ProviderResponseError, match="what became of the job isn't known"):
            await task


async def test_a_job_that_somebody_removes_from_the_queue_ends(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        await comfy.foreign_job()
        await comfy.running()
        task = drawing_of(provider, request(comfy))
        await comfy.until(lambda: comfy.pending)
        await comfy.forget(comfy.submitted[0]["prompt_id"])
        with pytest.raises(ProviderError, match="somebody has removed the job"):
            await task


async def test_that_a_job_was_removed_is_noticed_by_the_queues_length(comfy, monkeypatch):
    monkeypatch.setattr(jobs, "QUIET_SECONDS", 1000.0)
    comfy.hold()
    async with desk(comfy, queue_timeout=1000, load_timeout=1000, idle_timeout=1000) as provider:
        foreign = await comfy.foreign_job()
        await comfy.running()
        task = drawing_of(provider, request(comfy, n=2))
        await comfy.until(lambda: len(comfy.pending) == 2)
        for job in list(comfy.pending):
            await comfy.forget(job.id)
        comfy.release()
        with pytest.raises(ProviderError, match="somebody has removed the job"):
            await task
        assert foreign


async def test_a_job_that_somebody_interrupts_can_be_drawn_elsewhere(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        await comfy.interrupt()
        with pytest.raises(ProviderBusyError, match="interrupted"):
            await task


async def test_a_socket_that_has_gone_mute_costs_no_picture(comfy):
    async with desk(comfy) as provider:
        comfy.mute()
        assert len((await provider.generate(request(comfy, n=2), Sink())).images) == 2


@pytest.fixture
def unanswered(comfy, monkeypatch):
    """The server takes jobs, but the answer to each is lost or is ``status`` of a proxy."""

    def lose(status=None):
        respond = comfy._answer

        async def answer(asked):
            response = await respond(asked)
            if (asked.method, asked.path) != ("POST", "/prompt"):
                return response
            return None if status is None else Response(status, {}, b"bad gateway")

        monkeypatch.setattr(comfy.wire, "_handler", answer)

    return lose


@pytest.mark.parametrize("status", [None, 500, 502, 504])
async def test_a_job_whose_submission_got_no_answer_is_found_and_not_drawn_twice(comfy, unanswered, status):
    async with desk(comfy) as provider:
        unanswered(status)
        assert len((await provider.generate(request(comfy), Sink())).images) == 1
        assert len(comfy.submitted) == 1


async def test_a_job_that_never_arrived_may_be_tried_elsewhere(comfy):
    async with desk(comfy) as provider:
        comfy.answer("POST", "/prompt", lambda asked: None)
        with pytest.raises(ProviderResponseError) as raised:
            await provider.generate(request(comfy), Sink())
        assert raised.value.fallback
        assert not raised.value.retry_same


async def test_if_nobody_can_say_whether_a_job_arrived_it_is_stopped_and_not_repeated(comfy, unanswered):
    comfy.hold()
    async with desk(comfy) as provider:
        unanswered(502)
        comfy.answer("GET", "/api/jobs", lambda asked: Response(502, {}, b""))
        with pytest.raises(ProviderResponseError, match="whether the job arrived isn't known") as raised:
            await provider.generate(request(comfy), Sink())
        assert not raised.value.retry_same
        assert comfy.cancelled == [comfy.submitted[0]["prompt_id"]]


async def test_a_request_that_is_cancelled_while_it_is_being_sent_is_stopped_once_it_arrives(comfy, monkeypatch):
    gate, sent = asyncio.Event(), asyncio.Event()
    respond = comfy._answer

    async def late(asked):
        if (asked.method, asked.path) == ("POST", "/prompt"):
            sent.set()
            await gate.wait()
        return await respond(asked)

    comfy.hold()
    async with desk(comfy) as provider:
        monkeypatch.setattr(comfy.wire, "_handler", late)
        task = drawing_of(provider, request(comfy))
        await sent.wait()
        task.cancel()
        gate.set()
        await asyncio.wait([task])
        await comfy.until(lambda: len(comfy.cancelled) == 1)
        assert task.cancelled()


async def test_odd_messages_do_not_end_the_connection(comfy):
    async with desk(comfy) as provider:
        comfy.hold()
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        prompt_id = comfy.submitted[0]["prompt_id"]
        for data in (
            {"prompt_id": prompt_id, "node": "save", "output": {"images": 3, "animated": True}},
            {"prompt_id": prompt_id, "node": ["x"], "output": None},
            {"prompt_id": 7},
            [],
        ):
            for client in list(comfy.sockets):
                await comfy.send("executed", data, client)
                await comfy.send("progress", data, client)
        comfy.release()
        await task
        await provider.generate(request(comfy, seed=8), Sink())
        assert len({body["client_id"] for body in comfy.submitted}) == 1


async def test_on_an_old_server_events_may_come_before_the_answer(monkeypatch):
    monkeypatch.setattr(jobs, "QUIET_SECONDS", 1000.0)
    async with FakeComfy(old=True) as comfy, desk(comfy) as provider:
        respond = comfy._answer

        async def late(asked):
            response = await respond(asked)
            if (asked.method, asked.path) == ("POST", "/prompt"):
                await comfy.until(lambda: len(comfy.history) == len(comfy.submitted))
            return response

        monkeypatch.setattr(comfy.wire, "_handler", late)
        assert len((await provider.generate(request(comfy), Sink())).images) == 1


async def test_a_mute_connection_is_replaced_so_that_pictures_come_over_the_new_one(comfy):
    async with desk(comfy, transfer="websocket") as provider:
        comfy.mute()
        task = drawing_of(provider, request(comfy))
        await comfy.until(lambda: bool(comfy.history))
        comfy.mute(False)
        assert len((await task).images) == 1
        assert comfy.submitted[0]["client_id"] != comfy.submitted[-1]["client_id"]


async def test_a_cancellation_that_the_server_refuses_is_logged(comfy, capsys):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        prompt_id = await comfy.running()
        comfy.answer("POST", f"/api/jobs/{prompt_id}/cancel", lambda asked: Response(500, {}, b""))
        task.cancel()
        await asyncio.wait([task])
        assert "comfyui.cancel_failed" in capsys.readouterr().out
        comfy.release()


async def test_a_cancelled_job_leaves_nothing_in_the_history(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        task.cancel()
        await asyncio.wait([task])
        await comfy.until(lambda: len(comfy.interrupted) == 1)
    assert forgotten(comfy) == {comfy.submitted[0]["prompt_id"]}


async def test_the_own_jobs_ahead_are_no_reason_to_give_up(comfy):
    comfy.hold()
    async with desk(comfy, queue_timeout=0.05, concurrency=2) as provider:
        tasks = [drawing_of(provider, request(comfy, seed=seed)) for seed in (1, 2)]
        await comfy.running()
        seen = len(comfy.requests)
        await comfy.until(lambda: len(comfy.requests) > seen + 12)  # both were asked about several times
        comfy.release()
        assert [len((await task).images) for task in tasks] == [1, 1]


async def test_a_model_that_is_loaded_after_the_first_steps_has_the_time_that_loading_takes(comfy):
    async with desk(comfy, idle_timeout=0.05, load_timeout=1000) as provider:
        comfy.hold("VAEDecode")
        task = drawing_of(provider, request(comfy))
        await comfy.running()
        seen = len(comfy.requests)
        await comfy.until(lambda: len(comfy.requests) > seen + 8)
        comfy.release()
        assert len((await task).images) == 1


async def test_an_option_that_nothing_takes_is_refused_by_its_name(comfy):
    async with desk(comfy) as provider:
        with pytest.raises(
            ProviderRejectedError, match=r"`controlnets` is no option of .*; it takes: `controlnet`"
        ) as raised:
            await provider.generate(request(comfy, options={"controlnets": []}), Sink())
        assert raised.value.param == "provider.options.controlnets"


async def test_a_tiny_strength_does_not_keep_the_server_busy_for_minutes(comfy):
    async with desk(comfy) as provider:
        picture = make_image(64, 64, (9, 9, 9))
        images = await provider.generate(request(comfy, steps=20, strength=1e-6, images=(picture,)), Sink())
        assert images.applied["strength"] == 0
        sampler = next(n for n in comfy.submitted[0]["prompt"].values() if n["class_type"] == "KSampler")
        assert sampler["inputs"]["denoise"] == 0


async def test_what_is_wrong_with_a_controlnet_is_the_clients_to_know(comfy):
    comfy.files["controlnet"].append("edges.safetensors")
    picture = base64.b64encode(make_image(64, 64, (9, 9, 9)).data).decode()
    control = {"name": "edges", "image": picture}
    async with desk(comfy) as provider:
        comfy.fail("PIL.UnidentifiedImageError", "cannot identify image file '/x/y.png'", "LoadImage")
        with pytest.raises(InvalidParameterError) as raised:
            await provider.generate(request(comfy, options={"controlnet": [control]}), Sink())
        assert raised.value.param == "provider.options.controlnet[0].image"


async def test_a_cancelled_request_stops_its_jobs_and_nobody_elses(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        foreign = await comfy.foreign_job()
        await comfy.running()
        task = drawing_of(provider, request(comfy, n=2))
        await comfy.until(lambda: len(comfy.pending) == 2)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert sorted(comfy.cancelled) == sorted(body["prompt_id"] for body in comfy.submitted)
        comfy.release()
        await comfy.until(lambda: foreign in comfy.history)
        assert not comfy.interrupted


@pytest.mark.parametrize("ahead", [False, True], ids=["running", "queued"])
async def test_on_an_old_server_a_cancellation_hits_only_the_own_job(ahead):
    async with FakeComfy(old=True) as comfy, desk(comfy) as provider:
        comfy.hold()
        foreign = await comfy.foreign_job() if ahead else None
        if ahead:
            await comfy.running()
        task = drawing_of(provider, request(comfy))
        await comfy.until(lambda: len(comfy.submitted) == 1)
        if ahead:
            await comfy.until(lambda: bool(comfy.pending))
        else:
            await comfy.running()
        task.cancel()
        await asyncio.wait([task])
        assert foreign not in comfy.interrupted
        assert len(comfy.cancelled) == 1
        assert not [r for r in comfy.requests if r.path == "/interrupt" and not r.body]


async def test_an_old_server_that_draws_its_own_ids_works():
    async with FakeComfy(old=True) as comfy, desk(comfy) as provider:
        assert len((await provider.generate(request(comfy, n=3), Sink())).images) == 3


async def test_when_one_image_fails_the_others_are_stopped(comfy):
    async with desk(comfy) as provider:
        comfy.hold()
        task = drawing_of(provider, request(comfy, n=3))
        await comfy.running()
        comfy.fail("RuntimeError", "boom", "VAEDecode")
        comfy.release(2)
        with pytest.raises(GenerationError):
            await task
        assert len(comfy.cancelled) == 2


async def test_the_place_in_the_servers_queue_is_told(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        await comfy.foreign_job()
        await comfy.running()
        sink = Sink()
        task = drawing_of(provider, request(comfy), sink)
        await sink.until(lambda progress: progress.queue_position == 1)
        comfy.release()
        await task
        assert next(p.stage for p in sink if p.stage != "queue") == "load"


async def test_steps_and_previews_are_told(comfy):
    async with desk(comfy) as provider:
        sink = Sink()
        await provider.generate(request(comfy, steps=4, partial_images=1), sink)
        steps = [(p.step, p.steps) for p in sink if p.steps]
        assert (4, 4) in steps
        assert steps == sorted(steps)
        previews = [p for p in sink if p.preview is not None]
        assert previews
        assert all(p.image_index == 0 for p in previews)


async def test_without_partial_images_no_preview_is_made(comfy):
    async with desk(comfy) as provider:
        sink = Sink()
        await provider.generate(request(comfy), sink)
        assert comfy.submitted[0]["extra_data"]["preview_method"] == "none"
        assert not [p for p in sink if p.preview is not None]


@pytest.mark.parametrize(
    ("key", "held", "error"),
    [
        ("queue_timeout", "foreign", ProviderBusyError),
        ("load_timeout", "Loader", ProviderTimeoutError),
        ("idle_timeout", "Sampler", ProviderTimeoutError),
    ],
)
async def test_each_wait_has_its_own_limit(comfy, key, held, error):
    async with desk(comfy, **{key: 0.1}) as provider:
        if held == "foreign":
            comfy.hold()
            await comfy.foreign_job()
            await comfy.running()
        else:
            comfy.hold(held)
        with pytest.raises(error):
            await provider.generate(request(comfy), Sink())
        assert comfy.cancelled == [comfy.submitted[0]["prompt_id"]]


async def test_too_little_memory_is_told_as_such_and_may_be_tried_elsewhere(comfy):
    async with desk(comfy) as provider:
        comfy.fail("torch.OutOfMemoryError", "Allocation on device", "KSampler")
        with pytest.raises(OutOfMemoryError) as raised:
            await provider.generate(request(comfy), Sink())
        assert raised.value.fallback


async def test_what_a_node_says_reaches_the_client_without_paths(comfy):
    async with desk(comfy) as provider:
        comfy.fail("RuntimeError", "can't read /home/me/models/x.pt: bad header\n", "KSampler")
        with pytest.raises(GenerationError) as raised:
            await provider.generate(request(comfy), Sink())
        assert "bad header" in raised.value.message
        assert "KSampler" in raised.value.message
        assert "/home" not in raised.value.message


async def test_a_picture_that_the_server_cannot_read_is_the_clients_mistake(comfy):
    async with desk(comfy) as provider:
        comfy.fail("PIL.UnidentifiedImageError", "cannot identify image file '/x/y.png'", "LoadImage")
        with pytest.raises(InvalidParameterError) as raised:
            await provider.generate(request(comfy, images=(make_image(64, 64, (9, 9, 9)),)), Sink())
        assert raised.value.param.startswith("images")


async def test_a_file_that_is_no_picture_is_refused_before_anything_is_sent(comfy):
    async with desk(comfy) as provider:
        with pytest.raises(InvalidParameterError) as raised:
            await provider.generate(request(comfy, images=(Image(data=b"nonsense"),)), Sink())
        assert raised.value.param == "images[0]"
        assert not comfy.submitted


async def test_a_value_that_the_server_refuses_is_told_as_the_clients_parameter(comfy):
    async with desk(comfy) as provider:
        with pytest.raises(InvalidParameterError) as raised:
            await provider.generate(request(comfy, steps=20_000), Sink())
        assert raised.value.param == "steps"
        assert "10000" in raised.value.message


async def test_a_checkpoint_that_has_just_gone_is_not_found(comfy):
    async with desk(comfy) as provider:
        asked = request(comfy)
        comfy.files["checkpoints"] = ["another.safetensors"]
        with pytest.raises(ModelNotFoundError) as raised:
            await provider.generate(asked, Sink())
        assert raised.value.fallback


async def test_nothing_is_left_in_the_history(comfy):
    async with desk(comfy) as provider:
        await provider.generate(request(comfy, n=2), Sink())
    assert forgotten(comfy) == {body["prompt_id"] for body in comfy.submitted}


async def test_the_history_is_kept_if_that_is_wanted(comfy):
    async with desk(comfy, keep_history=True) as provider:
        await provider.generate(request(comfy), Sink())
    assert not forgotten(comfy)


async def test_the_prompt_is_taken_out_of_the_picture(comfy):
    async with desk(comfy) as provider, desk(comfy, keep_metadata=True) as keeping:
        (image,) = (await provider.generate(request(comfy), Sink())).images
        (kept,) = (await keeping.generate(request(comfy), Sink())).images
    assert "prompt" not in Pillow.open(BytesIO(image.data)).info
    assert "a fox" in Pillow.open(BytesIO(kept.data)).info["prompt"]


async def test_uploads_go_where_the_server_empties_and_are_stored_once(comfy):
    async with desk(comfy) as provider:
        asked = request(comfy, images=(make_image(64, 64, (9, 9, 9)),), n=2)
        await provider.generate(asked, Sink())
        await provider.generate(asked, Sink())
    assert len(comfy.folders["temp"]) == 1
    assert not comfy.folders["input"]


async def test_other_peoples_jobs_count_as_load(comfy):
    comfy.hold()
    async with desk(comfy) as provider:
        await comfy.foreign_job()
        await comfy.foreign_job()
        await comfy.running()
        status = await provider.status()
        assert (status.ready, status.running, status.queued) == (True, 1, 1)
        comfy.release()


async def test_the_model_of_the_last_job_is_resident_whoever_sent_it(comfy):
    first, second = comfy.files["checkpoints"][:2]
    async with desk(comfy) as provider:
        await provider.generate(request(comfy, model=second), Sink())
        assert (await provider.status()).resident == {second}
        comfy.hold()
        await comfy.foreign_job()
        await comfy.running()
        assert (await provider.status()).resident == {first}
        comfy.release()


async def test_after_a_restart_nothing_is_resident(comfy):
    async with desk(comfy) as provider:
        await provider.generate(request(comfy), Sink())
        await comfy.kill()
        await comfy.restart()
        await provider.start()
        assert (await provider.status()).resident == frozenset()


async def test_a_new_checkpoint_becomes_a_model_without_a_restart(comfy):
    async with desk(comfy) as provider:
        comfy.files["checkpoints"].append("sub\\new.safetensors")
        assert "sub\\new.safetensors" in [model.id for model in await provider.models()]


async def test_it_works_behind_a_proxy_with_a_path_and_a_token():
    async with FakeComfy(prefix="/comfy", required_headers={"authorization": "Bearer s3cret"}) as comfy:
        async with desk(comfy, token="s3cret") as provider:
            assert len((await provider.generate(request(comfy), Sink())).images) == 1
        with pytest.raises(ProviderError, match="credentials") as raised:
            async with desk(comfy, token="wrong"):
                pass
        assert "wrong" not in raised.value.message


async def test_a_hundred_requests_share_one_connection(comfy):
    async with desk(comfy, concurrency=100) as provider:
        drawn = await asyncio.gather(
            *(provider.generate(request(comfy, seed=seed, steps=1), Sink()) for seed in range(100))
        )
        assert len({images.images[0].data for images in drawn}) == 100
        assert len({body["client_id"] for body in comfy.submitted}) == 1


async def test_an_answer_of_some_other_server_is_no_comfyui(comfy):
    comfy.answer("GET", "/object_info", lambda asked: Response(200, {}, b"<html>"))
    comfy.answer("GET", "/models/checkpoints", lambda asked: Response(200, {}, b"<html>"))
    with pytest.raises(ProviderResponseError):
        async with desk(comfy):
            pass


async def test_a_server_on_this_machine_is_found_without_configuration(comfy, monkeypatch):
    monkeypatch.setenv("COMFY_PORT", comfy.url.rpartition(":")[2])
    assert await ComfyProvider.discover() == {"comfyui": {"base_url": comfy.url}}
    comfy.answer("GET", "/system_stats", lambda asked: Response(json={"system": {"os": "another"}}))
    assert await ComfyProvider.discover() == {}
    monkeypatch.setenv("COMFY_PORT", "9")
    assert await ComfyProvider.discover() == {}


async def test_a_workflow_that_cannot_be_used_is_known_with_the_reason(comfy, tmp_path):
    path = tmp_path / "old.json"
    path.write_text(json.dumps({"1": {"class_type": "Gone", "inputs": {}}, "2": {"class_type": "Gone2", "inputs": {}}}))
    async with desk(comfy, models={"old": {"workflow": str(path)}}) as provider:
        (model,) = [model for model in await provider.models() if model.id == "old"]
        assert model.problem
        assert "\n" not in model.problem
        with pytest.raises(MisconfiguredError) as raised:
            await provider.generate(request(comfy, model="old"), Sink())
        assert model.problem in raised.value.message
