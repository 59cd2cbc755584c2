"""The stand-in's queue, interruptions and ends, as the real servers have them."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime

import httpx
import pytest
import pytest_asyncio
from tests.providers.a1111.fake_client import CAT, TXT2IMG, asking, draw, info


@pytest_asyncio.fixture
async def ask(launch):
    async with asking(launch) as start:
        yield start


async def test_an_interrupted_job_answers_200_with_fewer_pictures(ask):
    fake, client = await ask()
    fake.hold()
    request = asyncio.create_task(draw(client, n_iter=4, force_task_id="mine"))
    await fake.step(4)
    told = (await client.post("/internal/progress", json={"id_task": "mine"})).json()
    assert (told["active"], told["progress"]) == (True, pytest.approx((1 + 1 / 3) / 4))
    assert (await client.post("/sdapi/v1/interrupt")).json() == {}
    drawn = await request
    assert len(drawn["images"]) == 2
    assert len(info(drawn)["all_seeds"]) == 4
    assert [job.id for job in fake.interrupted] == ["mine"]


async def test_jobs_wait_for_the_owners_and_an_interruption_hits_whichever_runs(ask):
    fake, client = await ask()
    fake.hold()
    foreign = await fake.foreign_job()
    request = asyncio.create_task(draw(client, force_task_id="mine"))
    await fake.waiting()
    told = (await client.post("/internal/progress", json={"id_task": "mine"})).json()
    assert (told["queued"], told["textinfo"]) == (True, "In queue: 1/1")
    await client.post("/sdapi/v1/interrupt")
    fake.release()
    assert len((await request)["images"]) == 1
    assert fake.interrupted == [foreign]


async def test_a_job_interrupted_while_it_loads_has_no_pictures(ask):
    fake, client = await ask()
    fake.hold("load")
    request = asyncio.create_task(draw(client, override_settings={"sd_model_checkpoint": "tinyB"}))
    await fake.held()
    assert (await client.get("/sdapi/v1/progress")).json()["state"]["job_count"] == -1
    fake.interrupt()
    assert (await request)["images"] == []


async def test_a_stubborn_job_notices_an_interruption_only_when_it_is_let_go(ask):
    fake, client = await ask()
    fake.hold(stubborn=True)
    request = asyncio.create_task(draw(client))
    await fake.held()
    fake.interrupt()
    await fake.turn()
    assert not request.done()
    fake.release()
    await request
    assert fake.jobs[0].steps_done == 0


async def test_a_job_outlives_its_connection_and_dies_with_the_server(ask):
    fake, client = await ask()
    fake.cut_next()
    with pytest.raises(httpx.TransportError):
        await draw(client)
    await fake.idle()
    assert fake.jobs[0].status == "done"
    fake.hold()
    request = asyncio.create_task(draw(client))
    await fake.held()
    await fake.abort()
    with pytest.raises(httpx.TransportError):
        await request
    await fake.start()
    assert (await client.get("/sdapi/v1/progress")).json()["state"]["job"] == ""


async def test_sd_next_throws_away_what_comes_too_often(ask):
    fake, client = await ask("sdnext")
    fake.rate_limit = 5
    await draw(client)
    answer = await client.post(TXT2IMG, json=CAT)
    assert (answer.status_code, answer.json()["code"]) == (429, 429)
    assert [job.status for job in fake.jobs] == ["done", "done"]


async def test_sd_next_keeps_a_history_by_the_clock_of_its_answers(ask):
    fake, client = await ask("sdnext")
    await fake.foreign_job()
    await fake.idle()
    before = parsedate_to_datetime((await client.get("/sdapi/v1/version")).headers["date"]).timestamp()
    await draw(client)
    rows = (await client.get("/sdapi/v1/history")).json()
    begun = [row["job"] for row in rows if row["op"] == "begin" and row["timestamp"] >= before]
    assert begun == ["api-txt", "process", "base"]
    assert list(rows[0]) == ["id", "job", "op", "timestamp", "duration", "outputs"]
    assert rows[0]["job"] == "text"


async def test_a_job_of_stable_diffusion_cpp_can_be_cancelled_only_while_it_waits(ask):
    fake, client = await ask("sdcpp")
    fake.hold()
    first, second = [(await client.post("/sdcpp/v1/img_gen", json={"prompt": "a"})).json()["id"] for _ in range(2)]
    await fake.held()
    assert (await client.post(f"/sdcpp/v1/jobs/{first}/cancel")).status_code == 409
    assert (await client.get(f"/sdcpp/v1/jobs/{second}")).json()["queue_position"] == 1
    assert (await client.post(f"/sdcpp/v1/jobs/{second}/cancel")).json()["status"] == "cancelled"
    fake.release()
    await fake.idle()
    job = (await client.get(f"/sdcpp/v1/jobs/{first}")).json()
    assert (job["status"], len(job["result"]["images"])) == ("completed", 1)


async def test_a_job_can_be_paced_by_questions(ask):
    fake, client = await ask()
    fake.hold("question")
    request = asyncio.create_task(draw(client))
    await fake.until(lambda: fake.running_job is not None)
    for _ in range(CAT["steps"]):
        assert not request.done()
        await client.get("/sdapi/v1/progress")
        await fake.turn()
    await request
