"""Whatever one provider does, its peers go on and the client gets a picture or a clear error."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parent))

from defective import ANSWERS

from imagerouter.errors import ProviderUnavailableError


def fleet(mode: str, **extra: Any) -> str:
    more = "".join(f", {name}: {value}" for name, value in extra.items())
    return (
        f"providers:\n  bad: {{type: 'defective:Defective', mode: '{mode}'{more}}}\n"
        "  good: {type: 'imagerouter.testing:FakeProvider'}\n"
    )


@pytest.mark.parametrize("mode", [*ANSWERS, "is cancelled by itself", "exits"])
async def test_nonsense_from_a_provider_is_a_failed_attempt_and_the_next_one_draws(start: Any, mode: str) -> None:
    running = await start(fleet(mode))
    told = (await running.draw(provider={"order": ["bad", "good"]})).json()["imagerouter"]
    assert [(a["provider"], a["ok"]) for a in told["attempts"]] == [("bad", False), ("good", True)]
    alone = await running.draw(provider={"only": ["bad"]})
    assert alone.status_code == 502
    assert alone.json()["error"]["code"] in ("provider_bad_response", "generation_failed")


MODES = [
    "is cancelled at the start",
    "exits at the start",
    "has nameless models",
    "has models of no encoding",
    "has empty names",
    "has no status",
]


@pytest.mark.parametrize("mode", MODES)
async def test_a_provider_that_never_gets_ready_leaves_the_others_alone(start: Any, mode: str) -> None:
    running = await start(fleet(mode))
    assert (await running.draw()).json()["imagerouter"]["provider"] == "good"
    assert (await running.draw(model="nobody")).status_code == 404
    assert [model["id"] for model in (await running.http.get("/v1/models")).json()["data"]] == ["fake"]


@pytest.mark.parametrize("mode", ["has no extras", "has extras of no encoding", "hangs at its extras"])
async def test_a_provider_that_can_not_say_what_it_has_beside_models_draws(
    start: Any, monkeypatch: Any, mode: str
) -> None:
    monkeypatch.setattr("imagerouter.fleet.watch.EXTRAS_SECONDS", 0.05)
    running = await start(fleet(mode))
    assert (await running.draw(provider={"only": ["bad"]})).status_code == 200
    assert (await running.http.get("/sdapi/v1/loras")).json() == []


async def test_a_provider_that_hangs_at_the_start_is_given_up(start: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("imagerouter.fleet.watch.START_SECONDS", 0.05)
    running = await start(fleet("hangs at the start"))
    assert (await running.draw(model="nobody")).status_code == 404
    assert (await running.draw()).status_code == 200
    ready = (await running.http.get("/health/ready")).json()["providers"]["bad"]
    assert ready["detail"] == "does not answer"


async def test_a_cancellation_that_an_adapter_swallows_doesnt_draw_again_for_nobody(start: Any) -> None:
    running = await start(fleet("makes a failure of a cancellation", gated=True))
    request = asyncio.create_task(running.draw(provider={"order": ["bad"]}))
    await running.fake("bad").held()
    request.cancel()
    await running.fake("bad").until(lambda: bool(running.fake("bad").cancelled))
    assert (await running.draw(provider={"only": ["good"]})).status_code == 200
    assert len(running.fake("good").calls) == 1


async def test_fallback_models_are_tried_when_a_provider_goes_away_while_the_job_waits(start: Any) -> None:
    running = await start(
        "providers:\n  a: {type: 'imagerouter.testing:FakeProvider', models: [ma], gated: true}\n"
        "  b: {type: 'imagerouter.testing:FakeProvider', models: [mb]}\n"
    )
    first = asyncio.create_task(running.draw(model="ma"))
    await running.fake("a").held()
    waiting = asyncio.create_task(running.draw(model="ma", models=["mb"]))
    await running.waiting()
    target = running.engine.catalogue.resolve("ma").targets[0]
    running.fake("a").down = "unplugged"
    running.engine.fleet.failed(target, ProviderUnavailableError("gone"))
    assert (await waiting).json()["imagerouter"]["model"] == "mb"
    running.fake("a").release()
    await first


async def test_the_same_target_isnt_drawn_on_again_through_another_name(start: Any) -> None:
    running = await start("providers: {a: {type: 'imagerouter.testing:FakeProvider', fail: GenerationError}}\n")
    reply = await running.draw(model="fake", models=["a/fake", "FAKE"])
    assert reply.status_code == 502
    assert len(running.fake("a").calls) == 1


async def test_a_busy_provider_says_when_to_come_back(start: Any) -> None:
    running = await start("providers: {a: {type: 'imagerouter.testing:FakeProvider', fail: ProviderBusyError}}\n")
    reply = await running.draw()
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) > 0


async def test_the_default_model_stays_the_one_it_was(start: Any, monkeypatch: Any) -> None:
    running = await start(
        "providers:\n  a: {type: 'imagerouter.testing:FakeProvider', models: [ma], fail: ProviderUnavailableError,"
        " fail_on: start, fail_times: 1}\n"
        "  b: {type: 'imagerouter.testing:FakeProvider', models: [mb]}\n"
    )
    assert (await running.draw()).json()["imagerouter"]["model"] == "mb"
    while not running.engine.fleet.members["a"].ready:
        await asyncio.sleep(0.01)
    assert (await running.draw()).json()["imagerouter"]["model"] == "mb"
