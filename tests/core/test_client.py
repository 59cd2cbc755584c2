"""The engine without a server, awaited: what goes in, what comes out, and what stops the work."""

import asyncio
import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from tests.core.clients import Watched, png, watched

from imagerouter import AsyncClient, Client, Hires, Lora
from imagerouter.client import CompletedEvent, Parameters, PartialImageEvent, ProgressEvent
from imagerouter.config.loader import load_data
from imagerouter.errors import (
    ConfigError,
    InvalidParameterError,
    InvalidRequestError,
    ModelNotFoundError,
    UnknownParameterError,
)
from imagerouter.openai.body import FIELDS

FAKE = {"providers": {"desk": {"type": "imagerouter.testing:FakeProvider", "models": ["alpha", "beta"]}}}
APART = "prompt images mask partial_images stream_progress".split()
"""Parameters that the methods name themselves."""
SERVERS = "stream response_format user safety_identifier moderation".split()
"""Those that say something to servers only."""


async def test_a_result_is_its_pictures_and_tells_how_they_came_about() -> None:
    price = {"desk": {**FAKE["providers"]["desk"], "price": {"image": 0.01}}}
    async with AsyncClient({"providers": price}) as client:
        result = await client.generate("a fox", model="beta", n=3, seed=7, steps=2, size="80x48", loras=[Lora("ink")])
    assert [picture.seed for picture in result] == [7, 8, 9]
    assert (len(result), len({picture.b64 for picture in result})) == (3, 3)
    first = result[0]
    assert base64.b64decode(first.b64) == first.data
    assert (first.media_type, first.size, first.pil().size) == ("image/png", (80, 48), (80, 48))
    assert (result.model, result.provider, result.ignored) == ("beta", "desk", ("loras",))
    assert result.cost == pytest.approx(0.03)
    assert result.applied["steps"] == result.report["applied"]["steps"] == 2
    assert [attempt["ok"] for attempt in result.report["attempts"]] == [True]


def closed() -> BytesIO:
    file = BytesIO(png())
    file.close()
    return file


@pytest.mark.parametrize(
    ("parameters", "param", "words"),
    [
        ({"steps": "many"}, "steps", "must be an integer of at least 1"),
        ({"num_inference_steps": 0}, "num_inference_steps", "sent as `num_inference_steps`"),
        ({"cfg_scale": float("nan")}, "cfg_scale", "holds what no JSON can"),
        ({"seed": 2**70}, "seed", "must be at most"),
        ({"style": b"vivid"}, "style", "holds what no JSON can"),
        ({"style": "\ud800"}, None, "half a character"),
        ({"images": 3}, "images", "must be a picture"),
        ({"images": [png(), object()]}, "images[1]", "must be a picture"),
        ({"images": "photo.png"}, "images", "a file is given as a `pathlib.Path`"),
        ({"images": ["C:\\photos\\fox"]}, "images[0]", "a file is given as a `pathlib.Path`"),
        ({"images": Pillow.new("1", (10_000, 10_000))}, "images", "more than 89 megapixels"),
        ({"images": BytesIO()}, "images", "nothing more to read"),
        ({"images": closed()}, "images", "the file can't be read: i/o operation on closed file"),
        ({"images": Path("no/such.png")}, "images", "the file can't be read: no such file"),
        ({"images": b"nothing"}, "images[0]", "isn't a picture that can be read"),
        ({"images": "http://10.0.0.1/x.png"}, "images[0]", "not fetched from"),
        ({"mask": png()}, "mask", "needs an input picture"),
        ({"stream": True}, "stream", "method `stream`"),
    ],
)
async def test_what_is_wrong_is_told_as_over_http(parameters: dict[str, Any], param: str | None, words: str) -> None:
    async with AsyncClient(FAKE) as client:
        with pytest.raises(InvalidRequestError) as caught:
            await client.generate("a fox", **parameters)
        assert (caught.value.param, words in caught.value.message) == (param, True), caught.value.message


async def test_strictness_and_models_count_as_over_http() -> None:
    async with AsyncClient(FAKE) as client:
        with pytest.raises(UnknownParameterError, match="did you mean `steps`"):
            await client.generate("a fox", strict=True, stepz=3)
        with pytest.raises(ModelNotFoundError, match="did you mean `alpha`"):
            await client.generate("a fox", model="alhpa")
        with pytest.raises(InvalidParameterError, match="prompt"):
            await client.generate("")


async def test_structs_tuples_and_numpys_kin_are_taken_for_what_they_hold() -> None:
    class Scalar:
        def item(self) -> int:
            return 9

    parameters = {"seed": Scalar(), "loras": (Lora("ink", 0.5), "pen"), "hires": Hires(scale=1.5), "models": ("alpha",)}
    async with AsyncClient(FAKE) as client:
        result = await client.generate("a fox", **parameters)
    assert (result[0].seed, result.ignored) == (9, ("hires", "loras"))


def test_the_typed_parameters_are_those_of_a_body() -> None:
    assert {*Parameters.__annotations__} == FIELDS - {*APART, *SERVERS}


async def test_a_stream_has_previews_progress_and_the_pictures_of_the_same_call() -> None:
    async with AsyncClient(FAKE) as client:
        events = [event async for event in client.stream("a fox", n=2, seed=7, partial_images=1)]
        alone = await client.generate("a fox", n=2, seed=7)
        quiet = [event async for event in client.stream("a fox", stream_progress=False)]
    previews = [event for event in events if isinstance(event, PartialImageEvent)]
    assert [(event.image_index, event.partial_image_index, event.picture.size) for event in previews] == [
        (0, 0, (16, 16))
    ]
    steps = [event.step for event in events if isinstance(event, ProgressEvent) and event.stage == "render"]
    assert steps == [1, 2, 3, 4]
    done = [event for event in events if isinstance(event, CompletedEvent)]
    assert events[-2:] == done
    assert [(event.image_index, event.picture.data) for event in done] == [(0, alone[0].data), (1, alone[1].data)]
    assert done[0].result is done[1].result
    assert [type(event) for event in quiet] == [CompletedEvent]


async def test_models_and_routes_are_told_as_by_a_server() -> None:
    async with AsyncClient(FAKE) as client:
        assert [model["id"] for model in await client.models()] == ["alpha", "beta"]
        told = await client.route(model="beta", images=[png()], steps=9)
    assert (told["operation"], [target["target"] for target in told["targets"]]) == ("edit", ["desk/beta"])
    assert told["targets"][0]["parameters"] == {"steps": 9, "images": 1}


@pytest.mark.parametrize("form", ["text", "path", "config", "found"])
async def test_a_configuration_is_a_file_a_mapping_or_what_a_server_would_find(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "imagerouter.yaml"
    path.write_text('providers: {shelf: {type: "imagerouter.testing:FakeProvider"}}')
    given = {"text": str(path), "path": path, "config": load_data(FAKE), "found": None}[form]
    async with AsyncClient(given) as client:
        assert (await client.generate("a fox")).provider == ("desk" if form == "config" else "shelf")


async def test_a_wrong_configuration_names_each_problem() -> None:
    wrong = {"providers": {"desk": {"type": "imagerouter.testing:FakeProvider", "stepz": 3}}, "limits": {"queue": 0}}
    client = AsyncClient(wrong)
    with pytest.raises(ConfigError) as caught:
        await client.generate("a fox")
    limits, desk = caught.value.problems
    assert limits == "configuration: limits.queue: must be at least 1, not `0`"
    assert desk == "configuration: providers.desk.stepz: unknown key; did you mean `steps`?"


def test_what_is_no_configuration_is_refused_at_once() -> None:
    for given in ([], 3, object):
        with pytest.raises(TypeError, match="the path of a file, what such a file would say as a mapping"):
            Client(given)  # type: ignore[arg-type]


async def test_a_path_in_a_mapping_is_a_text_and_nothing_in_it_is_a_variable() -> None:
    config = load_data({**FAKE, "results": {"url": Path("/kept")}, "keys": {"me": {"secret": "${env.NONE}!"}}})
    assert (config.results.url, config.keys["me"].secret) == ("/kept", "${env.NONE}!")


async def test_the_providers_start_with_the_first_call_and_once() -> None:
    client = AsyncClient(watched())
    assert Watched.made == []
    await asyncio.gather(*(client.generate("a fox") for _ in range(3)))
    await client.aclose()
    await client.aclose()
    (desk,) = Watched.made
    assert (desk.started, desk.closed) == (1, 1)
    with pytest.raises(RuntimeError, match="closed"):
        await client.generate("a fox")


async def test_a_first_call_that_is_cancelled_leaves_the_client_usable() -> None:
    client = AsyncClient(watched())
    first = asyncio.create_task(client.generate("a fox"))
    await asyncio.sleep(0)
    first.cancel()
    assert len(await client.generate("a fox")) == 1
    await client.aclose()


async def test_a_first_call_that_is_cancelled_at_any_time_leaves_no_provider_running() -> None:
    for ticks in range(12):
        config = watched()
        client = AsyncClient(config)
        first = asyncio.create_task(client.models())
        while not Watched.made:
            await asyncio.sleep(0)
        for _ in range(ticks):
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        await client.aclose()
        assert [desk.closed for desk in Watched.made] == [1], ticks


async def test_a_with_that_is_cancelled_before_its_first_line_leaves_no_provider_running() -> None:
    async def enter() -> None:
        async with AsyncClient(watched()):
            raise AssertionError

    entering = asyncio.create_task(enter())
    while not Watched.made:
        await asyncio.sleep(0)
    entering.cancel()
    await asyncio.wait([entering])
    assert (entering.cancelled(), Watched.made[0].closed) == (True, 1)


async def test_closing_while_the_providers_start_ends_who_waits_for_them() -> None:
    client = AsyncClient(watched())
    waiting = asyncio.create_task(client.generate("a fox"))
    await asyncio.sleep(0)
    await client.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await waiting


async def _generate(client: AsyncClient) -> Any:
    return await client.generate("a fox")


async def _stream(client: AsyncClient) -> Any:
    return [event async for event in client.stream("a fox")]


@pytest.mark.parametrize("call", [_generate, _stream])
async def test_cancelling_a_call_cancels_the_work_on_the_backend(call: Callable[[AsyncClient], Any]) -> None:
    async with AsyncClient(watched(gated=True)) as client:
        work = asyncio.create_task(call(client))
        while not Watched.made:
            await asyncio.sleep(0)
        (desk,) = Watched.made
        await desk.held()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert desk.outcomes == ["cancelled"]
        desk.gated = False
        assert len(await client.generate("a fox")) == 1


@pytest.mark.parametrize("call", [_generate, _stream])
async def test_closing_ends_what_is_being_drawn(call: Callable[[AsyncClient], Any]) -> None:
    async with AsyncClient(watched(gated=True)) as client:
        work = asyncio.create_task(call(client))
        await Watched.made[0].held()
    with pytest.raises(RuntimeError, match="closed"):
        await work
    assert (Watched.made[0].outcomes, Watched.made[0].closed) == (["cancelled"], 1)


async def test_leaving_a_stream_stops_the_work() -> None:
    async with AsyncClient(watched(gated=True)) as client:
        events = client.stream("a fox")
        await anext(events)
        await events.aclose()
        assert Watched.made[0].outcomes == ["cancelled"]


def test_an_async_client_stays_in_its_event_loop() -> None:
    client = AsyncClient(FAKE)
    with asyncio.Runner() as one, asyncio.Runner() as other:
        one.run(client.generate("a fox"))
        with pytest.raises(RuntimeError, match="event loop of its first call"):
            other.run(client.generate("a fox"))
        one.run(client.aclose())


async def test_a_model_of_a_provider_that_fails_is_an_error_with_its_attempts() -> None:
    async with AsyncClient(watched(fail="GenerationError")) as client:
        with pytest.raises(Exception, match="told to fail") as caught:
            await client.generate("a fox")
    assert [attempt.provider for attempt in caught.value.attempts] == ["desk"]
