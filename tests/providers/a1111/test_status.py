"""What is told of a server and of its jobs: who is before whom, how far a job is, what is loaded."""

import pytest
from tests.providers.a1111.desk import desk, drawing_of, drawn, request
from tests.providers.a1111.fake import FakeA1111
from tests.providers.a1111.fake_jobs import Job
from tests.providers.sink import Sink

from imagerouter import ProviderTimeoutError, ProviderUnavailableError
from imagerouter.testing.wire import Response
from imagerouter_a1111 import residency

pytestmark = pytest.mark.usefixtures("impatient")

A, B, C = "tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors"
SDNEXT = ("Diffusers/tiny/sdA", "Diffusers/tiny/sdB", "tinyC")


@pytest.fixture
def curious(monkeypatch):
    """What is loaded is asked for each time."""
    monkeypatch.setattr(residency, "FRESH_SECONDS", 0.0)


def places(sink):
    """Image and step of each sign of life while something was drawn."""
    return [(seen.image_index, seen.step) for seen in sink if seen.stage == "render"]


async def let_it_load(fake):
    """The job that is held before its load is held before its first step."""
    fake.hold()
    fake.notify()
    await fake.until(lambda: fake.at_gate and fake.state.job_count > 0)


class TestProgress:
    async def test_it_is_a_place_in_the_queue_then_a_load_then_steps_of_each_image(self, a1111):
        a1111.pending["task(ghost)"] = Job("task(ghost)", "img2img", {}, {})  # failed before it began
        async with desk(a1111) as provider:
            assert (await provider.status()).queued == 0
            a1111.hold()
            await a1111.foreign_job()
            await a1111.held()
            await a1111.foreign_job()
            sink = Sink()
            task = drawing_of(provider, request(B, n=2), sink)
            await sink.until(lambda seen: seen.queue_position == 2)
            status = await provider.status()
            assert (status.running, status.queued) == (1, 2)
            await a1111.step(2)
            await sink.until(lambda seen: seen.queue_position == 1)
            a1111.hold("load")
            a1111.notify()
            await a1111.until(lambda: a1111.running_job is a1111.jobs[2])
            await sink.until(lambda seen: seen.stage == "load")
            await let_it_load(a1111)
            for index, step in ((0, 1), (1, 0), (1, 1)):
                await a1111.step()
                await sink.until(lambda seen, place=(index, step): (seen.image_index, seen.step) == place)
            a1111.release()
            images = await task
            assert images.load_seconds > 0
            stages = list(dict.fromkeys(seen.stage for seen in sink))
            assert stages == ["queue", "load", "render"]
            assert places(sink) == sorted(places(sink))
            assert places(sink)[-1] == (1, 2)
            told = len(sink)
            await a1111.turn(200)
            assert len(sink) == told
            again = Sink()
            assert (await provider.generate(request(B), again)).load_seconds == 0
            assert {seen.stage for seen in again} == {"render"}

    async def test_a_fraction_that_begins_anew_with_each_image_never_leads_back(self, launch):
        fake = await launch("sdnext")
        fractions = iter([0.0, 0.5, 1.0, 0.0, 0.5, 0.25])

        def told(asked):
            if not fake.running_job:
                return Response(json={"progress": 0, "state": {"job": "", "job_count": 0}})
            if (fraction := next(fractions, None)) is None:
                fake.release()
            return Response(json={"progress": fraction or 0, "state": {"job": "Inference", "job_count": 1}})

        async with desk(fake) as provider:
            fake.hold()
            fake.answer("GET", "/sdapi/v1/progress", told)
            sink = Sink()
            await provider.generate(request(SDNEXT[0], n=2), sink)
            assert places(sink) == sorted(places(sink))
            assert {(0, 1), (1, 0), (1, 1), (1, 2)} <= set(places(sink))

    async def test_without_task_ids_there_are_steps_loads_and_previews_too(self, launch):
        fake = await launch(ui=False)
        async with desk(fake) as provider:
            fake.hold("load")
            sink = Sink()
            task = drawing_of(provider, request(B, n=2, partial_images=1), sink)
            await sink.until(lambda seen: seen.stage == "load")
            assert not any(seen.stage == "render" for seen in sink)
            await let_it_load(fake)
            await fake.step(3)
            await sink.until(lambda seen: seen.preview is not None and seen.image_index == 1)
            fake.release()
            assert (await task).load_seconds > 0
            assert places(sink) == sorted(places(sink))


class TestWhatIsLoaded:
    @pytest.mark.parametrize("dialect", ["a1111", "forge", "sdnext"])
    async def test_is_what_the_server_says_whoever_has_loaded_it(self, dialect, curious):
        ours, theirs = SDNEXT[1:] if dialect == "sdnext" else (B, C)
        async with FakeA1111(dialect) as fake, desk(fake, models={"one": {"checkpoint": ours}}) as provider:
            await drawn(provider, request("one"))
            assert (await provider.status()).resident == {"one"}
            override = {"sd_model_checkpoint": fake.checkpoints[2].title}
            await fake.foreign_job(override_settings=override, override_settings_restore_afterwards=False)
            await fake.idle()
            assert (await provider.status()).resident == {theirs}
            swaps = fake.swaps
            fake.hold("question")
            assert (await provider.generate(request(theirs), Sink())).load_seconds == 0
            assert fake.swaps == swaps

    async def test_is_not_what_the_owner_has_chosen(self, a1111, curious):
        async with desk(a1111) as provider:
            assert (await provider.status()).resident == {A}
            await drawn(provider, request(B))
            assert a1111.settings.get("sd_model_checkpoint") == a1111.checkpoints[0].title
            assert (await provider.status()).resident == {B}

    async def test_a_checkpoint_that_was_first_loaded_by_somebody_else_is_not_taken_for_ours(self, launch, curious):
        fake = await launch(hashed=False)
        async with desk(fake) as provider:
            await provider.models()
            await drawn(provider, request(B))
            assert (await provider.status()).resident == {B}
            await provider.models()  # by now its hash is listed
            await drawn(provider, request(B))
            await fake.foreign_job(override_settings={"sd_model_checkpoint": "sub_tinyC"})
            await fake.idle()
            assert (await provider.status()).resident == frozenset()
            await provider.models()
            assert (await provider.status()).resident == {C}


class TestServersThatAreBusyOrGone:
    @pytest.mark.parametrize("status", [429, 504])
    async def test_one_that_does_not_answer_for_a_while_is_not_dead(self, a1111, status):
        async with desk(a1111) as provider:
            listed = await provider.models()
            for path in ("progress", "options", "sd-models"):
                a1111.answer("GET", f"/sdapi/v1/{path}", lambda asked: Response(status, {}, b"{}"))
            for _ in range(6):
                assert (await provider.status()).ready
            if status == 504:
                assert await provider.models() == listed
            with pytest.raises(ProviderTimeoutError):
                await provider.status()
            a1111.answers.clear()
            assert (await provider.status()).running == 0
            a1111.answer("GET", "/sdapi/v1/progress", lambda asked: Response(504, {}, b"{}"))
            assert (await provider.status()).running == 1

    @pytest.mark.parametrize("dialect", ["a1111", "sdnext", "sdcpp"])
    async def test_one_that_is_gone_is_said_to_be_until_it_is_back_as_whatever_it_is_then(self, dialect):
        async with FakeA1111(dialect) as fake, desk(fake) as provider:
            await provider.start()
            await fake.abort()
            with pytest.raises(ProviderUnavailableError):
                await provider.status()
            with pytest.raises(ProviderUnavailableError):
                await provider.start()
            with pytest.raises(ProviderUnavailableError, match="isn't started"):
                await provider.generate(request(), Sink())
            async with FakeA1111("forge", port=int(fake.url.rpartition(":")[2])):
                await provider.start()
                model = (await provider.models())[0]
                assert model.description.endswith("Forge")
                await drawn(provider, request(model.id))
