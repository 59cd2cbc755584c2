"""POST /v1/images/edits with files, as OpenAI's SDK sends them, and with JSON, as others do."""

import asyncio
import base64
import struct
from io import BytesIO
from typing import Any
from zlib import crc32

import openai
import pytest
from PIL import Image as Pillow

from imagerouter import Image

PATH = "/v1/images/edits"


def file(colour: Any = "red", size: tuple[int, int] = (64, 64), kind: str = "PNG", **saving: Any) -> bytes:
    out = BytesIO()
    Pillow.new("RGBA" if isinstance(colour, tuple) and len(colour) == 4 else "RGB", size, colour).save(
        out, kind, **saving
    )
    return out.getvalue()


def hole(size: tuple[int, int] = (64, 64)) -> bytes:
    """A mask whose left half is transparent."""
    mask = Pillow.new("RGBA", size, "black")
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    out = BytesIO()
    mask.save(out, "PNG")
    return out.getvalue()


def opened(image: Any) -> Pillow.Image:
    data = image.data if isinstance(image, Image) else base64.b64decode(image)
    return Pillow.open(BytesIO(data))


def url_of(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def bomb() -> bytes:
    """A file of a few bytes that says it has 900 megapixels."""
    small = file(size=(1, 1))
    header = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return small[:12] + header + struct.pack(">I", crc32(header)) + small[33:]


async def edit(running: Any, image: Any = None, **fields: Any) -> Any:
    return await running.sdk.images.edit(**{"image": file() if image is None else image, "prompt": "a fox", **fields})


async def refused(running: Any, image: Any = None, **fields: Any) -> openai.BadRequestError:
    with pytest.raises(openai.BadRequestError) as caught:
        await edit(running, image, **fields)
    assert not running.fake().requests
    return caught.value


async def test_one_picture_arrives_as_it_is(running: Any) -> None:
    reply = await edit(running, n=2, size="96x64")
    (request,) = running.fake().requests
    assert (request.operation, request.prompt, request.n) == ("edit", "a fox", 2)
    assert [image.data for image in request.images] == [file()]
    assert [opened(item.b64_json).size for item in reply.data] == [(96, 64)] * 2


async def test_several_pictures_arrive_in_their_order_and_with_a_mask(running: Any) -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    await edit(running, [file(colour) for colour in colours], mask=hole())
    (request,) = running.fake().requests
    assert request.operation == "inpaint"
    assert [opened(image).getpixel((0, 0)) for image in request.images] == colours
    mask = opened(request.mask)
    assert (mask.mode, mask.size) == ("L", (64, 64))
    assert [mask.getpixel((x, 5)) for x in (0, 31, 32, 63)] == [255, 255, 0, 0]


async def test_the_sdks_extra_body_arrives_however_it_is_nested(running: Any) -> None:
    extra = {
        "steps": 9,
        "cfg_scale": 3.5,
        "seed": 7,
        "strength": 0.25,
        "negative_prompt": "a dog",
        "loras": [{"name": "one", "weight": 0.5}, {"name": "two", "weight": 1.0}],
        "hires": {"scale": 1.5},
        "provider": {"only": ["fake"], "options": {"fake": {"deep": {"er": 1}}}},
    }
    reply = await edit(running, extra_body=extra)
    (request,) = running.fake().requests
    assert (request.steps, request.cfg_scale, request.seed, request.strength) == (9, 3.5, 7, 0.25)
    assert request.negative_prompt == "a dog"
    assert [(lora.name, lora.weight) for lora in request.loras] == [("one", 0.5), ("two", 1.0)]
    assert request.hires.scale == 1.5
    assert request.options["deep"]["er"] in (1, "1")  # forms have no numbers
    assert reply.imagerouter["ignored"] == ["hires", "loras"]


async def test_a_stream_of_previews_ends_with_each_picture_of_n(running: Any) -> None:
    stream = await edit(running, n=2, stream=True, partial_images=2, extra_body={"steps": 8, "seed": 4})
    events = [event async for event in stream]
    assert [event.type for event in events[-2:]] == ["image_edit.completed"] * 2
    assert [(event.image_index, event.seed) for event in events[-2:]] == [(0, 4), (1, 5)]
    assert {event.type for event in events[:-2]} == {"image_edit.partial_image"}
    assert [event.partial_image_index for event in events[:-2]] == [0, 1]
    single = await edit(running, extra_body={"steps": 8, "seed": 5})
    assert events[-1].b64_json == single.data[0].b64_json


async def test_an_error_in_mid_stream_is_raised_by_the_sdk(running: Any) -> None:
    running.fake().fail_with(RuntimeError("boom"))
    with pytest.raises(openai.APIError) as caught:
        [event async for event in await edit(running, stream=True)]
    assert caught.value.code == "generation_failed"


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "avif"])
async def test_results_come_in_every_format(running: Any, kind: Any) -> None:
    reply = await edit(running, output_format=kind, output_compression=50)
    assert opened(reply.data[0].b64_json).format == kind.upper()
    assert reply.output_format == kind
    assert reply.imagerouter["ignored"] == (["output_compression"] if kind == "png" else [])


@pytest.mark.parametrize(
    ("fields", "param", "valid"),
    [
        ({"output_format": "gif"}, "output_format", "webp"),
        ({"output_format": "svg"}, "output_format", "webp"),
        ({"output_format": "jpeg", "background": "transparent"}, "background", "webp"),
        ({"size": "large"}, "size", "WIDTHxHEIGHT"),
        ({"n": 100}, "n", "at most 10"),
        ({"partial_images": 9, "stream": True}, "partial_images", "0 to 3"),
        ({"extra_body": {"steps": "many"}}, "steps", "integer"),
        ({"extra_body": {"strength": 1.5}}, "strength", "0 to 1"),
        ({"extra_body": {"mask_channel": "green"}}, "mask_channel", "white"),
        ({"prompt": ""}, "prompt", "prompt"),
        ({"image": b"no picture at all"}, "image", "PNG, JPEG, WebP"),
        ({"image": [file(), b"no picture"]}, "image", "PNG, JPEG, WebP"),
        ({"image": file()[:60]}, "image", "whole"),
        ({"image": bomb()}, "image", "megapixels"),
        ({"mask": b"no picture"}, "mask", "PNG"),
        ({"mask": hole((64, 32))}, "mask", "64x32"),
        ({"mask": file("black")}, "mask", "repaints nothing"),
        ({"image": [file()] * 17}, "image", "16"),
    ],
    ids=str,
)
async def test_what_is_wrong_is_named_with_what_would_be_right(
    running: Any, fields: dict[str, Any], param: str, valid: str
) -> None:
    error = await refused(running, **fields)
    assert (error.param or "").partition("[")[0] == param
    assert valid in error.message


async def test_a_picture_is_needed_and_so_is_a_prompt(running: Any) -> None:
    for body in ({"data": {"prompt": "x"}, "files": {"other": file()}}, {"json": {"prompt": "x"}}):
        error = (await running.http.post(PATH, **body)).json()["error"]
        assert (error["param"], error["message"]) == ("image", "Missing required parameter: `image`")
    error = (await running.http.post(PATH, files={"image": file()})).json()["error"]
    assert error["param"] == "prompt"


async def test_a_wrong_form_is_refused_at_once(running: Any) -> None:
    async with asyncio.timeout(8):
        reply = await running.http.post(PATH, files={"image": file()}, data={"loras": "[object Object]"})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "loras")


async def test_a_body_beyond_the_limit_is_413(start: Any) -> None:
    running = await start("limits: {max_body: 1000000}")
    with pytest.raises(openai.APIStatusError) as caught:
        await edit(running, bytes(1_000_000))
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")
    assert (await edit(running)).data


@pytest.mark.parametrize(
    ("name", "kind"), [("a.txt", "text/plain"), ("../x.exe", "application/x-msdownload"), ("🦊", "image/gif")]
)
async def test_a_picture_is_known_by_its_bytes_and_not_by_its_name(running: Any, name: str, kind: str) -> None:
    await edit(running, (name, file(kind="WEBP", lossless=True), kind))
    assert running.fake().requests[0].images[0].media_type == "image/webp"


def turned() -> bytes:
    picture = Pillow.new("RGB", (32, 16), "blue")
    picture.paste("red", (0, 0, 16, 16))
    exif, out = Pillow.Exif(), BytesIO()
    exif[0x112] = 6  # shown turned to the right: red on top
    picture.save(out, "JPEG", exif=exif, quality=95)
    return out.getvalue()


def deep() -> bytes:
    out = BytesIO()
    Pillow.new("I;16", (16, 16), 65535 // 2).save(out, "PNG")
    return out.getvalue()


def moving() -> bytes:
    out = BytesIO()
    frames = [Pillow.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    return out.getvalue()


def for_print() -> bytes:
    out = BytesIO()
    Pillow.new("CMYK", (16, 16), (0, 255, 255, 0)).save(out, "JPEG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "size", "top", "mode"),
    [
        (turned(), (16, 32), (254, 0, 0), "RGB"),
        (deep(), (16, 16), 127, "L"),
        (moving(), (16, 16), (255, 0, 0), "RGB"),
        (for_print(), (16, 16), (254, 0, 0), "RGB"),
        (file("red", (16, 16), "BMP"), (16, 16), (255, 0, 0), "RGB"),
        (file((255, 0, 0, 128), (16, 16), "TIFF"), (16, 16), (255, 0, 0, 128), "RGBA"),
    ],
    ids=["turned", "16 bit", "animated", "CMYK", "BMP", "transparent TIFF"],
)
async def test_pictures_arrive_as_their_viewers_see_them(
    running: Any, data: bytes, size: tuple[int, int], top: Any, mode: str
) -> None:
    await edit(running, data)
    arrived = running.fake().requests[0].images[0]
    picture = opened(arrived)
    assert (arrived.media_type, picture.size, picture.mode) == ("image/png", size, mode)
    here = picture.getpixel((8, 4))
    pairs = zip(here, top, strict=True) if isinstance(here, tuple) else [(here, top)]
    assert max(abs(a - b) for a, b in pairs) <= 1


URL = url_of(file())
B64 = URL.partition(",")[2]
JSON = [
    {"images": [{"image_url": URL}]},
    {"images": [{"image_url": {"url": URL}}]},
    {"images": [{"type": "image_url", "url": URL}]},
    {"images": [{"type": "image_url", "image_url": {"url": URL}}]},
    {"images": [URL]},
    {"images": [B64]},
    {"image": {"url": URL, "type": "image_url"}},
    {"image": URL},
    {"image": B64},
    {"image": [B64]},
    {"image_url": URL},
    {"input_image": URL},
    {"init_images": [B64]},
    {"input_references": [{"type": "image_url", "image_url": {"url": URL}}]},
    {"reference_images": [URL]},
    {"extra_body": {"image": URL}},
]


@pytest.mark.parametrize("body", JSON, ids=[f"{n} {next(iter(body))}" for n, body in enumerate(JSON)])
async def test_json_names_its_pictures_as_any_dialect_does(running: Any, body: dict[str, Any]) -> None:
    reply = await running.http.post(PATH, json={"prompt": "a fox", **body})
    assert reply.status_code == 200, reply.text
    (request,) = running.fake().requests
    assert [image.data for image in request.images] == [file()]
    assert reply.json()["imagerouter"]["ignored"] == []


async def test_json_takes_a_mask_in_the_same_shape_as_pictures(running: Any) -> None:
    body = {"prompt": "x", "images": [{"image_url": URL}], "mask": {"image_url": url_of(hole())}}
    assert (await running.http.post(PATH, json=body)).status_code == 200
    assert opened(running.fake().requests[0].mask).getpixel((0, 0)) == 255


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"images": [{"file_id": "file-1"}]}, "images"),
        ({"images": [{"image_url": URL}], "mask": {"file_id": "file-1"}}, "mask"),
        ({"images": [{"image_url": "https://example.com/a.png"}]}, "images"),
        ({"image": "file:///etc/passwd"}, "image"),
        ({"image": "upload:0"}, "image"),
        ({"images": [{"image_url": url_of(b"no picture")}]}, "images"),
        ({"images": []}, "image"),
        ({"images": [{}]}, "images"),
        ({"images": [URL] * 17}, "images"),
    ],
    ids=str,
)
async def test_json_without_a_picture_is_refused(running: Any, body: dict[str, Any], param: str) -> None:
    reply = await running.http.post(PATH, json={"prompt": "x", **body})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"] or "").partition("[")[0] == param
    if "file_id" in str(body):
        assert "base64, data URL" in error["message"]
