"""OpenRouter's ``provider`` object, its model suffixes and its list of models, as far as they choose who draws."""

from typing import Any

import pytest

from imagerouter.errors import GenerationError

PRICED = """
providers:
  dear: {type: 'imagerouter.testing:FakeProvider', price: 0.05}
  fair: {type: 'imagerouter.testing:FakeProvider', price: 0.03}
  flat: {type: 'imagerouter.testing:FakeProvider', price: {request: 0.04}}
"""
NAMED = """
providers:
  one: {type: 'imagerouter.testing:FakeProvider', models: ['sdxl', 'flux:floor', 'qwen:8b'], price: 0.02}
  two: {type: 'imagerouter.testing:FakeProvider', models: ['sdxl', 'other'], price: 0.01}
"""
ONE_OUT = """
providers:
  here: {type: 'imagerouter.testing:FakeProvider', models: [small]}
  out: {type: 'imagerouter.testing:FakeProvider', models: [big], fail: ProviderUnavailableError, fail_on: start}
"""
LOST = """
providers:
  here: {type: 'imagerouter.testing:FakeProvider'}
  lost: {type: 'imagerouter.testing:FakeProvider'}
models: {m: {targets: [{provider: here, model: fake}, {provider: lost, model: gone}]}}
"""


@pytest.fixture
async def priced(start: Any) -> Any:
    return await start(PRICED)


async def provider(running: Any, **body: Any) -> str:
    reply = await running.draw(**body)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["imagerouter"]["provider"])


def learn(running: Any, **seconds: float) -> None:
    """What a picture took on each provider, often enough to be believed."""
    for name, each in seconds.items():
        for _ in range(40):
            running.engine.scheduler.costs.rendered(name, "fake", 0.016, each)
        load(running, name, "fake")


def load(running: Any, name: str, *models: str) -> None:
    """What is loaded there, also for the look at the provider that follows every job."""
    running.fake(name).resident = list(models)
    running.engine.scheduler.observe(name, frozenset(models))


# Sorting


async def test_the_cheapest_provider_goes_first(priced: Any) -> None:
    for sort in ("price", {"by": "price"}, {"by": "price", "partition": "model"}):
        assert await provider(priced, provider={"sort": sort}) == "fair"
        assert await provider(priced, n=2, provider={"sort": sort}) == "flat", "one price for both of them"


async def test_the_next_cheapest_takes_over_when_the_cheapest_fails(priced: Any) -> None:
    priced.fake("fair").fail_with(GenerationError("it burns"))
    told = (await priced.draw(provider={"sort": "price"})).json()["imagerouter"]
    assert [attempt["provider"] for attempt in told["attempts"]] == ["fair", "flat"]


async def test_the_one_that_is_done_soonest_goes_first(priced: Any) -> None:
    learn(priced, dear=1.0, fair=2.0, flat=3.0)
    assert await provider(priced, provider={"sort": "latency"}) == "dear"
    load(priced, "dear")
    assert await provider(priced, provider={"sort": "latency"}) == "fair", "the other one would load for long"


async def test_the_fastest_renderer_goes_first_even_if_it_has_to_load(priced: Any) -> None:
    learn(priced, dear=3.0, fair=1.0, flat=2.0)
    load(priced, "fair")
    assert await provider(priced, provider={"sort": "throughput"}) == "fair"


async def test_order_counts_before_sort(priced: Any) -> None:
    assert await provider(priced, provider={"order": ["dear"], "sort": "price"}) == "dear"


async def test_an_order_that_does_not_exist_is_the_clients_mistake(priced: Any) -> None:
    reply = await priced.draw(provider={"sort": "beauty"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "provider.sort")
    assert all(word in reply.json()["error"]["message"] for word in ("price", "latency", "throughput"))


# The most that it may cost


async def test_what_is_too_dear_is_left_out(priced: Any) -> None:
    assert await provider(priced, provider={"max_price": {"image": 0.03}, "ignore": ["flat"]}) == "fair"
    assert await provider(priced, n=2, provider={"max_price": {"request": 0.04}}) == "flat"


async def test_a_limit_that_leaves_nobody_is_the_clients_mistake_and_names_itself(priced: Any) -> None:
    reply = await priced.draw(provider={"max_price": {"request": 0.001}})
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "provider.max_price")
    assert "leaves no provider" in error["message"]


async def test_a_limit_that_makes_no_sense_is_refused_by_name(priced: Any) -> None:
    for wrong in (-1, "cheap", [1]):
        reply = await priced.draw(provider={"max_price": {"image": wrong}})
        assert reply.status_code == 400
        assert reply.json()["error"]["param"] == "provider.max_price.image"


async def test_a_limit_in_words_is_understood_as_openrouter_sends_it(priced: Any) -> None:
    told = (await priced.draw(provider={"max_price": {"image": 1, "prompt": 1, "completion": 2}})).json()
    assert {"provider.max_price.prompt", "provider.max_price.completion"} <= set(told["imagerouter"]["ignored"])


# Only, ignore, fallbacks


async def test_providers_are_chosen_by_type_too(start: Any) -> None:
    running = await start("providers: {one: {type: 'imagerouter.testing:FakeProvider'}}")
    assert await provider(running, provider={"only": ["imagerouter.testing:FakeProvider"]}) == "one"


async def test_without_fallbacks_a_failure_is_not_carried_on(priced: Any) -> None:
    priced.fake("fair").fail_with(GenerationError("it burns"))
    reply = await priced.draw(provider={"order": ["fair"], "allow_fallbacks": False})
    assert reply.status_code == 502
    assert not priced.fake("dear").calls
    assert not priced.fake("flat").calls


async def test_who_requires_parameters_is_sent_where_they_are_honoured(start: Any) -> None:
    running = await start("""
providers:
  plain: {type: 'imagerouter.testing:FakeProvider', parameters: [seed]}
  able: {type: 'imagerouter.testing:FakeProvider'}
""")
    wishes = {"order": ["plain"], "require_parameters": True}
    assert await provider(running, provider=wishes, cfg_scale=3) == "able"
    assert await provider(running, provider={"order": ["plain"]}, cfg_scale=3) == "plain"


# Names


@pytest.fixture
async def named(start: Any) -> Any:
    return await start(NAMED)


async def test_a_suffix_asks_for_the_cheapest_or_the_fastest(named: Any) -> None:
    for _ in range(40):
        named.engine.scheduler.costs.rendered("one", "sdxl", 0.016, 1.0)
        named.engine.scheduler.costs.rendered("two", "sdxl", 0.016, 9.0)
    assert await provider(named, model="sdxl:Floor") == "two"
    assert await provider(named, model="sdxl:nitro") == "one"
    assert await provider(named, model="sdxl:nitro", provider={"sort": "price"}) == "two", "said in so many words"


async def test_a_model_whose_name_has_a_colon_is_itself(named: Any) -> None:
    told = [(await named.draw(model=name)).json()["imagerouter"] for name in ("flux:floor", "qwen:8b", "qwen:8b:floor")]
    assert [each["model"] for each in told] == ["flux:floor", "qwen:8b", "qwen:8b"]


async def test_a_suffix_that_is_none_is_part_of_a_name_that_nobody_has(named: Any) -> None:
    for name in ("sdxl:fastest", ":floor", "nobody:floor"):
        reply = await named.draw(model=name)
        assert (reply.status_code, reply.json()["error"]["code"]) == (404, "model_not_found")


async def test_models_of_the_fallback_list_may_have_suffixes_too(named: Any) -> None:
    named.fake("one").fail_with(GenerationError("it burns"))
    told = (await named.draw(model="flux:floor", models=["qwen:8b:nitro", "sdxl:floor"])).json()["imagerouter"]
    assert (told["model"], told["provider"]) == ("sdxl", "two")
    assert [attempt["target"] for attempt in told["attempts"]] == ["flux:floor", "qwen:8b", "sdxl"]


async def test_a_fallback_list_alone_is_tried_in_its_order(named: Any) -> None:
    told = (await named.draw(models=["other", "sdxl"])).json()["imagerouter"]
    assert told["model"] == "other"
    named.fake("two").fail_with(GenerationError("it burns"))
    told = (await named.draw(models=["other", "sdxl"], provider={"order": ["two"]})).json()["imagerouter"]
    assert (told["model"], told["provider"]) == ("sdxl", "one")


async def test_a_model_of_the_list_whose_provider_is_out_does_not_keep_the_others_from_serving(start: Any) -> None:
    running = await start(ONE_OUT)
    for asked in ({"model": "small", "models": ["big"]}, {"model": "big", "models": ["small"]}):
        reply = await running.draw(**asked)
        assert (reply.status_code, reply.json()["imagerouter"]["model"]) == (200, "small")
    reply = await running.draw(model="big", models=["huge"])
    assert (reply.status_code, reply.json()["error"]["param"]) == (404, "model")


async def test_a_name_of_the_list_that_nobody_has_is_the_clients_mistake(named: Any) -> None:
    reply = await named.draw(model="sdxl", models=["other", "nobody"])
    assert (reply.status_code, reply.json()["error"]["param"]) == (404, "models")


async def test_who_asks_for_a_provider_that_has_lost_the_file_is_told_so(start: Any) -> None:
    running = await start(LOST)
    error = (await running.draw(model="m", provider={"only": ["lost"]})).json()["error"]
    assert "`lost` has no model `gone`" in error["message"]
