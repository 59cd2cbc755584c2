"""The pictures of a request as a server gets them."""

from __future__ import annotations

import base64
import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from tests.providers.comfyui.bind_graphs import bound, inpainting
from tests.providers.comfyui.shelf import templates

from imagerouter import Image, ImageRequest, InvalidParameterError
from imagerouter.images import repaint_mask
from imagerouter_comfyui.recipe import Recipe
from imagerouter_comfyui.uploads import Ready, prepare

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def file(picture: Pillow.Image, kind: str = "PNG", **settings: Any) -> Image:
    buffer = BytesIO()
    picture.save(buffer, kind, **settings)
    return Image(data=buffer.getvalue())


def template() -> Recipe:
    return templates()["v1-5-pruned-emaonly.safetensors"]


def ready(*images: Image, mask: Image | None = None, recipe: Recipe | None = None, **values: Any) -> Ready:
    request = ImageRequest(model="x", prompt="a fox", seed=1, images=images, mask=mask, **values)
    return prepare(request, recipe or template())


def opened(data: bytes | None) -> Pillow.Image:
    assert data is not None
    return Pillow.open(BytesIO(data))


def sent(image: Image) -> Pillow.Image:
    return opened(ready(image).images[0])


def near(found: Any, wanted: tuple[int, ...]) -> bool:
    return all(abs(one - other) < 8 for one, other in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_plain_picture_is_sent_as_it_came(kind: str) -> None:
    image = file(Pillow.new("RGB", (8, 6)), kind)
    assert (ready(image).images[0], ready(image).image_size) == (image.data, (8, 6))


def test_grey_ones_are_sent_in_colour_since_the_server_reads_grey_files_darker() -> None:
    grey = file(Pillow.new("L", (8, 6), 255))
    files = ready(grey, mask=grey)
    assert [opened(each).mode for each in (files.images[0], files.mask)] == ["RGB", "RGB"]
    assert opened(files.mask).getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_of_a_moving_picture_only_the_first_frame_is_sent(kind: str) -> None:
    frames = [Pillow.new("RGB", (8, 8), colour) for colour in (RED, BLACK, WHITE)]
    moving = file(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert getattr(opened(moving.data), "n_frames", 1) == 3
    still = sent(moving)
    assert getattr(still, "n_frames", 1) == 1
    assert near(still.convert("RGB").getpixel((4, 4)), RED)


def _palette() -> Pillow.Image:
    picture = Pillow.new("P", (8, 8), 1)
    picture.putpalette([*BLACK, *RED])
    return picture


def test_every_mode_comes_as_eight_bits_of_the_same_colour() -> None:
    assert near(sent(file(Pillow.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")).getpixel((4, 4)), RED)
    assert sent(file(_palette())).getpixel((4, 4)) == RED
    assert sent(file(Pillow.new("1", (8, 8), 1))).getpixel((4, 4)) == WHITE
    assert sent(file(Pillow.new("I;16", (8, 8), 32768))).getpixel((4, 4)) == (128, 128, 128)
    assert sent(file(Pillow.new("I", (8, 8), 65535), "TIFF")).getpixel((4, 4)) == WHITE
    assert sent(file(Pillow.new("F", (8, 8), 0.5), "TIFF")).getpixel((4, 4)) == (128, 128, 128)
    assert sent(file(Pillow.new("F", (8, 8), 51.0), "TIFF")).getpixel((4, 4)) == (51, 51, 51)


@pytest.mark.parametrize(
    "picture",
    [
        Pillow.new("LA", (8, 8), (0, 0)),
        Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)),
        Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)).quantize(4),
    ],
    ids=lambda picture: picture.mode,
)
def test_what_is_transparent_is_white(picture: Pillow.Image) -> None:
    assert sent(file(picture)).getpixel((4, 4)) == WHITE


def test_a_colour_that_stands_for_transparency_is_white() -> None:
    assert sent(file(_palette(), transparency=1)).getpixel((4, 4)) == WHITE
    assert sent(file(Pillow.new("RGB", (8, 8), RED), transparency=RED)).getpixel((4, 4)) == WHITE


def test_a_turned_picture_is_sent_upright() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    image = file(Pillow.new("RGB", (8, 6)), "JPEG", exif=exif)
    assert (sent(image).size, ready(image).image_size) == ((6, 8), (6, 8))
    assert 0x0112 not in sent(image).getexif()


def test_a_grey_mask_of_sixteen_bits_keeps_its_greys() -> None:
    levels = {0: 0, 1000: 4, 32768: 128, 65535: 255}
    for level, expected in levels.items():
        mask = file(Pillow.new("I;16", (8, 8), level))
        assert opened(ready(file(Pillow.new("RGB", (8, 8))), mask=mask).mask).getpixel((4, 4)) == (expected,) * 3


@pytest.mark.parametrize("size", [(4, 3), (80, 60)])
def test_a_mask_of_another_size_is_brought_to_the_pictures(size: tuple[int, int]) -> None:
    mask = Pillow.new("RGBA", size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, size[0] // 2, size[1]))
    white = opened(ready(file(Pillow.new("RGB", (40, 30))), mask=file(mask)).mask)
    assert (white.mode, white.size) == ("RGB", (40, 30))
    assert (white.getpixel((3, 15)), white.getpixel((36, 15))) == (WHITE, BLACK)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "P", "CMYK"])
def test_without_transparency_white_is_repainted(mode: str) -> None:
    half = Pillow.new("RGB", (8, 8), BLACK)
    half.paste(WHITE, (0, 0, 4, 8))
    white = repaint_mask(half.convert(mode), (8, 8))
    assert (white.getpixel((1, 4)), white.getpixel((6, 4))) == (255, 0)


def test_a_mask_in_the_pictures_alpha_leaves_transparency_white_and_not_black() -> None:
    clear = file(Pillow.new("RGBA", (8, 8), (0, 0, 0, 0)))
    mask = file(Pillow.new("L", (8, 8), 255))
    recipe = bound(inpainting(by_alpha=True))
    assert opened(ready(clear, mask=mask, recipe=recipe).images[0]).getpixel((4, 4)) == (*WHITE, 0)


def test_a_mask_needs_a_picture() -> None:
    with pytest.raises(InvalidParameterError, match="`mask` needs an input picture") as caught:
        ready(mask=file(Pillow.new("L", (8, 8))))
    assert caught.value.param == "mask"


def hollow(width: int, height: int) -> Image:
    """A PNG that claims a size and has nothing in it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return Image(data=b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [9440, 12000, 20000])
def test_a_huge_picture_is_refused_for_its_size(side: int) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ready(hollow(side, side))
    assert (caught.value.message, caught.value.param) == ("`images[0]` has more than 89 megapixels", "images[0]")


@pytest.mark.parametrize("image", [Image(data=b"no picture"), hollow(8, 8)])
def test_what_cannot_be_decoded_is_refused(image: Image) -> None:
    with pytest.raises(InvalidParameterError, match=r"`images\[0\]` isn't a picture that can be read"):
        ready(image)


def turned(kind: str) -> bytes:
    exif = Pillow.Exif()
    exif[0x0112], exif[0x010E] = 6, "a lighthouse"
    return file(Pillow.new("RGB", (9, 7)), kind, exif=exif).data


@settings(deadline=None)
@given(st.sampled_from([turned(kind) for kind in ("PNG", "JPEG", "WEBP", "TIFF")]), st.data())
@pytest.mark.filterwarnings("ignore")
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(whole: bytes, data: st.DataObject) -> None:
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(InvalidParameterError):
        ready(Image(data=bytes(damaged)))


def test_the_picture_of_a_controlnet_is_prepared_in_the_same_way() -> None:
    data = base64.b64encode(file(Pillow.new("RGBA", (8, 8), (0, 0, 0, 0))).data).decode()
    for text in (data, f"data:image/png;base64,{data}"):
        (control,) = ready(options={"controlnet": [{"name": "canny", "image": text}]}).controls
        assert opened(control).getpixel((4, 4)) == WHITE


@pytest.mark.parametrize("item", ["canny", {"name": "canny"}, {"image": 1}, {"image": "@@"}])
def test_the_picture_of_a_controlnet_that_cannot_be_read_is_named(item: Any) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        ready(options={"controlnet": [item]})
    assert caught.value.param == "provider.options.controlnet[0].image"
