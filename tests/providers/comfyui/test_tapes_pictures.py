"""What a real server answered to jobs that went well: which pictures come back, and what is told on the way."""

import asyncio

import pytest
from tests.providers.comfyui.replay import (
    Recorded,
    Sink,
    desk,
    drawing_of,
    easel,
    nodes_of,
    queued,
    recorded_graphs,
    request,
    sent,
    submitted,
    submitted_by_now,
)
from tests.providers.comfyui.tapes import comfy_tape

from imagerouter import ProviderResponseError
from imagerouter.testing.script import stand_in

pytestmark = pytest.mark.usefixtures("impatient")

WHOLE, CACHED, NEW_SEED, NEW_PREFIX, BATCH = range(5)
PNG, JPEG = "89504e470d0a1a0a", "ffd8ffe000104a46"


def viewed(tape):
    """Which files were fetched."""
    return [
        (asked.query["type"], asked.query.get("subfolder", ""), asked.query["filename"])
        for asked in tape.requests
        if asked.path == "/view"
    ]


async def test_a_picture_is_drawn_step_by_step_and_fetched():
    async with comfy_tape("txt2img_then_cached", section=WHOLE) as tape, desk(tape, keep_metadata=True) as provider:
        sink = Sink()
        drawn = await provider.generate(request(), sink)
        await tape.end()
        assert [image.data for image in drawn.images] == [stand_in(29012, PNG)]
        assert viewed(tape) == [("output", "", "rec_00001_.png")]
        assert sink.stages == ["load", "render"]
        assert sink.counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert drawn.load_seconds > 0
        assert not any(asked.path.startswith("/history/") for asked in tape.requests)  # it may lag behind the events
        assert tape.unanswered == []


async def test_a_new_seed_loads_nothing():
    async with comfy_tape("txt2img_then_cached", section=NEW_SEED) as tape, desk(tape) as provider:
        drawn = await provider.generate(request(seed=8), Sink())
        assert viewed(tape) == [("output", "", "rec_00002_.png")]
        assert drawn.load_seconds == 0
        assert (await provider.status()).resident == {"tiny_a.ckpt"}
        assert tape.unanswered == []


async def test_what_is_wholly_cached_comes_back_at_once_under_its_old_name():
    async with comfy_tape("txt2img_then_cached", section=CACHED) as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(), sink)
        assert len(drawn.images) == 1
        assert viewed(tape) == [("output", "", "rec_00001_.png")]
        assert sink.counted == []
        assert tape.unanswered == []


async def test_a_picture_in_a_folder_of_its_own_is_fetched_from_there():
    async with comfy_tape("txt2img_then_cached", section=NEW_PREFIX) as tape, desk(tape) as provider:
        await provider.generate(request(), Sink())
        assert viewed(tape) == [("output", "sub/dir", "rec2_00001_.png")]
        assert tape.unanswered == []


async def test_of_a_batch_only_the_picture_that_was_asked_for_is_fetched():
    async with comfy_tape("txt2img_then_cached", section=BATCH) as tape, desk(tape) as provider:
        assert len((await provider.generate(request(), Sink())).images) == 1
        assert viewed(tape) == [("output", "", "rec_00003_.png")]
        assert tape.unanswered == []


async def test_n_pictures_are_n_jobs_with_seeds_in_a_row_and_names_of_their_own():
    def queued(asked):  # recorded one after the other, these jobs are all in the queue now
        ids = [body["prompt_id"] for body in submitted(tape)]
        return {"jobs": [{"id": prompt_id, "status": "pending", "priority": 1} for prompt_id in ids]}

    tape = comfy_tape("txt2img_then_cached", answers={("GET", "/api/jobs"): queued})
    async with tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(n=5), sink)
        await tape.end()
        assert len(drawn.images) == 5
        assert {seen.image_index for seen in sink} == set(range(5))
        graphs = [body["prompt"] for body in submitted(tape)]
        assert [nodes_of(graph, "KSampler")[0]["seed"] for graph in graphs] == [7, 8, 9, 10, 11]
        assert len({nodes_of(graph, "SaveImage")[0]["filename_prefix"] for graph in graphs}) == 5
        assert tape.unanswered == []


async def test_a_cached_file_that_is_gone_is_no_picture():
    tape = comfy_tape("cached_files", section=1)
    async with tape, desk(tape) as provider:
        with pytest.raises(ProviderResponseError):
            await provider.generate(request(), Sink())
        assert viewed(tape) == [("output", "", "rec_00049_.png")]
        assert tape.unanswered == []


async def test_with_a_prefix_of_its_own_a_job_is_saved_again_without_being_drawn_again():
    async with comfy_tape("cached_files", section="cache bust") as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(), sink)
        assert len(drawn.images) == 1
        assert sink.counted == []
        assert tape.unanswered == []


@pytest.mark.parametrize("output", ["9", "20"])
async def test_only_bound_outputs_count(output):
    (graph,) = recorded_graphs("cached_files")[-1:]
    async with comfy_tape("cached_files", section="partial_execution_targets") as tape, easel(tape) as drawing:
        work = drawing.draw(request(), Recorded(graph, (output,)), Sink())
        if output == "20":
            assert len((await work).images) == 1
            assert viewed(tape)[0][0] == "temp"
        else:
            with pytest.raises(ProviderResponseError, match="without a picture"):
                await work
        assert tape.unanswered == []


class TestKindsOfOutputs:
    """One job with every kind of node that saves something."""

    (graph,) = recorded_graphs("temp_and_animated_outputs")

    @pytest.mark.parametrize(
        ("node", "file"),
        [("9", ("output", "", "rec_00011_.png")), ("20", ("temp", "", "ComfyUI_temp_evbnh_00001_.png"))],
        ids=["saved", "previewed"],
    )
    async def test_pictures_come_from_the_folder_where_they_are(self, node, file):
        async with comfy_tape("temp_and_animated_outputs") as tape, easel(tape) as drawing:
            drawn = await drawing.draw(request(), Recorded(self.graph, (node,)), Sink())
            assert drawn.images[0].media_type == "image/png"
            assert viewed(tape) == [file]
            assert tape.unanswered == []

    @pytest.mark.parametrize("node", ["21", "22", "24", "25", "26", "27"])
    async def test_films_latents_and_texts_are_no_pictures(self, node):
        assert "Save" in self.graph[node]["class_type"] or node == "27"
        async with comfy_tape("temp_and_animated_outputs") as tape, easel(tape) as drawing:
            with pytest.raises(ProviderResponseError, match="without a picture"):
                await drawing.draw(request(), Recorded(self.graph, (node,)), Sink())
            assert viewed(tape) == []
            assert tape.unanswered == []


class TestOverTheWebsocket:
    """Pictures are sent and never saved."""

    @pytest.mark.parametrize(
        ("section", "previews"),
        [
            ("legacy client (no feature_flags)", 0),
            ("identical resubmission", 0),
            ("legacy client with previews", 3),
            ("preview_method=taesd", 3),
            ("preview_method=auto", 3),
        ],
    )
    async def test_a_picture_of_an_old_server_is_told_from_its_previews(self, section, previews):
        tape = comfy_tape("websocket_images_and_previews", section=section)
        async with tape, desk(tape, transfer="websocket", keep_metadata=True) as provider:
            sink = Sink()
            drawn = await provider.generate(request(steps=3, partial_images=2), sink)
            (image,) = drawn.images
            assert image.media_type == "image/png"
            assert viewed(tape) == []
            assert {preview[:3] for preview in sink.previews} <= {b"\xff\xd8\xff"}
            assert len(sink.previews) == previews
            assert nodes_of(submitted(tape)[0]["prompt"], "SaveImageWebsocket")
            assert tape.unanswered == []

    async def test_a_new_server_says_whose_each_picture_is(self):
        tape = comfy_tape("websocket_images_and_previews", section="modern client", sockets=["B"])
        async with tape, desk(tape, transfer="websocket", keep_metadata=True) as provider:
            sink = Sink()
            drawn = await provider.generate(request(steps=3, partial_images=2), sink)
            assert drawn.images[0].media_type == "image/png"
            assert [preview[:3] for preview in sink.previews] == [b"\xff\xd8\xff"] * 3
            steps_of_previews = [seen.step for seen in sink if seen.preview is not None]
            assert steps_of_previews == [1, 2, 3]
            assert submitted(tape)[0]["extra_data"]["preview_method"] == "auto"
            assert tape.unanswered == []

    async def test_previews_that_are_told_are_not_called_ignored(self):
        tape = comfy_tape("websocket_images_and_previews", section="modern client", sockets=["B"])
        async with tape, desk(tape, transfer="websocket") as provider:
            drawn = await provider.generate(request(partial_images=2), Sink())
            assert "partial_images" not in drawn.ignored


class TestOtherPeoplesNoise:
    """Jobs of clients without an id are told to everybody, pictures included."""

    async def test_what_is_broadcast_about_another_job_is_not_ours(self):
        tape = comfy_tape(
            "websocket_images_and_previews", section="job whose client_id has no websocket", until="<end>"
        )

        done = asyncio.Event()

        def jobs(asked):
            waiting = [] if done.is_set() else [(body["prompt_id"], "pending") for body in submitted(tape)]
            return queued(*waiting)

        def history(asked):
            (ours,) = submitted(tape)
            picture = {"save": {"images": [{"filename": "ours.png", "subfolder": "", "type": "output"}]}}
            ended = {"status_str": "success", "completed": True, "messages": []}
            return {ours["prompt_id"]: {"outputs": picture, "status": ended}} if done.is_set() else {}

        tape.answers |= {("GET", "/api/jobs"): jobs, ("GET", "/history/*"): history}
        async with tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, partial_images=1)
            (ours,) = await submitted_by_now(tape, 1)
            for _ in range(3):  # another job, one more, and its interruption
                tape.pass_gate()
            await tape.end()
            begun = {"type": "execution_start", "data": {"prompt_id": ours["prompt_id"]}}
            await tape.server.sockets[0].send_json(begun)
            await sink.until(lambda seen: seen.stage == "load")
            done.set()
            drawn = await task
            assert len(drawn.images) == 1
            assert viewed(tape) == [("output", "", "ours.png")]
            assert sink.counted == []
            assert sink.previews == []
            assert sent(tape, "POST", "/interrupt") == []
            assert tape.unanswered == []
