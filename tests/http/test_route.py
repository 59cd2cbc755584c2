"""POST /v1/route: what a client is told of a request that it only thinks of."""

import asyncio
from typing import Any

import httpx
import pytest

from imagerouter.testing import make_image

FAKE = "type: 'imagerouter.testing:FakeProvider'"
TWO = f"""
providers:
  one: {{{FAKE}}}
  two: {{{FAKE}}}
"""
PICTURE = make_image(16, 16).b64.decode()


async def route(running: Any, **body: Any) -> dict[str, Any]:
    answer = await running.http.post("/v1/route", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def places(told: dict[str, Any]) -> list[str]:
    return [target["target"] for target in told["targets"]]


async def test_a_body_of_nothing_asks_for_the_default_model(running: Any) -> None:
    told = await route(running)
    (target,) = told.pop("targets")
    assert told == {
        "object": "route",
        "operation": "generate",
        "n": 1,
        "model": "fake",
        "asked": None,
        "default": True,
        "spread": [],
        "refusals": [],
        "missing": [],
        "fallbacks": [],
    }
    seconds = {name: target.pop(f"{name}_seconds") for name in ("queue", "load", "render", "total")}
    assert target == {
        "rank": 1,
        "tier": 1,
        "target": "fake/fake",
        "provider": "fake",
        "model": "fake",
        "resident": False,
        "parameters": {},
        "ignored": [],
        "rules": [],
    }
    assert seconds["queue"] == 0 < seconds["load"] < seconds["total"]
    assert running.fake().calls == []


async def test_the_parameters_are_those_that_would_be_sent(start: Any) -> None:
    running = await start(
        "models: {fox: {targets: [{provider: fake, model: fake, params: {steps: 8}}], aliases: [renard]}}"
    )
    body = {"size": "96x64", "num_inference_steps": 30, "vae": "x", "image": [PICTURE, PICTURE], "mask": PICTURE}
    told = await route(running, model="Renard", **body)
    assert (told["model"], told["asked"], told["operation"]) == ("fox", "Renard", "inpaint")
    assert told["targets"][0]["parameters"] == {"width": 96, "height": 64, "steps": 8, "images": 2, "mask": 1}
    assert told["targets"][0]["ignored"] == ["steps", "vae"]


async def test_who_has_the_model_loaded_comes_first_and_need_not_load_it(start: Any) -> None:
    running = await start(TWO.replace("}", ", load_seconds: 0.05}"))
    await running.draw(provider={"only": ["two"]})
    first, second = (await route(running))["targets"]
    assert (first["target"], first["resident"], first["load_seconds"]) == ("two/fake", True, 0)
    assert (second["target"], second["resident"], second["load_seconds"]) == ("one/fake", False, 0.05)


async def test_a_busy_provider_says_for_how_long(start: Any) -> None:
    running = await start(TWO)
    running.fake("one").gated = True
    drawing = [asyncio.create_task(running.draw(provider={"only": ["one"]}, steps=100, size="1024x1024"))]
    await running.fake("one").held()
    shorter = await route(running, provider={"only": ["one"]})
    drawing.append(asyncio.create_task(running.draw(provider={"only": ["one"]}, steps=100, size="1024x1024")))
    async with asyncio.timeout(10):
        while running.engine.scheduler.waiting < 1:
            await asyncio.sleep(0)
    longer = await route(running, provider={"only": ["one"]})
    assert 0 < shorter["targets"][0]["queue_seconds"] < longer["targets"][0]["queue_seconds"]
    assert places(await route(running))[0] == "two/fake"
    running.fake("one").gated = False
    running.fake("one").release()
    assert [answer.status_code for answer in await asyncio.gather(*drawing)] == [200, 200]


async def test_prices_are_those_of_the_whole_request(start: Any) -> None:
    running = await start(f"providers: {{free: {{{FAKE}}}, dear: {{{FAKE}, price: {{request: 0.5, megapixel: 2}}}}}}")
    told = await route(running, n=2, size="1000x500", provider={"sort": "price"})
    assert [target.get("price") for target in told["targets"]] == [None, 2.5]
    assert places(await route(running, model="fake:floor")) == ["free/fake", "dear/fake"]


KINDS: list[tuple[str, dict[str, Any], str, str | None]] = [
    ("", {"provider": {"only": ["two"]}}, "preference", "provider.only"),
    ("", {"provider": {"ignore": ["one"]}}, "preference", "provider.ignore"),
    ("price: 1", {"provider": {"max_price": {"image": 0.5}}}, "price", "provider.max_price"),
    ("operations: [generate]", {"image": PICTURE}, "operation", "images"),
    ("", {"steps": 160}, "parameter", "steps"),
    ("parameters: [steps]", {"strict": True, "cfg_scale": 3}, "strict", "cfg_scale"),
    ("rules: [{when: {steps: {min: 50}}, deny: 'no more than 49 steps'}]", {"steps": 50}, "denied", None),
]


@pytest.mark.parametrize(("keys", "body", "kind", "param"), KINDS, ids=[case[2] for case in KINDS])
async def test_a_refusal_says_why(start: Any, keys: str, body: Any, kind: str, param: str | None) -> None:
    other = "parameters: [width, height, images, steps]"
    running = await start(
        f"providers: {{one: {{{FAKE}, models: [A], {keys}}}, two: {{{FAKE}, models: [B], {other}}}}}\n"
        "models: {A: {targets: [{provider: one}, {provider: two, model: B}]}}"
    )
    told = await route(running, model="A", **body)
    refusals = {refusal["target"]: refusal for refusal in told["refusals"]}
    assert (refusals["one/A"]["kind"], refusals["one/A"]["param"]) == (kind, param)
    assert refusals["one/A"]["reason"]


async def test_who_is_away_is_refused_with_what_is_known_of_it(start: Any) -> None:
    running = await start(TWO + "limits: {retries: 0}")
    running.fake("one").down = "unplugged"
    assert (await running.draw(provider={"order": ["one"]})).status_code == 200
    told = await route(running)
    assert places(told) == ["two/fake"]
    (refusal,) = told["refusals"]
    assert (refusal["target"], refusal["kind"], refusal["param"]) == ("one/fake", "not_ready", None)
    assert "unplugged" in refusal["reason"]


async def test_what_a_rule_rules_out_is_said_and_which_rules_applied(start: Any) -> None:
    running = await start(TWO + "rules: [{name: big, when: {megapixels: {min: 1}}, only: two, set: {steps: 5}}]")
    told = await route(running, size="1024x1024", steps=20)
    assert places(told) == ["two/fake"]
    assert told["targets"][0]["rules"] == ["big"]
    assert told["targets"][0]["parameters"]["steps"] == 5
    assert [(refusal["target"], refusal["kind"]) for refusal in told["refusals"]] == [("one/fake", "rule")]
    assert [target["rules"] for target in (await route(running, size="64x64"))["targets"]] == [[], []]


async def test_what_is_avoided_comes_in_a_later_tier(start: Any) -> None:
    running = await start(TWO + "rules: [{avoid: one}]")
    told = await route(running)
    assert [(target["target"], target["tier"]) for target in told["targets"]] == [("two/fake", 1), ("one/fake", 2)]
    assert [target["rules"] for target in told["targets"]] == [["rules.0"], ["rules.0"]]


async def test_where_nothing_can_serve_it_the_error_is_the_one_of_drawing(start: Any) -> None:
    running = await start(TWO)
    for body in ({"steps": 160}, {"provider": {"only": ["nobody"]}}, {"strict": True, "loras": "ink"}):
        told, drawn = await route(running, **body), await running.draw(**body)
        error = drawn.json()["error"]
        assert told["would_answer"] == {
            "status": drawn.status_code,
            "code": error["code"],
            "param": error["param"],
            "message": error["message"],
        }
        assert (told["targets"], len(told["refusals"])) == ([], 2)


@pytest.mark.parametrize(
    "body", [{"steps": "many"}, {"model": "fkae"}, {"size": "1x"}, {"models": ["fake", "ghost"]}, {"prompt": ""}, []]
)
async def test_what_is_wrong_in_itself_is_refused_as_it_would_be_for_drawing(running: Any, body: Any) -> None:
    said = [
        await running.http.post(f"/v1/{path}", json=body and {"prompt": "a fox", **body})
        for path in ("route", "images/generations")
    ]
    assert said[0].status_code == said[1].status_code in (400, 404)
    assert said[0].json() == said[1].json()


async def test_each_fallback_model_is_told_in_its_turn(start: Any) -> None:
    running = await start(f"providers: {{one: {{{FAKE}, models: [A, B]}}}}")
    told = await route(running, model="A", models=["b", "A"])
    assert (told["model"], places(told)) == ("A", ["one/A"])
    assert [(each["asked"], each["model"], places(each)) for each in told["fallbacks"]] == [
        ("b", "B", ["one/B"]),
        ("A", "A", ["one/A"]),
    ]
    assert "would_answer" not in told


async def test_several_images_are_spread_as_the_answer_says(start: Any) -> None:
    running = await start(TWO)
    for name in ("one", "two"):
        await running.draw(provider={"only": [name]})
    told = await route(running, n=4, stream=True)
    assert sum(share["images"] for share in told["spread"]) == 4
    for name in ("one", "two"):
        running.fake(name).calls.clear()
    assert (await running.draw(n=4)).status_code == 200
    drawn = [request.n for name in ("one", "two") for request in running.fake(name).requests]
    assert sorted(drawn) == sorted(share["images"] for share in told["spread"])


async def test_it_stands_under_both_prefixes_and_in_the_documentation(running: Any) -> None:
    assert (await running.http.post("/route", json={})).status_code == 200
    document = (await running.http.get("/docs/openapi.json")).json()
    schema = document["paths"]["/v1/route"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/RouteBody"}
    assert "prompt" in document["components"]["schemas"]["RouteBody"]["properties"]
    assert document["components"]["schemas"]["RouteBody"]["required"] == []


async def test_nobody_asks_without_a_key_and_nobody_learns_one(start: Any) -> None:
    keys = "keys: {alice: {secret: s3cret-of-alice}}\nrules: [{when: {key: alice}, prefer: two}]"
    running = await start(TWO + keys)
    assert (await running.http.post("/v1/route", json={})).status_code == 401
    hers = {"authorization": "Bearer s3cret-of-alice"}
    answer: httpx.Response = await running.http.post("/v1/route", json={}, headers=hers)
    assert answer.json()["targets"][0]["target"] == "two/fake"
    assert "s3cret" not in answer.text


async def test_a_rule_for_a_name_holds_however_that_name_is_asked_for_and_for_no_other_one(start: Any) -> None:
    running = await start(
        f"providers: {{one: {{{FAKE}, models: [a, b]}}}}\nmodels: {{a: {{aliases: [short]}}}}\n"
        "rules: [{name: r, when: {model: short}, set: {steps: 2}}]\n"
    )
    for asked in ({"model": "short"}, {"model": "short:floor"}, {"models": ["short"]}):
        assert (await route(running, **asked))["targets"][0]["rules"] == ["r"], asked
    (fallback,) = (await route(running, model="short", models=["b"]))["fallbacks"]
    assert (fallback["model"], fallback["targets"][0]["rules"]) == ("b", [])
