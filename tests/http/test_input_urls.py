"""Pictures that a request names by address: fetched only where the configuration allows, and never passed on."""

import base64
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow

from imagerouter.testing.wire import Request, Response, WireServer

PATH = "/v1/images/edits"
LOCAL = "inputs: {allow_hosts: ['127.0.0.1:*'], allow_private: true, max_bytes: 10000, timeout: 5}"


def file(colour: Any = "red", mode: str = "RGB") -> bytes:
    out = BytesIO()
    Pillow.new(mode, (64, 64), colour).save(out, "PNG")
    return out.getvalue()


FILES = {
    "/a.png": file("red"),
    "/b.png": file("blue"),
    "/mask.png": file((0, 0, 0, 0), "RGBA"),
    "/page": b"<html>a login page, with plenty of text</html>",
    "/large.png": file() + bytes(10_000),
}


class Album(WireServer):
    def __init__(self) -> None:
        super().__init__(self._answer)
        self.asked: list[Request] = []

    async def _answer(self, request: Request) -> Response:
        self.asked.append(request)
        if request.path == "/moved.png":
            return Response(status=302, headers={"location": "/a.png"})
        if request.path == "/elsewhere.png":
            return Response(status=302, headers={"location": "http://169.254.169.254/latest"})
        body = FILES.get(request.path)
        # What a server calls a file says nothing.
        return Response(body=body, headers={"content-type": "text/plain"}) if body else Response(status=404)


def texts(*fields: tuple[str, str]) -> list[tuple[str, tuple[None, str]]]:
    """A form without a file, for httpx."""
    return [(name, (None, text)) for name, text in fields]


@pytest.fixture
async def album() -> AsyncIterator[Album]:
    async with Album() as server:
        yield server


@pytest.fixture
async def allowed(start: Any) -> Any:
    return await start(LOCAL)


async def refusal(running: Any, **sent: Any) -> dict[str, Any]:
    reply = await running.http.post(PATH, **sent)
    assert (reply.status_code, running.fake().requests) == (400, [])
    error: dict[str, Any] = reply.json()["error"]
    return error


async def test_json_and_forms_may_name_pictures_by_address(allowed: Any, album: Album) -> None:
    a, b, mask = (f"{album.url}/{name}.png" for name in ("a", "b", "mask"))
    bodies: list[dict[str, Any]] = [
        {"json": {"prompt": "x", "images": [{"image_url": a}, {"url": b}], "mask": {"image_url": mask}}},
        {"files": texts(("prompt", "x"), ("image[]", a), ("image[]", b), ("mask", mask))},
    ]
    for body in bodies:
        reply = await allowed.http.post(PATH, **body)
        assert reply.status_code == 200, reply.text
        request = allowed.fake().requests[-1]
        assert [image.data for image in request.images] == [FILES["/a.png"], FILES["/b.png"]]
        assert Pillow.open(BytesIO(request.mask.data)).getextrema() == (255, 255)
        assert album.url not in str(request)


async def test_files_and_addresses_can_be_mixed_in_one_form(allowed: Any, album: Album) -> None:
    reply = await allowed.http.post(
        PATH,
        data={"prompt": "x", "image[1]": f"{album.url}/b.png"},
        files={"image[0]": ("a", FILES["/a.png"], "image/png")},
    )
    assert reply.status_code == 200, reply.text
    assert [image.data for image in allowed.fake().requests[0].images] == [FILES["/a.png"], FILES["/b.png"]]


async def test_generations_and_variations_fetch_as_well(allowed: Any, album: Album) -> None:
    body = {"prompt": "x", "image": f"{album.url}/moved.png"}
    for door in ("generations", "variations"):
        assert (await allowed.http.post(f"/v1/images/{door}", json=body)).status_code == 200
        assert allowed.fake().requests[-1].images[0].data == FILES["/a.png"]


async def test_an_address_is_asked_for_once_and_told_nothing_of_the_client(start: Any, album: Album) -> None:
    running = await start(LOCAL + "\nkeys: {alice: {secret: alice-secret}}")
    url = f"{album.url}/a.png"
    headers = {"authorization": "Bearer alice-secret", "cookie": "a=b"}
    reply = await running.http.post(PATH, json={"prompt": "x", "images": [url, url]}, headers=headers)
    assert reply.status_code == 200
    (asked,) = album.asked
    assert not {"authorization", "cookie"} & {name.lower() for name in asked.headers}
    assert len(running.fake().requests[0].images) == 2


async def test_by_default_nothing_is_fetched_and_the_setting_is_named(running: Any, album: Album) -> None:
    url = f"{album.url}/a.png"
    for body, param in (
        ({"json": {"prompt": "x", "images": [{"image_url": url}]}}, "images[0]"),
        ({"json": {"prompt": "x", "image": url}}, "image"),
        ({"files": texts(("prompt", "x"), ("image", url))}, "image"),
        ({"files": {"image": file(), **dict(texts(("prompt", "x"), ("mask", url)))}}, "mask"),
    ):
        error = await refusal(running, **body)
        assert error["param"] == param
        assert "`inputs.allow_hosts`" in error["message"]
        assert "base64 or a data URL" in error["message"]
    assert album.asked == []


async def test_an_allowed_host_in_a_private_network_is_not_reached_unless_that_is_allowed_too(
    start: Any, album: Album
) -> None:
    running = await start("inputs: {allow_hosts: ['127.0.0.1:*']}")
    error = await refusal(running, json={"prompt": "x", "images": [f"{album.url}/a.png"]})
    assert error["param"] == "images[0]"
    assert album.asked == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/page", "picture"),
        ("/gone.png", "fetched"),
        ("/elsewhere.png", "allow_hosts"),
        ("/large.png", "max_bytes"),
    ],
)
async def test_what_is_not_a_picture_there_is_a_bad_request(allowed: Any, album: Album, path: str, reason: str) -> None:
    body = {"prompt": "x", "images": [base64.b64encode(file()).decode(), f"{album.url}{path}"]}
    error = await refusal(allowed, json=body)
    assert error["param"] == "images[1]"
    assert reason in error["message"]
    assert "169.254" not in error["message"]


async def test_nothing_is_fetched_for_a_request_that_is_wrong_anyway(allowed: Any, album: Album) -> None:
    error = await refusal(allowed, json={"prompt": "x", "images": [f"{album.url}/a.png"], "steps": "many"})
    assert error["param"] == "steps"
    assert album.asked == []


async def test_a_host_that_is_not_there_costs_the_client_a_400_and_no_more(allowed: Any, album: Album) -> None:
    await album.abort()
    error = await refusal(allowed, json={"prompt": "x", "image": f"{album.url}/a.png"})
    assert (error["param"], error["type"]) == ("image", "invalid_request_error")
    assert "127.0.0.1" not in error["message"]
