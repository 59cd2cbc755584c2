"""What becomes of a job when the server, its users or the network do something unexpected."""

import asyncio
import gc

import pytest
import pytest_asyncio
from tests.providers.a1111.desk import desk, drawing_of, drawn, eventually, interruptions, request, sent
from tests.providers.a1111.fake import FakeA1111
from tests.providers.a1111.fake_jobs import Job
from tests.providers.sink import Sink

from imagerouter import (
    ProviderBusyError,
    ProviderTimeoutError,
    ProviderUnavailableError,
)
from imagerouter.testing.wire import Response
from imagerouter_a1111.sdapi import press

pytestmark = pytest.mark.usefixtures("impatient")

NAMELESS = [("sdnext", {}), ("a1111", {"ui": False})]
"""Servers that don't tell which job it is that runs."""


def first_of(fake):
    return "Diffusers/tiny/sdA" if fake.dialect == "sdnext" else "tinyA.safetensors"


@pytest_asyncio.fixture
async def complaints():
    """What asyncio would have told the log of failures that nobody has heard of."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: found.append(context["message"]))
    return found


@pytest.fixture
def hasty(monkeypatch):
    """A cancelled request waits for nothing; its job is stopped all the same."""
    monkeypatch.setattr(press, "STOP_SECONDS", 0.0)


async def cancelled(task):
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


class TestCancelling:
    async def test_a_running_job_is_stopped_once_and_the_one_behind_it_drawn(self, a1111):
        a1111.hold()
        async with desk(a1111, concurrency=2) as provider:
            one = drawing_of(provider, request())
            await a1111.held()
            other = drawing_of(provider, request(seed=8))
            await a1111.waiting()
            await cancelled(one)
            a1111.release()
            assert (await other).images[0].data == await drawn(provider, request(seed=8))
            assert [job.status for job in a1111.jobs] == ["interrupted", "done", "done"]
            assert interruptions(a1111) == 1

    async def test_a_job_that_waits_is_stopped_when_it_begins_and_nobody_elses_before(self, a1111, hasty):
        a1111.hold()
        async with desk(a1111) as provider:
            foreign = await a1111.foreign_job()
            await a1111.held()
            task = drawing_of(provider, request())
            await a1111.waiting()
            await cancelled(task)
            await a1111.turn(200)
            assert interruptions(a1111) == 0
            await a1111.step(2)
            await a1111.idle()
            assert foreign.status == "done"
            assert a1111.interrupted == [a1111.jobs[1]]

    async def test_a_job_that_is_nearly_done_is_left_alone(self, a1111):
        """The order to stop could reach the next one."""
        a1111.hold()
        async with desk(a1111) as provider:
            task = drawing_of(provider, request())
            await a1111.held()
            told = {"active": True, "queued": False, "progress": 0.995}
            a1111.answer("POST", "/internal/progress", lambda asked: Response(json=told))
            task.cancel()
            await a1111.turn(200)
            a1111.release()
            await asyncio.wait([task])
            assert task.cancelled()
            assert a1111.jobs[0].status == "done"
            assert interruptions(a1111) == 0

    async def test_a_client_that_goes_while_its_job_is_on_its_way_and_asks_to_stop_twice(self, launch, complaints):
        fake = await launch(threads=1)  # one that answers holds up the others
        async with desk(fake) as provider:
            fake.hold(stubborn=True)
            task = drawing_of(provider, request())
            await eventually(lambda: bool(sent(fake)))
            task.cancel()
            await fake.turn()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            fake.release()
            await fake.idle()
        gc.collect()
        assert not complaints

    @pytest.mark.parametrize(("dialect", "options"), NAMELESS)
    async def test_without_task_ids_a_job_is_stopped_while_it_is_alone(self, dialect, options):
        async with FakeA1111(dialect, **options) as fake, desk(fake, concurrency=2) as provider:
            fake.hold()
            task = drawing_of(provider, request(first_of(fake)))
            await fake.held()
            foreign = await fake.foreign_job()
            await cancelled(task)
            assert fake.interrupted == [fake.jobs[0]]
            fake.release()
            await fake.idle()
            assert foreign.status == "done"

    @pytest.mark.parametrize(("dialect", "options"), NAMELESS)
    async def test_without_task_ids_a_job_that_may_be_another_is_left_to_run(self, dialect, options, hasty):
        async with FakeA1111(dialect, **options) as fake, desk(fake, concurrency=2) as provider:
            fake.hold()
            await fake.foreign_job()
            await fake.held()
            behind_another = drawing_of(provider, request(first_of(fake)))
            await fake.waiting()
            await cancelled(behind_another)
            await fake.turn(200)
            await fake.step(2)  # now it runs, and nobody can tell
            await fake.turn(200)
            fake.release()
            await fake.idle()
            await eventually(lambda: provider._connection._jobs.count == 0)
            fake.hold()
            first = drawing_of(provider, request(first_of(fake), seed=1))
            await fake.held()
            second = drawing_of(provider, request(first_of(fake), seed=2))
            await fake.waiting()
            await cancelled(first)
            await fake.turn(200)
            fake.release()
            assert len((await second).images) == 1
            await fake.idle()
            assert {job.status for job in fake.jobs} == {"done"}
            assert interruptions(fake) == 0

    async def test_the_cores_deadline_stops_a_job(self, a1111):
        a1111.hold()
        async with desk(a1111) as provider:
            deadline = asyncio.timeout(None)

            async def bounded():
                async with deadline:
                    await provider.generate(request(), Sink())

            task = asyncio.create_task(bounded())
            await a1111.held()
            deadline.reschedule(0)
            with pytest.raises(TimeoutError):
                await task
            assert a1111.interrupted == a1111.jobs


class TestClosing:
    async def test_jobs_that_run_are_stopped_and_say_why(self, a1111, complaints):
        a1111.hold()
        async with desk(a1111, concurrency=2) as provider:
            tasks = [drawing_of(provider, request(seed=seed)) for seed in (1, 2)]
            await a1111.held()
            await a1111.waiting()
            await provider.aclose()
            await provider.aclose()
            for task in tasks:
                with pytest.raises(ProviderUnavailableError, match="was closed"):
                    await task
            await a1111.idle()
            assert [job.status for job in a1111.jobs] == ["interrupted", "interrupted"]
        gc.collect()
        assert not complaints

    async def test_a_job_that_does_not_stop_is_left_behind(self, a1111, complaints, monkeypatch):
        monkeypatch.setattr(press, "CLOSE_SECONDS", 0.0)
        a1111.hold(stubborn=True)
        async with desk(a1111) as provider:
            task = drawing_of(provider, request())
            await a1111.held()
            await provider.aclose()
            with pytest.raises(ProviderUnavailableError, match="was closed"):
                await task
        await a1111.idle()
        gc.collect()
        assert not complaints


class TestSomebodyElse:
    @pytest.mark.parametrize("dialect", ["a1111", "sdnext"])
    @pytest.mark.parametrize("n", [1, 4])
    async def test_a_job_that_somebody_interrupts_can_be_drawn_elsewhere(self, dialect, n):
        async with FakeA1111(dialect) as fake, desk(fake) as provider:
            fake.hold()
            sink = Sink()
            task = drawing_of(provider, request(first_of(fake), n=n), sink)
            await fake.step(1 if n == 1 else 5)
            await sink.until(lambda seen: seen.step > 0)
            fake.interrupt()
            with pytest.raises(ProviderBusyError, match="interrupted"):
                await task
            fake.release()
            assert len((await provider.generate(request(first_of(fake), n=n), Sink())).images) == n

    async def test_one_that_somebody_skips_is_no_picture_either(self, a1111):
        async with desk(a1111) as provider:
            a1111.hold()
            sink = Sink()
            task = drawing_of(provider, request(first_of(a1111)), sink)
            await a1111.step(1)
            await sink.until(lambda seen: seen.step > 0)
            a1111.state.skipped = True
            a1111.release()
            with pytest.raises(ProviderBusyError, match="interrupted"):
                await task

    async def test_one_that_is_interrupted_while_it_loads_its_checkpoint_is_not_taken_for_a_failed_load(self, a1111):
        a1111.hold("load")
        async with desk(a1111) as provider:
            sink = Sink()
            task = drawing_of(provider, request("tinyB.safetensors"), sink)
            await sink.until(lambda seen: seen.stage == "load")
            a1111.interrupt()
            with pytest.raises(ProviderBusyError, match="interrupted"):
                await task
            assert len(a1111.jobs) == 1

    async def test_pictures_that_came_too_often_can_be_drawn_elsewhere(self, launch):
        fake = await launch("sdnext")
        async with desk(fake) as provider:
            fake.fail_next("429")
            with pytest.raises(ProviderBusyError):
                await provider.generate(request(first_of(fake)), Sink())


class TestLostAnswers:
    @pytest.mark.parametrize("stubborn", [False, True], ids=["stopped", "waited for"])
    async def test_a_job_whose_connection_was_cut_is_ended_before_it_is_drawn_again(self, a1111, stubborn):
        a1111.hold(stubborn=stubborn)
        async with desk(a1111) as provider:
            a1111.cut_next()
            task = drawing_of(provider, request())
            await a1111.step()
            await eventually(lambda: interruptions(a1111) == 1)
            await a1111.turn(200)
            if stubborn:
                assert len(a1111.jobs) == 1
            a1111.release()
            picture = (await task).images[0].data
            assert interruptions(a1111) == 1
            assert [job.status for job in a1111.jobs] == ["interrupted", "done"]
            assert len({body["seed"] for body in sent(a1111)}) == 1
            assert len({body["force_task_id"] for body in sent(a1111)}) == 2
            assert picture == await drawn(provider, request())

    async def test_a_job_that_died_is_said_to_run_for_ever_and_drawn_again_all_the_same(self, a1111):
        async with desk(a1111) as provider:
            a1111.cut_next(dies=True)
            assert len((await provider.generate(request(), Sink())).images) == 1
            assert [job.status for job in a1111.jobs] == ["failed", "done"]

    @pytest.mark.parametrize(("dialect", "options"), NAMELESS)
    async def test_without_task_ids_it_is_drawn_again_when_the_server_is_idle(self, dialect, options):
        async with FakeA1111(dialect, **options) as fake, desk(fake) as provider:
            fake.hold(stubborn=True)
            foreign = await fake.foreign_job()
            await fake.held()
            fake.cut_next()
            task = drawing_of(provider, request(first_of(fake)))
            await fake.waiting()
            await fake.step(3)
            await eventually(lambda: fake.jobs[1].lost)
            await fake.turn(200)
            assert len(fake.jobs) == 2
            fake.release()
            assert len((await task).images) == 1
            assert foreign.status == "done"
            assert [job.status for job in fake.jobs[1:]] == ["done", "done"]

    async def test_a_server_that_is_gone_is_said_to_be(self, a1111):
        a1111.hold()
        async with desk(a1111) as provider:
            task = drawing_of(provider, request())
            await a1111.held()
            await a1111.abort()
            with pytest.raises(ProviderUnavailableError, match="stopped while it was drawing"):
                await task
            await a1111.start()
            await provider.start()
            assert len((await provider.generate(request(), Sink())).images) == 1

    async def test_one_that_says_nothing_about_a_lost_job_is_asked_again_and_given_up(self, a1111):
        async with desk(a1111) as provider:
            a1111.hold()
            a1111.cut_next()
            a1111.answer("POST", "/internal/progress", lambda asked: Response(429, {}, b"{}"))
            task = drawing_of(provider, request())
            await a1111.step()
            with pytest.raises(ProviderBusyError):
                await task
            assert len(a1111.jobs) == 1

    async def test_a_job_that_a_proxy_does_not_wait_for_is_ended_before_the_next_may_come(self, a1111):
        def lose(asked):
            body = asked.json()
            a1111.start_job(Job(body["force_task_id"], "txt2img", body, {**a1111.defaults(), **body}))
            return Response(504, {}, b"<html>")

        a1111.hold()
        async with desk(a1111) as provider:
            a1111.answer("POST", "/sdapi/v1/txt2img", lose)
            with pytest.raises(ProviderTimeoutError):
                await provider.generate(request(), Sink())
            await a1111.idle()
            assert [job.status for job in a1111.jobs] == ["interrupted"]

    async def test_a_proxys_page_is_no_answer_of_the_server(self, a1111):
        async with desk(a1111) as provider:
            a1111.fail_next("html")
            with pytest.raises(ProviderUnavailableError, match="proxy"):
                await provider.generate(request(), Sink())
            assert len((await provider.generate(request(), Sink())).images) == 1


class TestSeeds:
    async def test_they_go_on_with_0_after_the_last_one(self, a1111):
        async with desk(a1111) as provider:
            sink = Sink()
            images = await provider.generate(request(seed=2**32 - 1, n=3), sink)
            jobs = [(body["seed"], body["n_iter"] * body["batch_size"]) for body in sent(a1111)]
            assert jobs == [(2**32 - 1, 1), (0, 2)]
            singles = [await drawn(provider, request(seed=seed)) for seed in (2**32 - 1, 0, 1)]
            assert [image.data for image in images.images] == singles
            places = [seen.image_index for seen in sink]
            assert places == sorted(places)
            assert places[-1] == 2

    async def test_as_many_are_drawn_at_once_as_divide_their_number(self, a1111):
        a1111.hold("question")
        async with desk(a1111, batch_size=4) as provider:
            sink = Sink()
            images = await provider.generate(request(n=6), sink)
            assert [(body["batch_size"], body["n_iter"]) for body in sent(a1111)] == [(3, 2)]
            assert images.images[5].data == await drawn(provider, request(seed=12))
            assert {seen.image_index for seen in sink if seen.stage == "render"} == {None}
            steps = [seen.step for seen in sink]
            assert steps == sorted(steps)
