"""POST /v1/images/variations: image to image without words."""

import base64
from io import BytesIO
from typing import Any

import openai
import pytest
from PIL import Image as Pillow

from imagerouter.openai.request import VARIATION_STRENGTH

# The SDK itself says that OpenAI no longer serves them.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

PATH = "/v1/images/variations"


def file(kind: str = "PNG") -> bytes:
    out = BytesIO()
    Pillow.new("RGB", (64, 64), "red").save(out, kind)
    return out.getvalue()


async def vary(running: Any, **fields: Any) -> Any:
    return await running.sdk.images.create_variation(**{"image": file(), **fields})


async def test_a_picture_alone_is_enough(running: Any) -> None:
    reply = await vary(running, n=2, size="256x256")
    assert [Pillow.open(BytesIO(base64.b64decode(item.b64_json))).size for item in reply.data] == [(256, 256)] * 2
    (request,) = running.fake().requests
    assert (request.operation, request.prompt, request.strength) == ("edit", "", VARIATION_STRENGTH)
    assert [image.data for image in request.images] == [file()]
    assert reply.imagerouter["ignored"] == []


async def test_a_prompt_and_a_strength_are_taken_where_they_are_sent(running: Any) -> None:
    await vary(running, extra_body={"prompt": "a fox", "strength": 0.25, "seed": 7, "steps": 2})
    (request,) = running.fake().requests
    assert (request.prompt, request.strength, request.seed, request.steps) == ("a fox", 0.25, 7, 2)


async def test_json_does_as_well_as_a_form(running: Any) -> None:
    body = {"image": base64.b64encode(file()).decode(), "denoise": 0.4}
    reply = await running.http.post(PATH, json=body)
    assert reply.status_code == 200
    assert running.fake().requests[0].strength == 0.4


async def test_two_variations_differ_and_the_same_seed_gives_the_same(running: Any) -> None:
    first, second = (await vary(running, n=2, extra_body={"seed": 1})).data
    (again,) = (await vary(running, extra_body={"seed": 2})).data
    assert first.b64_json != second.b64_json == again.b64_json


async def test_a_variation_can_be_watched_too(running: Any) -> None:
    fields = {"stream": "true", "partial_images": "1"}
    reply = await running.http.post(PATH, data=fields, files={"image": file("JPEG")})
    names = [line.removeprefix("event: ") for line in reply.text.splitlines() if line.startswith("event: ")]
    assert names == ["image_variation.partial_image", "image_variation.completed"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"image": b"no picture"}, "image"), ({"n": 99}, "n"), ({"extra_body": {"strength": 3}}, "strength")],
    ids=["no picture", "n", "strength"],
)
async def test_what_is_wrong_is_named(running: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await vary(running, **fields)
    assert caught.value.param == param
    assert not running.fake().requests


async def test_without_a_picture_there_is_nothing_to_vary(running: Any) -> None:
    reply = await running.http.post(PATH, json={"prompt": "a fox"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "image")


async def test_a_model_that_takes_no_pictures_says_so(start: Any) -> None:
    running = await start(
        "providers: {fake: {type: 'imagerouter.testing:FakeProvider', operations: [generate]}}\nserver: {port: 0}"
    )
    with pytest.raises(openai.BadRequestError) as caught:
        await vary(running)
    assert not running.fake().requests
    assert "can't do image to image" in caught.value.message
    assert caught.value.param == "image"
