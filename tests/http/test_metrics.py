"""What Prometheus reads at /metrics, after requests whose fate is known."""

import asyncio
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from imagerouter.errors import GenerationError, ProviderResponseError

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
PAIR = """
providers:
  desk: {type: 'imagerouter.testing:FakeProvider', models: [sdxl]}
  spare: {type: 'imagerouter.testing:FakeProvider', models: [sdxl], load_seconds: 0.001}
breaker: {failures: 1, cooldown: 300}
limits: {retries: 0}
"""
ORDER = {"order": ["desk", "spare"]}
OPENMETRICS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


class Scrape:
    """One answer of /metrics: ``scrape("running_jobs", provider="desk")`` is the value of exactly that series."""

    def __init__(self, text, read=read_text):
        self.families = list(read(text))
        self.series = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name, **labels):
        return self.series.get((f"imagerouter_{name}", frozenset(labels.items())))

    def all(self, name):
        """Every series of a name: label values, in the order of the labels, to the value."""
        return {
            tuple(value for _, value in sorted(labels)): value
            for (found, labels), value in self.series.items()
            if found == f"imagerouter_{name}"
        }


async def scraped(running):
    answer = await running.http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)


@pytest.fixture
async def busy(start):
    """A server after two good requests, an unknown model, a fallback, and a refused parameter."""
    running = await start(PAIR)
    desk = {"model": "sdxl", "provider": ORDER}
    assert (await running.draw(**desk)).status_code == 200
    assert (await running.draw(**desk, n=2)).status_code == 200
    assert (await running.draw(model="no-such-model")).status_code == 404
    running.fake("desk").fail_with(GenerationError("it broke"), times=1)
    assert (await running.draw(**desk)).headers["x-imagerouter-provider"] == "spare"
    assert (await running.draw(**desk, steps=151)).status_code == 400
    return running


async def test_each_request_is_counted_once_where_it_ended(busy):
    scrape = await scraped(busy)
    assert scrape.all("requests_total") == {  # code, model, provider
        ("ok", "sdxl", "desk"): 2,
        ("ok", "sdxl", "spare"): 1,
        ("model_not_found", "unknown", "none"): 1,
        ("invalid_value", "sdxl", "none"): 1,
    }
    assert scrape.all("images_total") == {("sdxl", "desk"): 3, ("sdxl", "spare"): 1}


async def test_attempts_tell_what_failed_and_what_needed_a_load(busy):
    scrape = await scraped(busy)
    assert scrape.all("attempts_total") == {  # code, cold, provider
        ("ok", "yes", "desk"): 1,
        ("ok", "no", "desk"): 1,
        ("generation_failed", "no", "desk"): 1,
        ("ok", "yes", "spare"): 1,
    }
    assert list(scrape.all("failed_attempts_seconds_total")) == [("desk",)]
    assert scrape("failed_attempts_seconds_total", provider="desk") > 0


async def test_each_target_that_a_request_ruled_out_is_a_refusal(busy):
    assert (await scraped(busy)).all("refusals_total")["parameter",] == 2


async def test_only_requests_that_got_pictures_are_timed(busy):
    scrape = await scraped(busy)
    for name in ("queue_seconds", "render_seconds"):
        assert scrape.all(f"{name}_count") == {("desk",): 2, ("spare",): 1}
    assert scrape("overhead_seconds_count") == 3
    assert scrape.all("load_seconds_count") == {("spare",): 1}  # on the desk it took no time
    assert 0 < scrape("overhead_seconds_sum") < 10


async def test_time_for_loading_is_counted_where_something_was_loaded(start):
    running = await start(PAIR.replace("desk: {", "desk: {load_seconds: 0.02, "))
    for _ in range(2):
        await running.draw(model="sdxl", provider=ORDER)
    scrape = await scraped(running)
    assert scrape("load_seconds_bucket", provider="desk", le="0.01") == 0
    assert scrape("load_seconds_bucket", provider="desk", le="0.025") == 1
    assert scrape("load_seconds_count", provider="desk") == 1
    assert scrape("expected_load_seconds", target="desk/sdxl") == pytest.approx(0.02, rel=0.1)
    assert scrape("expected_render_seconds", target="desk/sdxl") >= 0


async def test_gauges_show_the_moment(start):
    running = await start(PAIR)
    running.fake("desk").gated = True
    pinned = [running.sdk.images.generate(prompt="a fox", model="desk/sdxl") for _ in range(2)]
    tasks = [asyncio.ensure_future(request) for request in pinned]
    await running.fake("desk").held()
    while running.engine.scheduler.waiting < 1:
        await asyncio.sleep(0)
    scrape = await scraped(running)
    assert scrape("waiting_jobs") == 1
    assert scrape.all("running_jobs") == {("desk",): 1, ("spare",): 0}
    assert scrape.all("capacity_jobs") == {("desk",): 1, ("spare",): 1}
    assert scrape.all("foreign_jobs") == {("desk",): 0, ("spare",): 0}
    assert scrape.all("resident_model") == {("desk/sdxl",): 1}
    running.fake("desk").gated = False
    running.fake("desk").release()
    await asyncio.gather(*tasks)
    assert (await scraped(running))("running_jobs", provider="desk") == 0


async def test_the_state_of_breakers_is_shown(busy):
    scrape = await scraped(busy)
    assert scrape.all("provider_ready") == {("desk",): 1, ("spare",): 1}
    assert scrape.all("target_breaker_state") == {("open", "desk/sdxl"): 1}  # state, target
    assert {labels for labels, value in scrape.all("breaker_state").items() if value} == {
        ("desk", "closed"),
        ("spare", "closed"),
    }
    busy.fake("spare").fail_with(ProviderResponseError("no picture"), times=1)
    assert (await busy.draw(model="sdxl")).status_code == 502
    scrape = await scraped(busy)
    assert scrape("provider_ready", provider="spare") == 0
    assert [scrape("breaker_state", provider="spare", state=state) for state in ("closed", "open", "half_open")] == [
        0,
        1,
        0,
    ]


async def test_the_http_door_counts_by_route_and_status(busy):
    await busy.http.get("/v1/models/sdxl")
    await busy.http.get("/v1/models/no-such-model")
    await busy.http.get("/no/such/route")
    scrape = await scraped(busy)
    assert scrape.all("http_requests_total") == {  # method, path, status
        ("POST", "/v1/images/generations", "200"): 3,
        ("POST", "/v1/images/generations", "400"): 1,
        ("POST", "/v1/images/generations", "404"): 1,
        ("GET", "/v1/models/{model_id}", "200"): 1,
        ("GET", "/v1/models/{model_id}", "404"): 1,
    }
    assert scrape("http_request_seconds_count", path="/v1/images/generations") == 5


async def test_its_media_type_says_its_charset_once(busy):
    assert (await busy.http.get("/metrics")).headers["content-type"].count("charset") == 1


async def test_a_stream_is_counted_like_any_request(start):
    running = await start(PAIR)
    stream = await running.sdk.images.generate(prompt="a fox", model="sdxl", stream=True)
    assert [event.type async for event in stream][-1] == "image_generation.completed"
    scrape = await scraped(running)
    assert sum(scrape.all("requests_total").values()) == 1
    assert scrape("http_requests_total", method="POST", path="/v1/images/generations", status="200") == 1


async def test_nothing_that_a_client_wrote_becomes_a_label(busy):
    await busy.draw(model="sdxl", prompt="secret words", style="gothic", provider={"only": ["no-such-provider"]})
    await busy.http.get("/health/live", headers={"x-request-id": "id-of-mine", "host": "["})
    text = (await busy.http.get("/metrics")).text
    assert not re.search("secret|gothic|no-such|id-of-mine|a fox", text)


@pytest.mark.parametrize("asked", ["SDXL", "sdxl:floor", None])
async def test_a_model_is_counted_under_its_public_name_whatever_the_client_calls_it(start, asked):
    running = await start(PAIR)
    named = {} if asked is None else {"model": asked}
    await running.draw(**named)
    await running.draw(**named, steps=151)
    assert {model for _, model, _ in (await scraped(running)).all("requests_total")} == {"sdxl"}


async def test_servers_in_one_process_count_apart(start):
    one, other = await start(PAIR), await start(PAIR)
    await one.draw(model="sdxl")
    assert sum((await scraped(one)).all("requests_total").values()) == 1
    untouched = await scraped(other)
    assert untouched.all("requests_total") == untouched.all("resident_model") == {}
    assert ("POST", "/v1/images/generations", "200") not in untouched.all("http_requests_total")


async def test_names_of_models_may_hold_anything(start):
    name = 'Füchse "im" Schnee 狐\\n{le="1"}'
    running = await start(f"providers: {{desk: {{type: 'imagerouter.testing:FakeProvider', models: ['{name}']}}}}")
    [model] = (await running.http.get("/v1/models")).json()["data"]
    assert (await running.draw(model=model["id"])).status_code == 200
    for accept, read in (("text/plain", read_text), (OPENMETRICS, read_openmetrics)):
        scrape = Scrape((await running.http.get("/metrics", headers={"accept": accept})).text, read)
        assert scrape("requests_total", model=model["id"], provider="desk", code="ok") == 1
        assert scrape("resident_model", target=f"desk/{name}") == 1


async def test_a_resident_model_that_the_provider_does_not_list_is_left_out(start):
    running = await start(PAIR)
    running.engine.scheduler.observe("desk", frozenset({"sdxl", "other", "caf\udce9"}))
    assert (await scraped(running)).all("resident_model") == {("desk/sdxl",): 1}


async def test_prometheus_gets_the_format_that_it_asks_for(busy):
    answer = await busy.http.get("/metrics", headers={"accept": OPENMETRICS})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    scrape = Scrape(answer.text, read_openmetrics)
    assert scrape("requests_total", model="sdxl", provider="desk", code="ok") == 2
    assert not [name for name, _ in scrape.series if name.endswith("_created")]


async def test_where_the_server_has_keys_prometheus_needs_one(start):
    running = await start(PAIR + "keys: {prometheus: {secret: scrape-it-all}}\n")
    assert (await running.http.get("/metrics")).status_code == 401
    assert (await running.draw()).status_code == 401
    running.http.headers["authorization"] = "Bearer scrape-it-all"
    scrape = await scraped(running)
    assert scrape.all("http_requests_total") == {
        ("GET", "/metrics", "401"): 1,
        ("POST", "/v1/images/generations", "401"): 1,
    }
    assert scrape.all("requests_total") == {}


async def test_metrics_are_served_while_the_server_drains(running):
    running.server.app.state.draining = True
    assert (await running.draw()).status_code == 503
    assert (await scraped(running))("http_requests_total", method="POST", path="/v1/images/generations", status="503")


async def test_the_description_of_the_api_leaves_them_out(running):
    paths = (await running.http.get("/docs/openapi.json")).json()["paths"]
    assert "/v1/models" in paths
    assert "/metrics" not in paths


async def test_the_documentation_lists_exactly_the_metrics_that_there_are(busy):
    rows = re.findall(r"^\| `(imagerouter_\w+)` \| (\w+) \| (.*?) \|", DOCS, re.MULTILINE)
    documented = {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    families = [family for family in (await scraped(busy)).families if family.name.startswith("imagerouter_")]
    assert documented == {
        family.name + "_total" * (family.type == "counter"): (
            family.type,
            {name for sample in family.samples for name in sample.labels} - {"le"},
        )
        for family in families
    }
    assert len(rows) == len(families)
