"""A real server's queue: jobs ahead of ours, removed, interrupted and stopped, by us and by others."""

import asyncio

import pytest
from tests.providers.comfyui.replay import (
    Sink,
    cancelled,
    desk,
    drawing_of,
    no_global_interrupt,
    queued,
    request,
    sent,
    submitted,
    submitted_by_now,
)
from tests.providers.comfyui.tapes import comfy_tape

from imagerouter import ProviderBusyError, ProviderError
from imagerouter.testing import Response

pytestmark = pytest.mark.usefixtures("impatient")

FIRST, SECOND, FRONT, HALF = range(4)
"""Our jobs on the tape: one that runs, one behind it, one that overtakes that, and one with a number of its own."""


class Queue:
    """What the server answers about its queue: others can be put into it, and taken out."""

    def __init__(self, tape):
        self.tape = tape
        self.order: list[int | str] = []
        tape.answers[("GET", "/api/jobs")] = self.answer

    def answer(self, asked):
        ours = [body["prompt_id"] for body in submitted(self.tape)]
        known = dict(enumerate(ours)) | {"a stranger": "a stranger"}
        jobs = [known[job] for job in self.order if job in known]
        return queued(*((job, "in_progress" if place == 0 else "pending") for place, job in enumerate(jobs)))


def lively(until="duplicate prompt_id"):
    """Four jobs of ours are submitted, and a stranger's is between them."""
    tape = comfy_tape("queue_and_cancel", section="client-chosen prompt_ids", until=until)
    return tape, Queue(tape)


async def four(tape, provider):
    """Our jobs, submitted one after the other."""
    sinks = [Sink() for _ in range(4)]
    tasks = []
    for count, sink in enumerate(sinks, 1):
        tasks.append(drawing_of(provider, sink))
        await submitted_by_now(tape, count)
    return tasks, sinks


async def stop(*tasks):
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def test_the_place_in_the_queue_is_told_as_the_server_orders_it():
    tape, queue = lively()
    queue.order = [FIRST, FRONT, HALF, SECOND, "a stranger"]
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, sinks = await four(tape, provider)
        for job, place in ((FRONT, 1), (HALF, 2), (SECOND, 3)):
            await sinks[job].until(lambda seen, place=place: seen.queue_position == place)
            assert sinks[job].stages == ["queue"]
        await sinks[FIRST].until(lambda seen: seen.stage == "render")
        await stop(*tasks)
        assert sorted(cancelled(tape)) == sorted(body["prompt_id"] for body in submitted(tape))
        assert tape.unanswered == []


async def test_a_stranger_s_jobs_count_as_load_and_ours_too():
    tape, queue = lively()
    queue.order = [FIRST, FRONT, HALF, SECOND, "a stranger"]
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, _ = await four(tape, provider)
        status = await provider.status()
        assert (status.ready, status.running, status.queued) == (True, 1, 4)
        await stop(*tasks)
        assert tape.unanswered == []


async def test_a_job_that_was_deleted_from_the_queue_ends_although_no_event_tells_so():
    tape, queue = lively(until="interrupt the running one")
    queue.order = [FIRST, FRONT, HALF, SECOND]
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, _ = await four(tape, provider)
        for _ in range(3):  # the same id again, an interruption that misses, and the deletion
            tape.pass_gate()
        await tape.end()
        queue.order = [FIRST, FRONT, HALF]
        with pytest.raises(ProviderError, match="somebody has removed the job"):
            await tasks[SECOND]
        assert not any(tasks[job].done() for job in (FIRST, FRONT, HALF))
        await stop(tasks[FIRST], tasks[FRONT], tasks[HALF])
        assert no_global_interrupt(tape)
        assert tape.unanswered == []


async def test_somebody_interrupts_one_job_by_its_id_and_the_next_one_begins():
    tape, queue = lively(until="POST /api/jobs/{id}/cancel")
    queue.order = [FIRST, FRONT, HALF, SECOND]
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, sinks = await four(tape, provider)
        for _ in range(4):
            tape.pass_gate()
        with pytest.raises(ProviderBusyError, match="interrupted") as raised:
            await tasks[FIRST]
        assert raised.value.fallback
        await sinks[FRONT].until(lambda seen: seen.stage == "render")
        assert not any(tasks[job].done() for job in (SECOND, FRONT, HALF))
        await stop(*(tasks[job] for job in (SECOND, FRONT, HALF)))
        assert submitted(tape)[FIRST]["prompt_id"] not in cancelled(tape)
        assert no_global_interrupt(tape)
        assert tape.unanswered == []


async def test_a_request_that_is_cancelled_stops_its_own_job_and_the_next_one_begins():
    tape, queue = lively(until="global interrupt")
    queue.order = [FIRST, FRONT, HALF, SECOND]
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, sinks = await four(tape, provider)
        ids = [body["prompt_id"] for body in submitted(tape)]
        for _ in range(4):  # up to the interruption of the first job
            tape.pass_gate()
        await sinks[FRONT].until(lambda seen: seen.stage == "render")
        await stop(tasks[FRONT])
        assert tasks[FRONT].cancelled()
        assert cancelled(tape) == [ids[FRONT]]
        await sinks[HALF].until(lambda seen: seen.stage == "render")
        for _ in range(4):  # ids that aren't there any more, all that are left, and what is no id
            tape.pass_gate()
        with pytest.raises(ProviderBusyError, match="interrupted"):
            await tasks[HALF]
        queue.order = []
        with pytest.raises(ProviderError, match="removed"):
            await tasks[SECOND]
        assert set(cancelled(tape)) <= {ids[FRONT], ids[SECOND]}
        assert no_global_interrupt(tape)
        assert tape.unanswered == []
        await asyncio.wait(tasks)
        assert isinstance(tasks[FIRST].exception(), ProviderBusyError)


async def test_without_the_atomic_route_only_the_running_job_is_interrupted_and_by_its_id():
    tape, _ = lively(until="POST /api/jobs/{id}/cancel")
    missing = Response(status=404, json={"error": "not found"})
    tape.answers |= {("GET", "/api/jobs"): missing, ("POST", "/api/jobs/*/cancel"): missing}
    async with tape, desk(tape, concurrency=4) as provider:
        tasks, sinks = await four(tape, provider)
        await sinks[FIRST].until(lambda seen: seen.stage == "render")
        ids = [body["prompt_id"] for body in submitted(tape)]
        await stop(tasks[FIRST])
        await stop(tasks[SECOND])
        assert sent(tape, "POST", "/interrupt") == [{"prompt_id": ids[FIRST]}]
        assert sent(tape, "POST", "/queue") == [{"delete": [ids[SECOND]]}]
        await stop(tasks[FRONT], tasks[HALF])
        assert tape.unanswered == []


async def test_an_interruption_that_hit_nothing_does_not_hit_the_next_job():
    async with comfy_tape("queue_and_cancel", section="stale interrupt") as tape, desk(tape) as provider:
        sink = Sink()
        assert len((await provider.generate(request(), sink)).images) == 1
        assert sink.counted[-1][0] == sink.counted[-1][1]
        assert tape.unanswered == []


async def test_a_queue_that_is_cleared_and_an_interruption_of_whatever_runs_end_our_jobs():
    tape = comfy_tape("queue_and_cancel", section="queue clear")
    queue = Queue(tape)
    queue.order = [0, 1]
    async with tape, desk(tape, concurrency=2) as provider:
        running = drawing_of(provider, Sink())
        await submitted_by_now(tape, 1)
        waiting = drawing_of(provider, Sink())
        await submitted_by_now(tape, 2)
        queue.order = []
        for _ in range(2):  # the queue is cleared, then the running job interrupted
            tape.pass_gate()
        with pytest.raises(ProviderBusyError, match="interrupted"):
            await running
        with pytest.raises(ProviderError, match="removed"):
            await waiting
        assert submitted(tape)[0]["prompt_id"] not in cancelled(tape)
        assert no_global_interrupt(tape)
        assert tape.unanswered == []


class TestInterruptedWhileLoading:
    """No node looks up while a checkpoint is loaded: the interruption hits the next one."""

    section = "interrupt while a checkpoint is loading"

    async def test_by_us(self):
        async with comfy_tape("two_clients", section=self.section) as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model="tiny_c.safetensors")
            await sink.until(lambda seen: seen.stage == "load")
            await stop(task)
            assert task.cancelled()
            assert cancelled(tape) == [submitted(tape)[0]["prompt_id"]]
            await tape.end()
            assert sent(tape, "POST", "/interrupt") == []
            assert tape.unanswered == []

    async def test_by_somebody_else(self):
        async with comfy_tape("two_clients", section=self.section) as tape, desk(tape) as provider:
            sink = Sink()
            task = drawing_of(provider, sink, model="tiny_c.safetensors")
            await sink.until(lambda seen: seen.stage == "load")
            tape.pass_gate()
            with pytest.raises(ProviderBusyError, match="interrupted"):
                await task
            assert sink.counted == []
            assert cancelled(tape) == []
            assert tape.unanswered == []


async def test_what_another_client_s_job_does_is_not_told_to_ours():
    tape = comfy_tape("two_clients", section="two clients", sockets=["A"])
    Queue(tape).order = [0, "a stranger"]
    async with tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(steps=1), sink)
        await tape.end()
        assert len(drawn.images) == 1
        assert sink.counted == [(1, 1)]
        assert [one.query["filename"] for one in tape.requests if one.path == "/view"] == ["rec_00061_.png"]
        assert tape.unanswered == []


async def test_a_terminated_server_is_not_ready():
    async with comfy_tape("two_clients", section="SIGTERM") as tape:
        async with desk(tape) as provider:
            await tape.end()
            await tape.server.abort()
            with pytest.raises(ProviderError):
                await provider.status()
            with pytest.raises(ProviderError):
                await provider.generate(request(), Sink())
        assert submitted(tape) == []
