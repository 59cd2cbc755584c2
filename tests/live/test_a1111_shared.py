"""imagerouter in front of a real server of AUTOMATIC1111's family that has an owner, and other people's jobs."""

import asyncio
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.live

LONG = {"steps": 100, "n": 10, "size": "192x192"}
"""Takes so long that nobody waits for its end."""
AT_ONCE = 40.0
"""Seconds, within which a job has stopped that was stopped."""


async def test_the_owners_settings_are_as_they_were_when_our_jobs_are_over(serve_webui, webui_url):
    async with serve_webui() as webui:
        await webui.tells_progress()
        before = await webui.settings()
        offered = await webui.offered()
        parameters = offered[webui.model]["supported_parameters"]
        changes = {"clip_skip": 2, "steps": 3}
        if "vae" in parameters:
            changes["vae"] = (await webui.listed("sd-vae", "sd-modules", key="model_name"))[0]
        for name in offered:
            await webui.draw(model=name, **changes)
        await webui.ask(sampler="no_such_sampler")
    async with httpx.AsyncClient(base_url=webui_url) as server:
        after = (await server.get("/sdapi/v1/options")).json()
    names = (before.keys() | after.keys()) - {"sd_checkpoint_hash"}
    assert not {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


async def test_no_checkpoint_is_swapped_needlessly(serve_webui):
    async with serve_webui() as webui:
        offered = await webui.offered()
        if len(offered) < 2:
            pytest.skip("the server has one checkpoint")
        first = await webui.loaded()
        other = next(name for name in offered if offered[name]["targets"][0]["model"] != first)
        loads = []
        for seed in range(3):
            loads.append((await webui.draw(model=other, seed=seed))["imagerouter"]["load_ms"])
            assert await webui.loaded() == offered[other]["targets"][0]["model"]
        assert loads[1:] == [0, 0]


async def test_no_file_is_written_into_the_servers_folders(webui):
    folder = Path(webui.outputs())
    before = files_in(folder)
    await webui.draw(n=2)
    await webui.draw(hires={"scale": 2, "steps": 1})
    assert files_in(folder) == before


async def test_a_client_that_goes_away_stops_its_own_job_and_no_other(webui):
    await webui.tells_progress()
    await webui.draw()
    await webui.until_idle()
    undisturbed = await webui.foreign(steps=40)
    asked = asyncio.create_task(webui.ask(**LONG))
    await webui.until_running()
    bystander = asyncio.create_task(webui.foreign(steps=40))
    await asyncio.sleep(0.5)
    asked.cancel()
    await asyncio.wait([asked])
    async with asyncio.timeout(AT_ONCE):
        assert await bystander == undisturbed
        await webui.until_idle()


async def test_a_client_that_goes_away_while_its_job_waits_stops_no_other(webui):
    await webui.tells_progress()
    await webui.draw()
    await webui.until_idle()
    undisturbed = await webui.foreign(steps=40)
    bystander = asyncio.create_task(webui.foreign(steps=40))
    await webui.until_running()
    asked = asyncio.create_task(webui.ask(**LONG))
    await asyncio.sleep(0.5)
    asked.cancel()
    await asyncio.wait([asked])
    assert await bystander == undisturbed
    if not await webui.names_jobs():
        return  # nobody can tell whether it is ours that runs now, so it is left to run
    async with asyncio.timeout(AT_ONCE):
        await webui.until_idle()


async def test_a_foreign_job_counts_as_load_and_delays_ours(webui):
    await webui.until_idle()
    alone = await webui.pictures()
    bystander = asyncio.create_task(webui.foreign(steps=40))
    await webui.until_running()
    if await webui.progress():
        assert (await webui.engine.fleet.members["desk"].provider.status()).running == 1
    assert await webui.pictures() == alone
    await bystander


async def test_fifty_requests_at_once_are_all_drawn(webui):
    answers = await asyncio.gather(*(webui.ask(seed=seed) for seed in range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["data"][0]["b64_json"] for answer in answers}) == 50
    assert [answer.json()["data"][0]["seed"] for answer in answers] == list(range(50))


async def test_a_server_that_is_killed_in_mid_job_is_told_in_plain_words_and_found_again(webui):
    kill, start = webui.command("KILL"), webui.command("START")
    asked = asyncio.create_task(webui.ask(**LONG))
    await webui.until_running()
    await webui.run(kill)
    async with asyncio.timeout(AT_ONCE):
        answer = await asked
    await webui.run(start)
    assert answer.status_code in (502, 503), answer.text
    assert "desk" in answer.json()["error"]["message"]
    async with asyncio.timeout(60):
        while not webui.engine.fleet.ready:
            await asyncio.sleep(0.1)
    await webui.draw()


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}
