"""One mask, and what each backend repaints: the same pixels, however the mask says which."""

import base64
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.providers.a1111.fake import FakeA1111  # noqa: E402
from tests.providers.comfyui.fake import FakeComfy  # noqa: E402

SIDE = 128
AREA = (24, 40, 72, 128)
"""What is to be repainted: left, top, right, bottom."""


def saved(picture: Pillow.Image, kind: str = "PNG", **options: Any) -> bytes:
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(data: bytes) -> Pillow.Image:
    return Pillow.open(BytesIO(data))


def area(inside: Any, outside: Any, mode: str = "L", side: int = SIDE) -> Pillow.Image:
    picture = Pillow.new(mode, (side, side), outside)
    scaled = tuple(edge * side // SIDE for edge in AREA)
    picture.paste(inside, (scaled[0], scaled[1], scaled[2], scaled[3]))
    return picture


def scene() -> Pillow.Image:
    """Stripes, so that a shift by a pixel would show."""
    picture = Pillow.new("RGB", (SIDE, SIDE), "navy")
    pen = ImageDraw.Draw(picture)
    for step in range(0, SIDE, 6):
        pen.line((step, 0, SIDE - step, SIDE), fill=(250, step, 40), width=2)
    return picture


def holed() -> Pillow.Image:
    picture = scene().convert("RGBA")
    picture.putalpha(area(0, 255))
    return picture


def deep() -> bytes:
    return saved(area(65535, 0, "I;16"))


def palette() -> bytes:
    picture = area(1, 0, "P")
    picture.putpalette([0, 0, 0, 0, 0, 200])
    return saved(picture, transparency=1)


WHITE = area(255, 0)
SCENE = saved(scene())
MASKS: dict[str, dict[str, Any]] = {
    "transparent": {"mask": saved(area((9, 9, 9, 0), (9, 9, 9, 255), "RGBA"))},
    "transparent, under colour": {"mask": saved(holed())},
    "transparent palette": {"mask": palette()},
    "white": {"mask": saved(WHITE)},
    "white RGB": {"mask": saved(WHITE.convert("RGB"))},
    "white WebP": {"mask": saved(WHITE.convert("RGB"), "WEBP", lossless=True)},
    "white JPEG": {"mask": saved(WHITE, "JPEG", quality=95)},
    "white, 16 bit": {"mask": deep()},
    "white of one bit": {"mask": saved(WHITE.convert("1"))},
    "white of half the size": {"mask": saved(area(255, 0, side=SIDE // 2))},
    "white, opaque alpha": {"mask": saved(area((255,) * 4, (0, 0, 0, 255), "RGBA"))},
    "white by request": {
        "mask": saved(area((255,) * 4, (0, 0, 0, 0), "RGBA")),
        "extra_body": {"mask_channel": "white"},
    },
    "transparent by request": {
        "mask": saved(area((0, 0, 0, 0), (255,) * 4, "RGBA")),
        "extra_body": {"mask_channel": "alpha"},
    },
    "the picture's own": {"image": saved(holed()), "mask": None, "extra_body": {"mask": "image"}},
}


@dataclass
class Backend:
    """A server before one provider."""

    running: Any
    told: Callable[[], tuple[Pillow.Image, Pillow.Image]]
    """Picture and mask as they reached the backend."""

    async def repaint(self, **fields: Any) -> Pillow.Image:
        sent: dict[str, Any] = {"image": SCENE, "prompt": "a fox", **fields}
        sent["extra_body"] = {"steps": 2, "seed": 7, "strength": 1.0, **sent.get("extra_body", {})}
        reply = await self.running.sdk.images.edit(**{key: value for key, value in sent.items() if value is not None})
        return opened(base64.b64decode(reply.data[0].b64_json)).convert("RGB")


@pytest.fixture
async def backend(start: Any) -> Any:
    async with AsyncExitStack() as stack:

        async def launch(kind: str) -> Backend:
            if kind == "comfyui":
                comfy = await stack.enter_async_context(FakeComfy())
                running = await start(f"providers: {{it: {{type: comfyui, base_url: '{comfy.url}'}}}}")
                return Backend(running, lambda: told_by_comfyui(comfy))
            webui = await stack.enter_async_context(FakeA1111())
            running = await start(f"providers: {{it: {{type: a1111, base_url: '{webui.url}'}}}}")
            return Backend(running, lambda: told_by_a1111(webui))

        yield launch


Launch = Callable[[str], Awaitable[Backend]]


def told_by_comfyui(comfy: FakeComfy) -> tuple[Pillow.Image, Pillow.Image]:
    nodes = {node["class_type"]: node["inputs"] for node in comfy.submitted[-1]["prompt"].values()}
    picture = opened(comfy.input_file(nodes["LoadImage"]["image"]))
    mask = opened(comfy.input_file(nodes["LoadImageMask"]["image"])).convert("RGB")
    assert nodes["ImageCompositeMasked"]["mask"]  # the original's pixels come back around it
    return picture, mask.getchannel({"red": "R", "green": "G", "blue": "B"}[nodes["LoadImageMask"]["channel"]])


def told_by_a1111(webui: FakeA1111) -> tuple[Pillow.Image, Pillow.Image]:
    (body,) = webui.bodies("/sdapi/v1/img2img")
    assert body["inpainting_mask_invert"] == 0
    picture, mask = (opened(base64.b64decode(text)) for text in (body["init_images"][0], body["mask"]))
    return picture, mask.convert("L")


def differs(one: Pillow.Image, other: Pillow.Image) -> tuple[int, int, int, int] | None:
    return ImageChops.difference(one, other).getbbox()


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("kind", ["comfyui", "a1111"])
async def test_every_backend_is_told_to_repaint_the_same_pixels(backend: Launch, kind: str, mask: str) -> None:
    there = await backend(kind)
    drawn = await there.repaint(**MASKS[mask])
    picture, white = there.told()
    assert differs(white, WHITE) is None
    assert drawn.size == picture.size == (SIDE, SIDE)
    visible = Pillow.composite(scene(), picture.convert("RGB"), WHITE)
    assert differs(visible, scene()) is None
    if kind == "a1111":  # it puts the answer together itself
        assert differs(drawn, scene()) == AREA


async def test_what_was_transparent_gets_the_colours_around_it_on_every_backend(backend: Launch) -> None:
    image = Pillow.new("RGBA", (SIDE, SIDE), "orange")
    image.putalpha(area(0, 255))
    for kind in ("comfyui", "a1111"):
        there = await backend(kind)
        await there.repaint(image=saved(image), mask=None, extra_body={"mask": "image"})
        picture, _ = there.told()
        orange = Pillow.new("RGB", picture.size, "orange")
        assert ImageChops.difference(picture.convert("RGB"), orange).convert("L").getextrema()[1] <= 3


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mask", ["white of half the size", "the picture's own"])
async def test_the_built_in_model_repaints_these_pixels_and_no_others(start: Any, mask: str) -> None:
    running = await start("providers: {here: {type: diffusers}}")
    here = Backend(running, lambda: (scene(), WHITE))
    drawn = await here.repaint(**MASKS[mask])
    changed = ImageChops.difference(drawn, scene()).convert("L")
    outside = Pillow.composite(Pillow.new("L", changed.size), changed, WHITE)
    inside = changed.crop(AREA)
    assert outside.getextrema() == (0, 0)
    assert sum(inside.histogram()[10:]) > 0.5 * inside.width * inside.height


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"mask": saved(area(0, 0))}, "repaints nothing"),
        ({"mask": saved(area((0, 0, 0, 255), (9, 9, 9, 255), "RGBA"))}, "repaints nothing"),
        ({"mask": saved(WHITE), "extra_body": {"mask_channel": "alpha"}}, "transparent"),
        ({"mask": saved(WHITE.resize((SIDE, 40)))}, "128x40"),
        ({"mask": saved(WHITE)[:-20]}, "can be read"),
        ({"extra_body": {"mask": "image"}}, "repaints nothing"),
    ],
    ids=["black", "opaque", "no alpha", "another shape", "cut off", "an opaque picture's own"],
)
async def test_a_mask_that_can_not_be_meant_is_refused(running: Any, fields: dict[str, Any], reason: str) -> None:
    data = {"prompt": "x", **fields.get("extra_body", {})}
    files = {"image": SCENE} | ({"mask": fields["mask"]} if "mask" in fields else {})
    reply = await running.http.post("/v1/images/edits", data=data, files=files)
    error = reply.json()["error"]
    assert (reply.status_code, error["param"]) == (400, "mask")
    assert reason in error["message"]
    assert not running.fake().requests


async def test_a_channel_without_a_mask_is_told_to_have_no_effect(running: Any) -> None:
    reply = await running.sdk.images.edit(image=SCENE, prompt="x", extra_body={"mask_channel": "white"})
    assert reply.imagerouter["ignored"] == ["mask_channel"]
