"""Jobs that run and wait at real servers: how far they are, and how they are stopped.

A request is answered when its picture is there. Where a tape has questions in between, its answers are told one after
the other, as often as they are asked.
"""

import asyncio
import base64

import pytest
from tests.providers.a1111.replay import (
    Sink,
    desk,
    drawing_of,
    hurry,
    interruptions,
    jobs,
    jobs_by_now,
    recorded,
    request,
    sent,
    stopped,
)
from tests.providers.a1111.tapes import Family, family_tape, lines, usual_answers

from imagerouter import ModelNotFoundError, ProviderBusyError, ProviderResponseError
from imagerouter.metadata import stripped
from imagerouter.testing import Tape

SDA = "Diffusers/tiny/sdA"
LARGE = {"width": 128, "height": 128}


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    hurry(monkeypatch)


def concurrent(section, server="a1111", **options):
    return family_tape(f"{server}/concurrency", section=section, **options)


def file_of(images):
    return images.images[0].data


async def cancelled(task):
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


class TestTwoAtTheSameTime:
    section = "two at the same time"

    async def test_each_is_told_of_its_own_steps_and_gets_its_own_picture(self):
        async with concurrent(self.section) as tape, desk(tape) as provider:
            first, second = Sink(), Sink()
            one = drawing_of(provider, first, steps=20, **LARGE)
            await jobs_by_now(tape, 1)
            other = drawing_of(provider, second, steps=20, **LARGE)
            pictures = [file_of(images) for images in await asyncio.gather(one, other)]
            whole = [recorded("a1111/concurrency", self.section, number)[0] for number in (0, 1)]
            assert pictures == [stripped(base64.b64decode(picture)) for picture in whole]
            assert first.steps == [15, 20]
            assert second.steps == [5, 19, 20]
            assert interruptions(tape) == 0
            assert tape.unanswered == []

    async def test_a_task_that_failed_long_ago_does_not_stand_before_it(self):
        """The server lists it among those that wait for ever: it said "2/2"."""
        async with concurrent(self.section) as tape, desk(tape) as provider:
            await provider.status()
            sink = Sink()
            one = drawing_of(provider, Sink(), steps=20, **LARGE)
            await jobs_by_now(tape, 1)
            other = drawing_of(provider, sink, steps=20, **LARGE)
            await asyncio.gather(one, other)
            places = [seen.queue_position for seen in sink if seen.stage == "queue"]
            assert set(places) == {1}
            assert tape.unanswered == []

    async def test_ids_of_tasks_are_new_for_each_job(self):
        async with concurrent(self.section) as tape, desk(tape) as provider:
            await asyncio.gather(*(drawing_of(provider, Sink(), steps=20, **LARGE) for _ in range(2)))
            ids = [body["force_task_id"] for body in jobs(tape)]
            assert len(set(ids)) == 2
            asked = {body["id_task"] for body in sent(tape, "POST", "/internal/progress")}
            assert asked == set(ids)
            assert not any(body["live_preview"] for body in sent(tape, "POST", "/internal/progress"))


class TestInterruptions:
    async def test_a_running_job_is_stopped_and_the_one_behind_it_drawn(self):
        section = "interrupted while another one waits"
        async with concurrent(section) as tape, desk(tape) as provider:
            sink = Sink()
            one = drawing_of(provider, sink, steps=60, **LARGE)
            await jobs_by_now(tape, 1)
            other = drawing_of(provider, Sink(), steps=4, **LARGE)
            await jobs_by_now(tape, 2)
            await sink.until(lambda seen: seen.step > 0)
            await cancelled(one)
            picture = recorded("a1111/concurrency", section, 1)[0]
            assert file_of(await other) == stripped(base64.b64decode(picture))
            assert interruptions(tape) >= 1
            assert tape.unanswered == []

    async def test_a_job_that_waits_is_not_stopped_before_it_runs(self):
        """The order would reach the one that does. Left alone, both came to their ends on the tape."""
        async with concurrent("left while running and while waiting") as tape, desk(tape) as provider:
            tape.answers[("POST", "/sdapi/v1/interrupt")] = {}
            sink = Sink()
            one = drawing_of(provider, Sink(), steps=60, **LARGE)
            await jobs_by_now(tape, 1)
            other = drawing_of(provider, sink, steps=60, **LARGE)
            await sink.until(lambda seen: seen.stage == "queue")
            other.cancel()
            assert len((await one).images) == 1
            await asyncio.wait([other])
            assert stopped(tape)[-1] == jobs(tape)[1]["force_task_id"]
            assert tape.unanswered == []

    async def test_fewer_pictures_than_asked_for_are_an_error(self):
        """Somebody else has pressed the button: success, and two of four pictures."""
        section = "interrupted after two of four"
        script = [line for line in lines("a1111/concurrency", section) if line.get("path") != "/sdapi/v1/interrupt"]
        async with Tape(script, Family(), answers=usual_answers("a1111")) as tape, desk(tape) as provider:
            with pytest.raises(ProviderResponseError, match="2 images instead of 4"):
                await provider.generate(request(steps=40, n=4, **LARGE), Sink())
            assert interruptions(tape) == 0
            assert tape.unanswered == []

    async def test_a_job_that_was_interrupted_by_somebody_is_not_delivered(self):
        """Its answer looks like any other; only the state tells."""
        section = "interrupted after two of four"
        script = [line for line in lines("a1111/concurrency", section) if line.get("path") != "/sdapi/v1/interrupt"]
        state = next(line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/progress")
        interrupted = {("GET", "/sdapi/v1/progress"): state | {"state": state["state"] | {"interrupted": True}}}
        answers = usual_answers("a1111") | interrupted
        async with Tape(script, Family(), answers=answers) as tape, desk(tape) as provider:
            with pytest.raises(ProviderBusyError, match="interrupted"):
                await provider.generate(request(steps=40, n=2, **LARGE), Sink())
            assert tape.unanswered == []

    async def test_our_own_interruption_stops_what_is_left_of_several(self):
        async with concurrent("interrupted after two of four") as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, steps=40, n=4, **LARGE)
            await sink.until(lambda seen: seen.step > 0)
            await cancelled(task)
            assert set(stopped(tape)) == {jobs(tape)[0]["force_task_id"]}
            assert tape.finished
            assert tape.unanswered == []

    async def test_a_skipped_picture_of_several_comes_all_the_same(self):
        async with concurrent("skipped one of three") as tape, desk(tape) as provider:
            drawn = await provider.generate(request(n=3, **LARGE), Sink())
            assert len(drawn.images) == 3
            assert tape.unanswered == []


class TestTasksThatFailed:
    async def test_one_that_stays_active_for_ever_keeps_nobody_waiting(self):
        section = "unknown refiner"
        script = lines("a1111/errors", section) + lines("a1111/errors", "the task that failed")
        async with Tape(script, Family(), answers=usual_answers("a1111")) as tape, desk(tape) as provider:
            with pytest.raises(ModelNotFoundError):
                await provider.generate(request(), Sink())
            status = await provider.status()
            assert (status.running, status.queued) == (0, 0)
            assert interruptions(tape) == 0

    async def test_one_that_failed_before_it_began_counts_for_nothing(self):
        tape = family_tape("a1111/errors", section="a task that failed before it began")
        async with tape, desk(tape) as provider:
            status = await provider.status()
            assert (status.running, status.queued) == (0, 0)
            assert tape.unanswered == []


class TestSdnext:
    """It knows no ids: a job is ours as long as we are alone."""

    async def test_steps_are_told_and_a_running_job_is_stopped(self):
        async with concurrent("interrupted", "sdnext") as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model=SDA, steps=300, **LARGE)
            await sink.until(lambda seen: seen.step > 0)
            assert sink.steps[-1] == 45
            await cancelled(task)
            assert interruptions(tape) >= 1
            assert tape.finished
            assert tape.unanswered == []

    async def test_steps_count_up_to_the_last_one(self):
        async with concurrent("left while running", "sdnext") as tape, desk(tape) as provider:
            sink = Sink()
            drawn = await provider.generate(request(model=SDA, steps=150, **LARGE), sink)
            assert len(drawn.images) == 1
            assert sink.steps == [48, 72, 94, 123, 150]
            assert tape.unanswered == []

    async def test_two_at_the_same_time_are_not_told_apart_and_so_never_stopped(self):
        async with concurrent("two at the same time", "sdnext") as tape, desk(tape) as provider:
            one = drawing_of(provider, Sink(), model=SDA, steps=20, **LARGE)
            await jobs_by_now(tape, 1)
            other = drawing_of(provider, Sink(), model=SDA, steps=20, **LARGE)
            await jobs_by_now(tape, 2)
            other.cancel()
            assert len((await one).images) == 1
            await asyncio.wait([other])
            assert interruptions(tape) == 0
            assert tape.unanswered == []
