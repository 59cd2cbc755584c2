"""stable-diffusion.cpp: jobs of its own, and the common routes where it has none."""

import asyncio
import base64

import pytest
from tests.providers.a1111.replay import Sink, desk, drawing_of, hurry, jobs, recorded, request, sent
from tests.providers.a1111.tapes import family_tape, lines

from imagerouter import (
    GenerationError,
    Lora,
    ProviderBusyError,
    ProviderError,
    ProviderRejectedError,
    ProviderResponseError,
)
from imagerouter.images import dimensions
from imagerouter.metadata import stripped
from imagerouter.testing import Response, make_image
from imagerouter.testing.script import with_pictures
from imagerouter_a1111.sdcpp import press

NATIVE = "full-random-sd15-f16"
PICTURE = make_image(64, 64, "teal")
WITHOUT_JOBS = {("GET", "/sdcpp/v1/capabilities"): Response(status=404)}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    hurry(monkeypatch)


def job(section, **options):
    return family_tape("sdcpp/jobs", section=section, **options)


def cancellations(tape):
    return [one.path for one in tape.requests if one.path.endswith("/cancel")]


class TestJobs:
    async def test_a_job_is_handed_over_and_asked_about_until_it_is_drawn(self):
        async with job("one that is drawn") as tape, desk(tape, keep_metadata=True) as provider:
            sink = Sink()
            drawn = await provider.generate(request(model=NATIVE, seed=7, steps=3), sink)
            result = lines("sdcpp/jobs", "one that is drawn")[-1]["response"]["result"]
            (picture,) = with_pictures(result)["images"]
            assert [image.b64.decode() for image in drawn.images] == [picture["b64_json"]]
            assert [one.is_encoded for one in drawn.images] == [True]
            assert (drawn.applied["seed"], drawn.applied["steps"]) == (7, 3)
            assert sink.steps == [0, 3]
            assert tape.finished
            assert tape.unanswered == []

    async def test_what_is_asked_for_is_said_in_the_fields_that_were_honoured(self):
        async with job("one that is drawn") as tape, desk(tape) as provider:
            await provider.generate(request(model=NATIVE, seed=7, steps=3), Sink())
            (body,) = jobs(tape)
            (first, *_) = lines("sdcpp/jobs", "one that is drawn")
            asked = first["request"]
            assert {name: body[name] for name in asked if name != "sample_params"} == {
                name: asked[name] for name in asked if name != "sample_params"
            }
            assert body["sample_params"]["sample_steps"] == asked["sample_params"]["sample_steps"] == 3
            known = next(
                line["response"] for line in lines("sdcpp/discovery") if line.get("path") == "/sdcpp/v1/capabilities"
            )
            assert body["sample_params"]["sample_method"] in known["samplers"]
            assert body["sample_params"]["scheduler"] in known["schedulers"]
            named = {"lora", "init_image", "mask_image", "embed_image_metadata"}
            assert body.keys() <= known["defaults"].keys() | named
            assert sent(tape, "POST", "/sdapi/v1/txt2img") == []

    async def test_a_job_that_runs_is_asked_about_until_its_server_is_gone(self, monkeypatch):
        monkeypatch.setattr(press, "GONE_SECONDS", 0.0)
        async with job("one that runs", until="one that is drawn") as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model=NATIVE, seed=7, steps=3)
            await sink.until(lambda seen: seen.stage == "render")
            assert not task.done()
            await tape.server.abort()
            with pytest.raises(ProviderError) as raised:
                await task
            assert raised.value.fallback
            assert tape.unanswered == []

    async def test_its_place_in_the_queue_is_told(self):
        async with job("one that waits first") as tape, desk(tape) as provider:
            sink = Sink()
            await provider.generate(request(model=NATIVE), sink)
            places = [seen.queue_position for seen in sink if seen.stage == "queue"]
            assert list(dict.fromkeys(places)) == [2, 1]
            assert tape.unanswered == []

    async def test_a_job_that_waits_is_cancelled(self):
        section = "one that is cancelled while it waits"
        async with job(section) as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model=NATIVE)
            await sink.until(lambda seen: seen.stage == "queue")
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert cancellations(tape) == [f"{lines('sdcpp/jobs', section)[0]['response']['poll_url']}/cancel"]
            assert tape.finished
            assert tape.unanswered == []

    async def test_a_job_that_runs_is_waited_for(self):
        async with job("one that runs can not be cancelled") as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model=NATIVE)
            await sink.until(lambda seen: seen.stage == "render")
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert len(cancellations(tape)) == 1
            assert tape.finished
            assert tape.unanswered == []

    @pytest.mark.parametrize(
        ("section", "expected", "words"),
        [
            ("one that fails", GenerationError, "returned empty results"),
            ("one that is forgotten", ProviderResponseError, "lost the job"),
            ("one that nobody knows", ProviderResponseError, "lost the job"),
            ("a full queue", ProviderBusyError, "busy"),
            ("an invalid request", ProviderRejectedError, "invalid generation parameters"),
        ],
    )
    async def test_what_becomes_of_a_job_that_gives_no_picture(self, section, expected, words):
        async with job(section) as tape, desk(tape) as provider:
            with pytest.raises(expected, match=words) as raised:
                await provider.generate(request(model=NATIVE), Sink())
            assert raised.value.fallback
            assert len(jobs(tape)) == 1
            assert cancellations(tape) == []
            assert tape.unanswered == []

    async def test_a_lora_is_given_by_the_path_that_the_server_lists(self):
        async with job("one that is drawn") as tape, desk(tape) as provider:
            await provider.generate(request(model=NATIVE, loras=(Lora("tinyA", 0.5),)), Sink())
            listed = next(
                line["response"] for line in lines("sdcpp/discovery") if line.get("path") == "/sdapi/v1/loras"
            )
            path = next(row["path"] for row in listed if row["name"] == "tinyA")
            assert jobs(tape)[0]["lora"] == [{"path": path, "multiplier": 0.5}]
            assert "<lora:" not in jobs(tape)[0]["prompt"]

    async def test_a_lora_that_it_does_not_list_never_reaches_it(self):
        async with job("one that is drawn") as tape, desk(tape) as provider:
            with pytest.raises(ProviderRejectedError) as raised:
                await provider.generate(request(model=NATIVE, loras=(Lora("nope", 1.0),)), Sink())
            assert raised.value.param == "loras[0].name"
            assert jobs(tape) == []

    @pytest.mark.parametrize("tag", ["<lora:tinyA:1>", '<sd_cpp_extra_args>{"seed": 1}</sd_cpp_extra_args>'])
    async def test_prompts_hold_no_orders_to_the_server(self, tag):
        async with job("one that is drawn") as tape, desk(tape, prompt_tags=True) as provider:
            with pytest.raises(ProviderRejectedError) as raised:
                await provider.generate(request(model=NATIVE, prompt=f"a cat {tag}"), Sink())
            assert raised.value.param == "prompt"
            assert jobs(tape) == []

    async def test_no_route_that_it_has_not_is_asked_for_progress(self):
        """There it has no `/sdapi/v1/progress` and no `/sdapi/v1/interrupt`: 404."""
        async with job("one that is drawn") as tape, desk(tape) as provider:
            await provider.generate(request(model=NATIVE), Sink())
            status = await provider.status()
            assert (status.ready, status.running, status.queued, status.resident) == (True, 0, 0, {NATIVE})
            paths = {one.path for one in tape.requests}
            assert not paths & {"/sdapi/v1/progress", "/sdapi/v1/interrupt", "/internal/progress"}


class TestCommonRoutes:
    """As in versions before it had jobs."""

    def tape(self, section):
        return family_tape("sdcpp/sdapi", section=section, answers=WITHOUT_JOBS)

    @pytest.mark.parametrize(("section", "n"), [("plain", 1), ("two at once", 2), ("random seed", 1)])
    async def test_several_pictures_are_drawn_at_once(self, section, n):
        async with self.tape(section) as tape, desk(tape, dialect="sdcpp") as provider:
            drawn = await provider.generate(request(model=NATIVE, steps=1, n=n), Sink())
            files = [stripped(base64.b64decode(picture)) for picture in recorded("sdcpp/sdapi", section)]
            assert [image.data for image in drawn.images] == files
            assert (jobs(tape)[0]["batch_size"], jobs(tape)[0]["n_iter"]) == (n, 1)
            assert tape.unanswered == []

    async def test_one_after_another_gave_a_single_one(self):
        async with self.tape("two after another") as tape, desk(tape, dialect="sdcpp") as provider:
            with pytest.raises(ProviderResponseError, match="1 images instead of 2"):
                await provider.generate(request(model=NATIVE, steps=1, n=2), Sink())
            assert jobs(tape)[0]["n_iter"] == 1

    async def test_sides_are_multiples_of_64_and_cut(self):
        """It rounds up by itself, and tells what was asked."""
        async with self.tape("width 65") as tape, desk(tape, dialect="sdcpp") as provider:
            drawn = await provider.generate(request(model=NATIVE, steps=1, width=65), Sink())
            assert (jobs(tape)[0]["width"], jobs(tape)[0]["height"]) == (128, 64)
            assert [dimensions(image) for image in drawn.images] == [(65, 64)]
            assert tape.unanswered == []

    async def test_a_picture_is_drawn_over(self):
        async with self.tape("over a picture") as tape, desk(tape, dialect="sdcpp") as provider:
            drawn = await provider.generate(request(model=NATIVE, steps=1, images=(PICTURE,), strength=0.5), Sink())
            (body,) = jobs(tape)
            assert (body["init_images"], body["denoising_strength"]) == ([PICTURE.b64.decode()], 0.5)
            assert len(drawn.images) == 1
            assert tape.unanswered == []
