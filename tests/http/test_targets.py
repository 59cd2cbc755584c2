"""What the configuration says about who goes first, who is for emergencies, and what nobody gets."""

import asyncio
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest

from imagerouter.errors import GenerationError
from imagerouter.routing import admission

FAKE = "{type: 'imagerouter.testing:FakeProvider'}"
GATED = "{type: 'imagerouter.testing:FakeProvider', gated: true}"
TWO = f"providers:\n  desk: {FAKE}\n  cloud: {FAKE}\n"
TIERS = "models: {fake: {targets: [{provider: cloud, order: 1}, {provider: desk}]}}\n"


async def provider(running: Any, **body: Any) -> str:
    reply = await running.draw(**body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["imagerouter"]["provider"])


def attempts(reply: Any) -> list[str]:
    return [attempt["provider"] for attempt in reply.json()["imagerouter"]["attempts"]]


async def overloaded(start: Any, text: str) -> tuple[Any, list[asyncio.Task[Any]]]:
    """A server whose `desk` is busy, with one more request that waits for it."""
    running = await start(f"providers:\n  desk: {GATED}\n  cloud: {FAKE}\n{text}")
    busy = [asyncio.create_task(running.draw(model="desk/fake")) for _ in range(2)]
    await running.fake("desk").held()
    await running.waiting()
    return running, busy


async def finish(running: Any, busy: list[asyncio.Task[Any]]) -> None:
    running.fake("desk").gated = False
    running.fake("desk").release()
    assert [reply.status_code for reply in await asyncio.gather(*busy)] == [200, 200]


# Order and weight


async def test_targets_of_a_higher_order_are_for_when_the_others_fail(start: Any) -> None:
    running = await start(TWO + TIERS)
    assert await provider(running) == "desk"
    running.fake("desk").fail_with(GenerationError("it burns"))
    assert attempts(await running.draw()) == ["desk", "cloud"]


async def test_they_are_for_when_the_others_are_down_or_cant_do_it(start: Any) -> None:
    running = await start(
        "providers:\n  desk: {type: 'imagerouter.testing:FakeProvider', operations: [edit]}\n"
        f"  cloud: {FAKE}\n{TIERS}"
    )  # fmt: skip
    assert await provider(running) == "cloud"


async def test_a_busy_target_of_the_first_order_is_waited_for(start: Any) -> None:
    running, busy = await overloaded(start, TIERS)
    request = asyncio.create_task(running.draw())
    await running.waiting(2)
    await finish(running, busy)
    assert attempts(await request) == ["desk"]
    assert running.fake("cloud").calls == []


async def test_when_the_queue_of_the_first_order_is_full_the_next_one_takes_over(start: Any) -> None:
    running, busy = await overloaded(start, TIERS + "limits: {queue: 1}\n")
    assert await provider(running) == "cloud"
    await finish(running, busy)


async def test_when_the_first_order_keeps_a_request_waiting_too_long_the_next_one_takes_over(start: Any) -> None:
    running, busy = await overloaded(start, TIERS)
    assert await provider(running, queue_timeout=0.05) == "cloud"
    await finish(running, busy)


async def test_when_every_order_is_overloaded_it_is_a_429_with_a_time_to_come_back(start: Any) -> None:
    running, busy = await overloaded(start, TIERS + "limits: {queue: 1}\n")
    running.fake("cloud").gated = True
    other = asyncio.create_task(running.draw(model="cloud/fake"))
    await running.fake("cloud").held()
    reply = await running.draw()
    assert (reply.status_code, reply.json()["error"]["code"]) == (429, "queue_full")
    assert int(reply.headers["retry-after"]) >= 1
    running.fake("cloud").release()
    await other
    await finish(running, busy)


async def test_when_a_model_is_overloaded_the_requests_next_model_takes_over(start: Any) -> None:
    here, there = (f"targets: [{{provider: {name}, model: fake}}]" for name in ("desk", "cloud"))
    more = f"models: {{here: {{{here}}}, there: {{{there}}}}}\nlimits: {{queue: 1}}\n"
    running, busy = await overloaded(start, more)
    told = (await running.draw(model="here", models=["there"])).json()["imagerouter"]
    assert (told["model"], told["provider"]) == ("there", "cloud")
    await finish(running, busy)


async def test_what_was_drawn_in_vain_is_not_asked_for_again_because_others_are_overloaded(start: Any) -> None:
    tiers = "models: {fake: {targets: [{provider: cloud}, {provider: desk, order: 1}]}}\n"
    running, busy = await overloaded(start, tiers)
    running.fake("cloud").fail_with(GenerationError("it burns"))
    reply = await running.draw(queue_timeout=0.1)
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "no_provider_available")
    assert "it burns" in reply.json()["error"]["message"]
    assert "retry-after" not in reply.headers
    await finish(running, busy)


async def test_a_weight_counts_as_speed(start: Any) -> None:
    running = await start(
        TWO + "models: {fake: {targets: [{provider: desk}, {provider: cloud, weight: 50}]}}\n"
    )  # fmt: skip
    for name in ("desk", "cloud"):
        for _ in range(40):
            running.engine.scheduler.costs.rendered(name, "fake", 0.016, 1.0)
        running.fake(name).resident = ["fake"]
        running.engine.scheduler.observe(name, frozenset({"fake"}))
    assert [await provider(running) for _ in range(3)] == ["cloud"] * 3


async def test_the_clients_order_outdoes_that_of_the_file(start: Any) -> None:
    running = await start(TWO + TIERS)
    assert await provider(running, provider={"order": ["cloud"]}) == "cloud"
    assert await provider(running, provider={"only": ["cloud"]}) == "cloud"
    assert await provider(running, model="cloud/fake") == "cloud"


# Rules


async def test_an_avoided_provider_is_for_when_no_other_can_serve(start: Any) -> None:
    running = await start(TWO + "rules: [{avoid: desk}]\n")
    assert [await provider(running) for _ in range(3)] == ["cloud"] * 3
    running.fake("cloud").fail_with(GenerationError("it burns"))
    assert attempts(await running.draw()) == ["cloud", "desk"]
    assert await provider(running, provider={"order": ["desk"]}) == "desk"


async def test_a_preferred_provider_goes_first_where_both_have_room(start: Any) -> None:
    running = await start(TWO + "rules: [{when: {n: {min: 2}}, prefer: cloud}, {prefer: desk}]\n")
    assert [await provider(running) for _ in range(3)] == ["desk"] * 3
    assert [await provider(running, n=2) for _ in range(3)] == ["cloud"] * 3
    assert await provider(running, provider={"order": ["cloud"]}) == "cloud"


async def test_a_client_does_not_get_around_what_a_rule_keeps_it_to(start: Any) -> None:
    running = await start(TWO + "rules: [{only: desk}]\n")
    for wishes in ({}, {"order": ["cloud"]}, {"sort": "price"}, {"ignore": ["imagerouter"]}):
        assert await provider(running, provider=wishes) == "desk"
    assert (await running.draw(model="cloud/fake")).status_code == 503
    assert (await running.draw(provider={"only": ["cloud"]})).status_code == 503
    assert running.fake("cloud").calls == []


async def test_a_denied_request_is_a_403_in_the_rules_own_words(start: Any) -> None:
    running = await start(TWO + "rules: [{when: {steps: {min: 100}}, deny: at most 99 steps for guests}]\n")
    assert await provider(running, steps=99)
    for wishes in ({}, {"order": ["desk"]}, {"only": ["desk"]}):
        reply = await running.draw(steps=100, provider=wishes)
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (403, "permission_denied")
        assert (error["type"], error["message"]) == ("permission_error", "at most 99 steps for guests")
    assert sum(len(running.fake(name).calls) for name in ("desk", "cloud")) == 1


async def test_what_a_rule_sets_wins_over_the_client_and_is_listed_as_ignored(start: Any) -> None:
    running = await start(TWO + "rules: [{only: desk, set: {steps: 6}}]\n")
    told = (await running.draw(steps=40, cfg_scale=2)).json()["imagerouter"]
    assert told["ignored"] == ["steps"]
    assert (told["applied"]["steps"], told["applied"]["cfg_scale"]) == (6, 2)
    assert (await running.draw(steps=6)).json()["imagerouter"]["ignored"] == []


async def test_a_strict_client_is_refused_what_a_rule_would_change(start: Any) -> None:
    running = await start(TWO + "rules: [{set: {steps: 6}}]\n")
    reply = await running.draw(steps=40, strict=True)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "steps")
    assert "fixed by the server's configuration" in reply.json()["error"]["message"]
    assert (await running.draw(steps=6, strict=True)).status_code == 200


async def test_rules_of_a_model_and_of_a_provider_hold_there_only(start: Any) -> None:
    running = await start(f"""
providers:
  desk: {{type: 'imagerouter.testing:FakeProvider', rules: [{{when: {{operation: edit}}, deny: no edits on the desk}}]}}
  cloud: {FAKE}
models:
  fake: {{}}
  portrait:
    targets: [{{provider: desk, model: fake}}]
    rules: [{{when: {{size: 64x*}}, set: {{cfg_scale: 3}}}}]
""")
    drawn = (await running.draw(size="64x96", model="portrait")).json()
    assert drawn["imagerouter"]["applied"]["cfg_scale"] == 3
    assert "cfg_scale" not in (await running.draw(size="64x96", model="fake")).json()["imagerouter"]["applied"]
    picture = f"data:image/png;base64,{drawn['data'][0]['b64_json']}"
    assert await provider(running, image=picture, model="fake") == "cloud"
    assert (await running.draw(image=picture, model="portrait")).status_code == 403


async def test_a_rule_may_depend_on_a_header_that_the_client_sends(start: Any) -> None:
    running = await start(TWO + "rules: [{when: {header: {X-Team: 'render*'}}, only: cloud}, {only: desk}]\n")
    for team, expected in (("render-farm", "cloud"), ("press", "desk")):
        body = {"prompt": "a fox"}
        reply = await running.http.post("/v1/images/generations", json=body, headers={"x-team": team})
        assert reply.json()["imagerouter"]["provider"] == expected


async def test_a_rule_may_depend_on_the_name_that_the_client_used(start: Any) -> None:
    running = await start(
        f"{TWO}models: {{fake: {{aliases: [dall-e-3, 'gpt-image-*']}}}}\n"
        "rules: [{when: {model: 'GPT-image-*'}, only: cloud}, {when: {model: dall-e-3}, only: desk}]\n"
    )
    assert await provider(running, model="gpt-image-1-mini") == "cloud"
    assert await provider(running, model="dall-e-3") == "desk"


async def test_a_rule_may_depend_on_the_time_of_day(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await start(TWO + "rules: [{when: {time: '22:00-06:00'}, only: cloud}, {only: desk}]\n")
    for hour, expected in ((23, "cloud"), (3, "cloud"), (12, "desk")):
        clock = SimpleNamespace(now=lambda time=datetime(2026, 3, 6, hour, 30): time)
        monkeypatch.setattr(admission, "datetime", clock)
        assert await provider(running) == expected
