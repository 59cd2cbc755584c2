"""OpenRouter's images API, as its own Python SDK speaks and reads it."""

import base64
import json
from io import BytesIO
from typing import Any

import httpx
import pytest
from openrouter import OpenRouter, components, errors
from PIL import Image as Pillow
from tests.http.test_edits import file

from imagerouter.errors import GenerationError

NAMES = ["sdxl", "black-forest-labs/flux.1 dev", "a/b/c/deep.safetensors"]
FLEET = f"""
providers:
  desk:
    type: 'imagerouter.testing:FakeProvider'
    models: {json.dumps(NAMES)}
    price: {{request: 0.5, image: 0.01, megapixel: 0.02}}
    width: 1000
    height: 500
  attic: {{type: 'imagerouter.testing:FakeProvider', models: [sdxl], parameters: [images, mask, steps], width: 64}}
"""


UNUSED = httpx.Client(verify=False)
"""Spares each test the certificates that nobody asks for."""


def client(running: Any, root: str = "/api/v1", *, key: str = "any", http: Any = None) -> OpenRouter:
    return OpenRouter(
        api_key=key,
        server_url=running.server.url + root,
        client=UNUSED,
        async_client=http or running.http,
        retry_config=None,  # by default it repeats every 5xx for an hour
    )


@pytest.fixture
async def fleet(start: Any) -> tuple[Any, OpenRouter]:
    running = await start(FLEET)
    return running, client(running)


def opened(picture: Any) -> Pillow.Image:
    return Pillow.open(BytesIO(base64.b64decode(picture.b64_json)))


def reference(picture: bytes) -> components.ContentPartImageTypedDict:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    return {"type": "image_url", "image_url": {"url": url}}


async def test_the_sdk_draws_under_every_root(fleet: Any) -> None:
    for root in ("/api/v1", "/v1", ""):
        await draws_under(fleet[0], root)


async def draws_under(running: Any, root: str) -> None:
    reply = await client(running, root).images.generate_async(
        model="sdxl", prompt="a fox", n=2, seed=7, resolution="512", aspect_ratio="2:1", output_format="webp",
        provider={"order": ["desk"], "allow_fallbacks": False},
        session_id="s", trace={"trace_id": "t"}, user="u",
    )  # fmt: skip
    assert [opened(picture).size for picture in reply.data] == [(720, 352), (720, 352)]
    assert {picture.media_type for picture in reply.data} == {"image/webp"}
    assert (reply.usage.total_tokens, reply.usage.cost) == (0, pytest.approx(0.5 + 2 * (0.01 + 0.02 * 0.25344)))
    assert running.fake("desk").requests[-1].seed == 7
    # The SDK's type of `options` has only OpenRouter's own providers.
    options = {"session_id": "s", "trace": {}, "provider": {"options": {"desk": {"eta": 0.5}}}}
    told = (await running.http.post(f"{root}/images", json={"prompt": "x", **options})).json()
    assert told["imagerouter"]["ignored"] == []
    assert running.fake("desk").requests[-1].options == {"eta": 0.5}


async def test_references_are_input_pictures(fleet: Any) -> None:
    running, sdk = fleet
    pictures = [file(), file((0, 0, 255))]
    reply = await sdk.images.generate_async(
        model="sdxl", prompt="bluer", size="1K", input_references=[reference(picture) for picture in pictures]
    )
    assert opened(reply.data[0]).size == (1024, 1024)
    (request,) = running.fake("desk").requests
    assert [image.data for image in request.images] == pictures


async def test_a_stream_has_previews_and_every_picture_and_ends_with_done(fleet: Any) -> None:
    running, sdk = fleet
    events = [event async for event in await sdk.images.generate_async(model="sdxl", prompt="a fox", n=2, stream=True)]
    *previews, first, second = events
    assert [preview.partial_image_index for preview in previews] == [0, 1, 2]
    assert all(isinstance(preview, components.ImageGenPartialImageEvent) for preview in previews)
    for event in (first, second):
        assert isinstance(event, components.ImageGenCompletedEvent)
        assert (opened(event).format, event.media_type, event.usage.completion_tokens) == ("PNG", "image/png", 0)
    for partial_images, count in ((None, 0), (1, 1)):
        asked = {"prompt": "x", "stream": True, "partial_images": partial_images}
        raw = (await running.http.post("/v1/images", json=asked)).text
        assert raw.endswith("\n\ndata: [DONE]\n\n")
        assert raw.count("event: image_generation.partial_image\n") == count


async def test_what_breaks_in_mid_stream_is_an_event_of_the_sdks_own(fleet: Any) -> None:
    running, sdk = fleet
    running.fake("desk").fail_with(GenerationError("the model broke down"))
    stream = await sdk.images.generate_async(model="deep", prompt="a fox", stream=True)
    (event,) = [event async for event in stream]
    assert isinstance(event, components.ImageGenStreamErrorEvent)
    assert event.error.code == "generation_failed"


async def test_models_are_listed_with_what_their_targets_take(fleet: Any) -> None:
    running, sdk = fleet
    listed = (await sdk.images.list_models_async()).data
    assert [row.id for row in listed] == ["sdxl", "flux.1 dev", "deep"]
    for row in listed:
        assert row.architecture.input_modalities == ["text", "image"]
        assert row.architecture.output_modalities == ["image"]
        assert {told.type for told in row.supported_parameters.values()} == {"enum", "range", "boolean"}
        assert (await running.http.get(row.endpoints)).json()["id"] == row.id
    takes = listed[0].supported_parameters
    assert takes["resolution"].values == ["512", "768", "1K", "1.5K", "2K"]
    assert "21:9" in takes["aspect_ratio"].values
    assert (takes["n"].max, takes["seed"].max, takes["input_references"].max) == (10, 2**32 - 1, 16)


async def test_every_target_tells_what_it_takes_and_what_it_costs(fleet: Any) -> None:
    _, sdk = fleet
    found = await sdk.images.list_model_endpoints_async(author="imagerouter", slug="sdxl")
    desk, attic = found.endpoints
    assert (desk.provider_slug, attic.provider_slug, found.id) == ("desk", "attic", "sdxl")
    lines = {(line.billable, line.unit, line.cost_usd) for line in desk.pricing}
    assert lines == {
        ("output_image", unit, usd) for unit, usd in (("request", 0.5), ("image", 0.01), ("megapixel", 0.02))
    }
    assert [line.model_dump() for line in attic.pricing] == [
        {"billable": "output_image", "unit": "image", "cost_usd": 0.0}
    ]
    assert attic.supported_parameters.keys() == {
        "input_references", "mask", "steps", "n", "output_format", "output_compression",
    }  # fmt: skip
    assert not desk.allowed_passthrough_parameters


async def test_a_model_is_found_however_its_name_is_written(fleet: Any) -> None:
    running, _ = fleet
    for path, name in {
        "sdxl": "sdxl",
        "sdxl:floor": "sdxl",
        "desk/sdxl": "desk/sdxl",
        "black-forest-labs/flux.1%20dev": "flux.1 dev",
        "black-forest-labs%2Fflux.1%20dev": "flux.1 dev",
        "a/b/c/deep.safetensors": "deep",
        "a%2Fb%2Fc%2Fdeep.safetensors": "deep",
    }.items():
        for root in ("/api/v1/images/models", "/v1/images/models"):
            assert (await running.http.get(f"{root}/{path}/endpoints")).json()["id"] == name
        assert (await running.http.get(f"/api/v1/models/{path}/endpoints")).json()["data"]["id"] == name


async def test_all_models_have_openrouters_shape_below_its_own_root(fleet: Any) -> None:
    _, sdk = fleet
    page = (await sdk.models.list_async(output_modalities="image", limit=2)).result
    assert [model.id for model in page.data] == ["sdxl", "flux.1 dev"]
    assert (page.total_count, page.links.next) == (3, "/api/v1/models?offset=2&limit=2&output_modalities=image")
    first = page.data[0]
    assert first.architecture.modality == "text+image->image"
    assert (first.pricing.request, first.pricing.image_output, first.pricing.prompt) == ("0.5", "0.02", "0")
    assert {"seed", "steps", "resolution", "n"} <= {*first.supported_parameters}
    one = (await sdk.models.get_async(author="black-forest-labs", slug="flux.1 dev")).data
    assert (one.id, one.links.details) == ("flux.1 dev", "/api/v1/models/flux.1%20dev/endpoints")
    (desk,) = (await sdk.endpoints.list_async(author="black-forest-labs", slug="flux.1 dev")).data.endpoints
    assert (desk.provider_name, desk.status, desk.pricing.image_output) == ("desk", 0, "0.02")


async def test_the_sdk_reads_all_pages(fleet: Any) -> None:
    _, sdk = fleet
    names, page = [], await sdk.models.list_async(limit=1)
    while page is not None:
        names += [model.id for model in page.result.data]
        page = await page.next()
    assert names == ["sdxl", "flux.1 dev", "deep"]


async def test_only_those_who_ask_for_pictures_are_told_of_models(fleet: Any) -> None:
    running, _ = fleet
    for path in ("/v1/models", "/api/v1/models"):
        for query, count in (
            ("", 3), ("output_modalities=image", 3), ("output_modalities=text,image", 3), ("output_modalities=all", 3),
            ("type=image", 3), ("output_modalities=text", 0), ("type=text", 0), ("offset=x&limit=-1", 3),
        ):  # fmt: skip
            assert len((await running.http.get(f"{path}?{query}")).json()["data"]) == count, (path, query)


async def test_every_error_is_an_exception_of_the_sdks_own(start: Any) -> None:
    running = await start(FLEET + "keys: {alice: {secret: alices-secret}}\nlimits: {max_body: 20000}")
    sdk = client(running, key="alices-secret")
    expected: list[tuple[type[errors.OpenRouterError], dict[str, Any], str, str | None]] = [
        (errors.NotFoundResponseError, {"model": "nobody"}, "not_found", "model"),
        (errors.BadRequestResponseError, {"resolution": "3K"}, "invalid_request", "resolution"),
        (errors.BadRequestResponseError, {"size": "64x64", "aspect_ratio": "16:9"}, "invalid_request", "aspect_ratio"),
        (errors.BadRequestResponseError, {"provider": {"only": ["x"]}}, "invalid_request", "provider.only"),
        (errors.PayloadTooLargeResponseError, {"user": "x" * 20000}, "payload_too_large", None),
    ]
    for kind, body, word, param in expected:
        for stream in (False, True):
            with pytest.raises(kind) as caught:
                await sdk.images.generate_async(**{"model": "sdxl", "prompt": "x", **body}, stream=stream)
            told = caught.value.data.error
            assert (told.code, told.metadata["error_type"], told.metadata["param"]) == (
                caught.value.status_code,
                word,
                param,
            )
            assert told.message
    with pytest.raises(errors.UnauthorizedResponseError):
        await client(running, key="wrong").images.generate_async(model="sdxl", prompt="x")
    with pytest.raises(errors.NotFoundResponseError):
        await sdk.images.list_model_endpoints_async(author="nobody", slug="x")
    running.fake("desk").fail_with(GenerationError("the model broke down"))
    with pytest.raises(errors.BadGatewayResponseError) as broken:
        await sdk.images.generate_async(model="deep", prompt="x")
    assert broken.value.data.error.metadata["code"] == "generation_failed"
    assert broken.value.headers["x-should-retry"] == "false"


async def test_it_is_off_by_one_line(start: Any) -> None:
    running = await start("dialects: {openrouter: false}")
    for path in ("/v1/images/models", "/images/models", "/api/v1/images/models", "/api/v1/models"):
        assert (await running.http.get(path)).status_code == 404
    assert (await running.http.post("/v1/images", json={"prompt": "x"})).status_code == 404
    assert (await running.draw()).status_code == (await running.http.get("/v1/models")).status_code == 200
