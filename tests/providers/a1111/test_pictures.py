"""Input pictures on the canvas, and finished ones in the asked size."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from typing import Any

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL.PngImagePlugin import PngInfo
from tests.providers.a1111.stocks import A1111_1_10, CONFIG, asked, recipe

from imagerouter import Hires, Image, InvalidParameterError, ProviderResponseError
from imagerouter.canvas import fitted
from imagerouter.images import dimensions
from imagerouter.metadata import has_texts
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.orders import settle
from imagerouter_a1111.pictures import finished, read, sent, source
from imagerouter_a1111.recipe import Order

RED, WHITE, BLACK, BLUE = (255, 0, 0), (255, 255, 255), (0, 0, 0), (0, 0, 255)


def file(picture: Pillow.Image, kind: str = "PNG", **how: Any) -> Image:
    buffer = BytesIO()
    picture.save(buffer, kind, **how)
    return Image(data=buffer.getvalue())


def plain(size: tuple[int, int] = (64, 64), colour: tuple[int, int, int] = RED, kind: str = "PNG") -> Image:
    return file(Pillow.new("RGB", size, colour), kind)


def pixels(image: Image | str) -> Pillow.Image:
    data = pybase64.b64decode(image) if isinstance(image, str) else image.data
    return Pillow.open(BytesIO(data))


async def order(config: A1111Config = CONFIG, **given: Any) -> Order:
    return await settle(asked(**given), recipe(A1111_1_10), A1111_1_10, config, "server")


async def canvas(image: Image, width: int = 64, height: int = 64, mask: Image | None = None) -> tuple[str, str | None]:
    found = await source(asked(images=(image,), mask=mask))
    assert found is not None
    return await sent(found, fitted(width, height, 8))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_picture_that_is_right_goes_to_the_server_as_it_came(kind: str) -> None:
    image = plain(kind=kind)
    assert (await canvas(image))[0] == image.b64.decode()


def _rotated() -> Image:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    return file(Pillow.new("RGB", (64, 64), RED), "JPEG", exif=exif)


def _animated() -> Image:
    frames = [Pillow.new("RGB", (64, 64), colour) for colour in (RED, BLUE)]
    return file(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


@pytest.mark.parametrize(
    "image",
    [
        _rotated(),
        _animated(),
        plain(kind="GIF"),
        file(Pillow.new("RGBA", (64, 64), (255, 0, 0, 255))),
        file(Pillow.new("P", (64, 64))),
        file(Pillow.new("I;16", (64, 64))),
        file(Pillow.new("L", (64, 64))),
    ],
    ids=["rotated", "animated", "gif", "alpha", "palette", "16 bit", "grey"],
)
async def test_what_servers_read_in_different_ways_goes_as_a_plain_png(image: Image) -> None:
    picture = pixels((await canvas(image))[0])
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (64, 64))


async def test_transparency_is_seen_on_white() -> None:
    found = pixels((await canvas(file(Pillow.new("RGBA", (64, 64), (255, 0, 0, 0)))))[0])
    assert found.getpixel((0, 0)) == WHITE


async def test_the_first_frame_counts() -> None:
    assert pixels((await canvas(_animated()))[0]).getpixel((0, 0)) == RED


async def test_a_picture_of_another_shape_is_cut_to_its_middle() -> None:
    wide = Pillow.new("RGB", (192, 64), BLUE)
    wide.paste(RED, (64, 0, 128, 64))
    found = pixels((await canvas(file(wide)))[0])
    assert found.size == (64, 64)
    assert found.getcolors() == [(64 * 64, RED)]


async def test_the_mask_is_cut_like_its_picture() -> None:
    mask = Pillow.new("L", (192, 64), 0)
    mask.paste(255, (64, 0, 128, 64))
    _, found = await canvas(plain((192, 64)), mask=file(mask))
    assert found is not None
    assert pixels(found).mode == "L"
    assert pixels(found).getextrema() == (255, 255)


@given(st.integers(16, 90), st.integers(16, 90), st.integers(16, 90), st.integers(16, 90))
@settings(max_examples=25, deadline=None)
async def test_picture_and_mask_have_the_canvas_s_size(width: int, height: int, wide: int, high: int) -> None:
    picture, mask = await canvas(plain((wide, high)), width, height, plain((high, wide)))
    size = fitted(width, height, 8)
    assert mask is not None
    assert pixels(picture).size == pixels(mask).size == (size.canvas_width, size.canvas_height)


def _chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def _bomb() -> Image:
    """A file that promises 10,000 x 10,000 pixels."""
    head = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    return Image(data=b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT"))


BROKEN = [Image(data=b""), Image(data=b"GIF89a"), Image(data=plain((300, 300)).data[:60]), Image(b64=b"!!!!")]


@pytest.mark.parametrize("image", BROKEN)
async def test_what_is_no_picture_is_named(image: Image) -> None:
    with pytest.raises(InvalidParameterError, match="isn't a picture that can be read") as refused:
        await source(asked(images=(image,)))
    assert refused.value.param == "images[0]"
    with pytest.raises(InvalidParameterError) as refused:
        await source(asked(images=(plain(),), mask=image))
    assert refused.value.param == "mask"


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_file_that_is_made_to_fill_the_memory_is_not_opened() -> None:
    with pytest.raises(InvalidParameterError, match="has more than 89 megapixels"):
        read(asked(images=(_bomb(),)))


def test_a_mask_needs_a_picture() -> None:
    with pytest.raises(InvalidParameterError, match="needs an input picture") as refused:
        read(asked(mask=plain()))
    assert refused.value.param == "mask"


async def test_text_to_image_has_no_source() -> None:
    assert await source(asked()) is None


async def test_a_finished_picture_that_is_right_is_not_even_decoded() -> None:
    image = Image(b64=plain().b64)
    assert await finished(image, await order(width=64, height=64), keep_metadata=False) is image


def _with_text() -> Image:
    info = PngInfo()
    info.add_text("parameters", "a cat, Steps: 20")
    return Image(b64=file(Pillow.new("RGB", (72, 64), RED), pnginfo=info).b64)


@pytest.mark.parametrize("width", [72, 66])
async def test_texts_stay_only_where_they_are_to_be_kept(width: int) -> None:
    settled = await order(width=width, height=64)
    assert not has_texts(await finished(_with_text(), settled, keep_metadata=False))
    kept = pixels(await finished(_with_text(), settled, keep_metadata=True))
    assert kept.info["parameters"] == "a cat, Steps: 20"


async def test_a_picture_from_text_is_cut_out_of_the_middle() -> None:
    drawn = Pillow.new("RGB", (72, 64), BLACK)
    drawn.paste(RED, (2, 0, 70, 64))
    done = pixels(await finished(file(drawn), await order(width=68, height=64), keep_metadata=False))
    assert done.getcolors() == [(68 * 64, RED)]


async def test_an_edited_picture_is_stretched_back() -> None:
    drawn = Pillow.new("RGB", (72, 64), BLUE)
    drawn.paste(RED, (0, 0, 36, 64))
    settled = await order(width=68, height=64, images=(plain(),))
    done = pixels(await finished(file(drawn), settled, keep_metadata=False))
    assert done.size == (68, 64)
    assert (done.getpixel((30, 32)), done.getpixel((38, 32))) == (RED, BLUE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_the_format_stays_what_the_server_sent(kind: str) -> None:
    done = await finished(plain((72, 64), kind=kind), await order(width=66, height=64), keep_metadata=False)
    assert done.media_type == f"image/{kind.lower()}"
    assert pixels(done).format == kind


def _halves(size: tuple[int, int]) -> Image:
    """White on the right."""
    mask = Pillow.new("L", size, 0)
    mask.paste(255, (size[0] // 2, 0, *size))
    return file(mask)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [(64, 64), (68, 64), (90, 130)])
async def test_outside_the_mask_not_a_pixel_changes(size: tuple[int, int], kind: str) -> None:
    original = Pillow.effect_noise(size, 90).convert("RGB")
    settled = await order(images=(file(original),), mask=_halves(size))
    drawn = plain((settled.size.canvas_width, settled.size.canvas_height), BLUE, kind)
    done = pixels(await finished(drawn, settled, keep_metadata=False))
    assert done.format == ("PNG" if kind == "JPEG" else kind)
    left, right = (0, 0, size[0] // 2, size[1]), (size[0] // 2, 0, *size)
    assert done.crop(left).tobytes() == original.crop(left).tobytes()
    assert done.crop(right).getpixel((4, 4)) == pytest.approx(BLUE, abs=3)


async def test_a_blurred_mask_softens_the_edge_outside_and_leaves_the_inside_new() -> None:
    settled = await order(A1111Config(mask_blur=4), images=(plain(),), mask=_halves((64, 64)))
    row = pixels(await finished(plain(colour=BLUE), settled, keep_metadata=False)).crop((0, 32, 64, 33))
    blue = list(row.tobytes()[2::3])
    assert blue == sorted(blue)
    assert blue[0] == 0
    assert 0 < blue[30] < 255
    assert set(blue[33:]) == {255}


@given(
    width=st.integers(64, 200),
    height=st.integers(64, 200),
    scale=st.none() | st.floats(1, 2),
    picture=st.booleans(),
    mask=st.booleans(),
    surprise=st.sampled_from([None, (64, 64), (100, 30)]),
)
@settings(max_examples=40, deadline=None)
async def test_the_picture_that_comes_back_has_the_asked_size(
    width: int, height: int, scale: float | None, picture: bool, mask: bool, surprise: tuple[int, int] | None
) -> None:
    settled = await order(
        width=width,
        height=height,
        hires=None if scale is None else Hires(scale=scale),
        images=(plain(),) if picture else (),
        mask=plain() if picture and mask else None,
    )
    size = surprise or (
        (settled.hires.width, settled.hires.height)
        if settled.hires is not None
        else (settled.size.canvas_width, settled.size.canvas_height)
    )
    done = await finished(plain(size), settled, keep_metadata=False)
    times = settled.request.hires.scale if settled.hires is not None and settled.request.hires is not None else 1
    assert dimensions(done) == (round(width * times), round(height * times))


@pytest.mark.parametrize("image", BROKEN)
@pytest.mark.parametrize("inputs", [{}, {"images": (plain(),), "mask": plain()}], ids=["from text", "with a mask"])
async def test_what_the_server_sends_may_be_no_picture(image: Image, inputs: dict[str, Any]) -> None:
    settled = await order(width=80, height=80, **inputs)
    with pytest.raises(ProviderResponseError, match="not a picture"):
        await finished(image, settled, keep_metadata=False)
