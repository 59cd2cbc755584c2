"""One request for several images is spread over idle providers that have its model loaded."""

import asyncio
from typing import Any

import pytest

from imagerouter.errors import GenerationError, InvalidParameterError
from imagerouter.scheduling.costs import Costs
from imagerouter.types import ImageRequest

FAKE = "{type: 'imagerouter.testing:FakeProvider'}"
STREAMED = "image_generation."


class Known(Costs):
    """Every image takes a second wherever it is drawn."""

    def render(self, provider: str, model: str, work: float, jobs: int = 1) -> float:
        return 1.0 * work


def fleet(*names: str, **settings: str) -> str:
    lines = (f"  {name}: {settings.get(name, FAKE)}\n" for name in names)
    return "providers:\n" + "".join(lines) + settings.get("more", "")


def having(settings: str) -> str:
    return "{type: 'imagerouter.testing:FakeProvider', " + settings + "}"


@pytest.fixture
def warm(start: Any) -> Any:
    """A server whose providers have their model loaded, all but those that ``cold`` names."""

    async def _warm(text: str, cold: tuple[str, ...] = ()) -> Any:
        running = await start(text)
        names = [name for name in running.engine.fleet.members if name not in cold]
        for name in names:
            fake = running.fake(name)
            gated, fake.gated = fake.gated, False
            assert (await running.draw(model=f"{name}/{fake.config.models[0]}")).status_code == 200
            fake.calls.clear()
            fake.gated = gated
        running.engine.scheduler.costs = Known()
        return running

    return _warm


@pytest.fixture
async def two(warm: Any) -> Any:
    return await warm(fleet("a", "b"))


def parts(running: Any) -> dict[str, int]:
    """Images by the provider that was asked for them."""
    asked = {name: sum(request.n for request in running.fake(name).requests) for name in running.engine.fleet.members}
    return {name: images for name, images in asked.items() if images}


def pictures(answer: dict[str, Any]) -> list[tuple[int, str]]:
    return [(image["seed"], image["b64_json"]) for image in answer["data"]]


async def stream(running: Any, **body: Any) -> list[Any]:
    events = await running.sdk.images.generate(prompt="a fox", stream=True, extra_body=body)
    return [event async for event in events]


# Where the images go


async def test_the_pictures_are_those_of_one_provider_in_the_same_order(two: Any) -> None:
    spread = (await two.draw(n=5, seed=2**32 - 2)).json()
    assert sum(parts(two).values()) == 5
    assert len(parts(two)) == 2
    alone = (await two.draw(n=5, seed=2**32 - 2, provider={"only": ["a"]})).json()
    assert pictures(spread) == pictures(alone)
    assert [image["seed"] for image in spread["data"]] == [2**32 - 2, 2**32 - 1, 0, 1, 2]


async def test_equal_providers_draw_equally_many_at_the_same_time(warm: Any) -> None:
    running = await warm(fleet("a", "b", a=having("gated: true"), b=having("gated: true")))
    request = asyncio.create_task(running.draw(n=4))
    for name in ("a", "b"):
        (part,) = await running.fake(name).held()
        assert part.n == 2
    for name in ("a", "b"):
        running.fake(name).release()
    assert len((await request).json()["data"]) == 4


async def test_a_faster_provider_draws_more_by_what_was_learned(two: Any) -> None:
    two.engine.scheduler.costs = costs = Costs()
    for _ in range(60):
        costs.rendered("a", "fake", 0.016, 5.0)
        costs.rendered("b", "fake", 0.016, 2.0)
    await two.draw(n=4)
    assert parts(two) == {"a": 1, "b": 3}


async def test_a_provider_with_room_for_two_jobs_draws_two_parts(warm: Any) -> None:
    running = await warm(fleet("a", a=having("concurrency: 2")))
    await running.draw(n=4)
    assert [request.n for request in running.fake("a").requests] == [2, 2]


async def test_a_single_image_goes_to_one_provider(two: Any) -> None:
    told = (await two.draw()).json()["imagerouter"]
    assert list(parts(two).values()) == [1]
    assert "images" not in told["attempts"][0]


async def test_the_answer_tells_who_drew_which_images(two: Any) -> None:
    told = (await two.draw(n=4)).json()["imagerouter"]
    by_images = {tuple(attempt["images"]): attempt["provider"] for attempt in told["attempts"]}
    assert sorted(by_images) == [(0, 1), (2, 3)]
    assert sorted(by_images.values()) == ["a", "b"]
    assert all(attempt["ok"] for attempt in told["attempts"])
    assert told["provider"] == by_images[0, 1]


async def test_what_any_part_ignored_is_told(two: Any) -> None:
    assert (await two.draw(n=2, vae="x")).json()["imagerouter"]["ignored"] == ["vae"]


async def test_who_says_where_it_wants_its_pictures_gets_them_from_one_place(two: Any) -> None:
    for wishes in ({"order": ["a"]}, {"order": ["b", "a"]}, {"only": ["a"]}, {"ignore": ["b"]}):
        told = (await two.draw(n=4, provider=wishes)).json()["imagerouter"]
        assert len(told["attempts"]) == 1
        assert told["provider"] == wishes.get("order", ["a"])[0]


async def test_who_sorts_by_price_gets_all_of_it_at_the_cheapest(warm: Any) -> None:
    running = await warm(fleet("a", "b", a=having("price: 0.05"), b=having("price: 0.01")))
    await running.draw(n=4, provider={"sort": "price"})
    assert parts(running) == {"b": 4}


async def test_what_a_rule_prefers_is_not_spread(warm: Any) -> None:
    running = await warm(fleet("a", "b", more="rules: [{prefer: b}]\n"))
    await running.draw(n=4)
    assert parts(running) == {"b": 4}


async def test_a_price_for_each_request_is_paid_once(warm: Any) -> None:
    running = await warm(fleet("a", "b", a=having("price: {request: 0.04}"), b=having("price: {request: 0.04}")))
    reply = await running.draw(n=4, provider={"max_price": {"request": 0.05}})
    assert reply.status_code == 200
    assert [*parts(running).values()] == [4]


async def test_targets_of_a_later_tier_get_no_share(warm: Any) -> None:
    more = "models: {fox: {targets: [{provider: a, model: fake}, {provider: b, model: fake, order: 1}]}}\n"
    running = await warm(fleet("a", "b", more=more))
    await running.draw(n=4, model="fox")
    assert parts(running) == {"a": 4}


async def test_the_configuration_can_keep_requests_in_one_piece(warm: Any) -> None:
    running = await warm(fleet("a", "b", more="limits: {fan_out: false}\n"))
    await running.draw(n=4)
    assert list(parts(running).values()) == [4]


async def test_a_provider_that_would_have_to_load_the_model_gets_no_share(warm: Any) -> None:
    running = await warm(fleet("a", "b", "c"), cold=("c",))
    await running.draw(n=6)
    assert parts(running) == {"a": 3, "b": 3}
    assert running.fake("c").loads == []


async def test_a_provider_that_somebody_else_uses_gets_no_share(two: Any) -> None:
    theirs = asyncio.create_task(_draw_directly(two.fake("b")))
    await two.fake("b").held()
    two.engine.fleet.members["b"].wake.set()
    while not two.engine.scheduler.slots["b"].foreign:
        await asyncio.sleep(0.001)
    await two.draw(n=4)
    assert parts(two) == {"a": 4, "b": 1}, "theirs is the one on b"
    two.fake("b").release()
    await theirs


async def _draw_directly(provider: Any) -> None:
    provider.gated = True
    await provider.generate(ImageRequest(prompt="theirs", model="fake", seed=1), lambda _: None)


async def test_nothing_is_spread_while_others_wait(warm: Any) -> None:
    running = await warm(fleet("a", "b", "c", c=having("gated: true")))
    first, second = (asyncio.create_task(running.draw(provider={"only": ["c"]})) for _ in range(2))
    await running.fake("c").held()
    await running.waiting()
    await running.draw(n=4)
    asked = parts(running)
    assert sorted(asked.get(name, 0) for name in ("a", "b")) == [0, 4]
    running.fake("c").gated = False
    running.fake("c").release()
    assert [reply.status_code for reply in await asyncio.gather(first, second)] == [200, 200]


# Streams


async def test_each_image_of_a_stream_has_its_own_previews_and_picture(two: Any) -> None:
    events = await stream(two, n=2, seed=40, partial_images=1, steps=8)
    assert parts(two) == {"a": 1, "b": 1}
    assert [(event.image_index, event.seed) for event in events[-2:]] == [(0, 40), (1, 41)]
    shown = {event.image_index: event.b64_json for event in events if event.type == STREAMED + "partial_image"}
    for index in (0, 1):
        alone = await stream(two, seed=40 + index, partial_images=1, steps=8)
        assert shown[index] == alone[0].b64_json
        assert events[index - 2].b64_json == alone[-1].b64_json


async def test_progress_is_about_the_image_that_it_has_in_the_whole(two: Any) -> None:
    events = await stream(two, n=2, stream_progress=True, steps=3)
    heard = [event for event in events if event.type == STREAMED + "progress" and event.provider]
    assert {event.image_index for event in heard} == {0, 1}
    for name in ("a", "b"):
        own = [event for event in heard if event.provider == name]
        assert len({event.image_index for event in own}) == 1
        assert [event.step for event in own if event.stage == "render"] == [1, 2, 3]


async def test_images_that_a_provider_draws_one_by_one_keep_their_numbers(warm: Any) -> None:
    running = await warm(fleet("a", "b", a=having("batched: false"), b=having("batched: false")))
    events = await stream(running, n=4, seed=7, partial_images=1, steps=4)
    shown = [event.image_index for event in events if event.type == STREAMED + "partial_image"]
    assert sorted(shown) == [0, 1, 2, 3]
    assert [event.seed for event in events if event.type == STREAMED + "completed"] == [7, 8, 9, 10]


# When something fails


async def test_a_part_that_fails_goes_elsewhere_by_itself_with_its_seeds(two: Any) -> None:
    two.fake("b").fail_with(GenerationError("it burns"))
    reply = (await two.draw(n=4, seed=11)).json()
    lost = next(request.seed - 11 for request in two.fake("b").requests)
    attempts = [(a["provider"], a["ok"], a["images"]) for a in reply["imagerouter"]["attempts"]]
    assert sorted(attempts) == sorted(
        [("a", True, [0, 1]), ("a", True, [2, 3]), ("b", False, [lost, lost + 1])]
    )  # fmt: skip
    failed = next(a for a in reply["imagerouter"]["attempts"] if not a["ok"])
    assert (failed["code"], failed["reason"]) == ("generation_failed", "it burns")
    two.fake("b").fail_with(GenerationError(""), times=0)
    assert pictures(reply) == pictures((await two.draw(n=4, seed=11, provider={"only": ["a"]})).json())


async def test_a_part_that_fails_for_good_is_the_end_of_the_request_and_of_its_other_parts(two: Any) -> None:
    two.fake("a").gated = True
    two.fake("b").fail_with(InvalidParameterError("such a prompt is too much", param="prompt"))
    reply = await two.draw(n=2)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")
    assert len(two.fake("a").cancelled) == 1
    assert two.engine.scheduler.running == two.engine.scheduler.waiting == 0


async def test_when_every_provider_fails_no_part_is_sent_on_twice_to_one_of_them(two: Any) -> None:
    for name in ("a", "b"):
        two.fake(name).fail_with(GenerationError("it burns"))
    reply = await two.draw(n=2)
    assert reply.status_code in (502, 503)
    attempts = [(a["provider"], tuple(a["images"])) for a in reply.json()["error"]["attempts"]]
    assert len(attempts) == len(set(attempts))
    assert not any(a["ok"] for a in reply.json()["error"]["attempts"])


async def test_a_fallback_model_gets_the_whole_request_anew(warm: Any) -> None:
    running = await warm(
        fleet("a", "b", "c", c=having("models: [other]"))
        + "models: {fox: {targets: [{provider: a, model: fake}, {provider: b, model: fake}]}}\n"
    )
    for name in ("a", "b"):
        running.fake(name).fail_with(GenerationError("it burns"))
    reply = (await running.draw(n=2, seed=3, model="fox", models=["other"])).json()
    assert reply["imagerouter"]["model"] == "other"
    assert [image["seed"] for image in reply["data"]] == [3, 4]
    assert [request.n for request in running.fake("c").requests] == [2]


async def test_a_client_that_hangs_up_cancels_all_parts(two: Any) -> None:
    for name in ("a", "b"):
        two.fake(name).gated = True
    request = asyncio.create_task(two.draw(n=4))
    for name in ("a", "b"):
        await two.fake(name).held()
    request.cancel()
    for fake in (two.fake("a"), two.fake("b")):
        while fake.running:
            await asyncio.sleep(0.001)
        assert fake.outcomes == ["cancelled"]
        fake.gated = False
    assert (await two.draw(n=2)).status_code == 200


async def test_a_deadline_ends_all_parts_and_tells_of_those_that_were_done(warm: Any) -> None:
    running = await warm(fleet("a", "b", b=having("gated: true"), more="limits: {total_timeout: 0.4}\n"))
    reply = await running.draw(n=2)
    assert reply.status_code == 504
    attempts = [(a["provider"], a.get("code"), a["images"]) for a in reply.json()["error"]["attempts"]]
    assert sorted(attempts) == [("a", None, attempts[0][2]), ("b", "cancelled", attempts[1][2])]
    assert attempts[0][2] != attempts[1][2]
    assert len(running.fake("b").cancelled) == 1
