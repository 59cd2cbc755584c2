"""What is taken out of finished pictures, and what isn't."""

from __future__ import annotations

import base64
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageChops
from PIL.PngImagePlugin import PngInfo

from imagerouter import Image
from imagerouter.metadata import has_texts, stripped, without_texts

SECRET = "a secret lighthouse"
FORMATS = ("PNG", "JPEG", "WEBP")
EXIF = Pillow.Exif()
EXIF[0x010E] = SECRET


def saved(picture: Pillow.Image, kind: str) -> bytes:
    """The file, with the secret wherever its format has room for it."""
    settings: dict[str, Any] = {"exif": EXIF, "xmp": f"<x>{SECRET}</x>".encode()}
    if kind == "PNG":
        texts = PngInfo()
        texts.add_text("prompt", SECRET)
        texts.add_text("packed", SECRET, zip=True)
        texts.add_itxt("workflow", SECRET)
        settings = {"pnginfo": texts, "exif": EXIF}
    buffer = BytesIO()
    picture.save(buffer, kind, comment=SECRET, icc_profile=b"profile", **settings)
    return buffer.getvalue()


def opened(data: bytes) -> Pillow.Image:
    picture = Pillow.open(BytesIO(data))
    picture.load()
    return picture


sides = st.integers(1, 20)
colours = st.tuples(*[st.integers(0, 255)] * 3)


@given(st.sampled_from(FORMATS), sides, sides, colours)
def test_a_picture_loses_its_texts_and_keeps_its_pixels(kind: str, width: int, height: int, colour: Any) -> None:
    picture = Pillow.new("RGB", (width, height), colour)
    picture.putpixel((0, 0), (255, 0, 255))
    before = saved(picture, kind)
    after = stripped(before)
    assert SECRET.encode() in before
    assert SECRET.encode() not in after
    assert ImageChops.difference(opened(before), opened(after)).getbbox() is None
    assert not {"prompt", "packed", "workflow", "comment", "exif", "xmp"} & opened(after).info.keys()
    assert opened(after).info["icc_profile"] == b"profile"
    assert stripped(after) == after


def test_transparency_is_kept() -> None:
    picture = Pillow.new("RGBA", (4, 4), (10, 20, 30, 40))
    for kind in ("PNG", "WEBP"):
        assert opened(stripped(saved(picture, kind))).getpixel((0, 0))[3] == 40


heads = st.sampled_from(
    [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8\xff\xff\xe1", b"RIFF\0\0\0\0WEBP", b"RIFF\0\0\0\0WEBPVP8X"]
)


@given(heads, st.binary(max_size=60))
def test_any_bytes_come_back_as_some(head: bytes, rest: bytes) -> None:
    assert isinstance(stripped(head + rest), bytes)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_that_is_cut_short_anywhere_raises_nothing(kind: str) -> None:
    whole = saved(Pillow.new("RGB", (3, 3)), kind)
    assert all(isinstance(stripped(whole[:length]), bytes) for length in range(len(whole)))


@pytest.mark.parametrize("fill", [1, 3])
def test_filling_bytes_before_a_text_hide_nothing(fill: int) -> None:
    whole = saved(Pillow.new("RGB", (3, 3)), "JPEG")
    at = whole.index(b"\xff\xe1")
    after = stripped(whole[:at] + b"\xff" * fill + whole[at:])
    assert SECRET.encode() not in after
    assert opened(after).size == (3, 3)


def encoded(data: bytes) -> Image:
    return Image(b64=base64.b64encode(data))


def plain(picture: Pillow.Image, kind: str, **settings: Any) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def noise(side: int) -> Pillow.Image:
    """A picture whose file is longer than what is read of it."""
    return Pillow.effect_noise((side, side), 100).convert("RGB")


modes = st.sampled_from(["RGB", "RGBA", "L"])
forms = st.sampled_from([encoded, lambda data: Image(data=data)])


@given(st.sampled_from(FORMATS), modes, sides, sides, forms, st.booleans())
def test_texts_are_seen_exactly_where_some_would_be_taken_out(
    kind: str, mode: str, width: int, height: int, form: Any, has_profile: bool
) -> None:
    picture = Pillow.new("RGB" if kind == "JPEG" else mode, (width, height))
    profile = {"icc_profile": b"profile"} if has_profile else {}
    assert not has_texts(form(plain(picture, kind, **profile)))
    assert has_texts(form(saved(picture, kind)))
    assert not has_texts(form(stripped(saved(picture, kind))))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("PNG", {"exif": EXIF}),
        ("JPEG", {"comment": SECRET}),
        ("JPEG", {"exif": EXIF}),
        ("JPEG", {"xmp": b"<x/>"}),
        ("WEBP", {"exif": EXIF, "lossless": True}),
        ("WEBP", {"xmp": b"<x/>"}),
    ],
)
def test_one_text_is_enough(kind: str, settings: dict[str, Any]) -> None:
    assert has_texts(Image(data=plain(Pillow.new("RGB", (3, 3)), kind, **settings)))


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("form", [encoded, lambda data: Image(data=data)], ids=["base64", "bytes"])
async def test_a_picture_without_texts_passes_through_as_it_is(kind: str, form: Any) -> None:
    image = form(plain(noise(300), kind, **({} if kind == "PNG" else {"quality": 100})))
    assert len(image.head(100_000)) > 65536
    assert await without_texts(image) is image


@pytest.mark.parametrize("kind", FORMATS)
async def test_a_picture_with_texts_loses_them_and_stays_in_its_form(kind: str) -> None:
    data = saved(noise(20), kind)
    from_base64, from_bytes = await without_texts(encoded(data)), await without_texts(Image(data=data))
    assert (from_base64.is_encoded, from_bytes.is_encoded) == (True, False)
    assert from_base64.data == from_bytes.data == stripped(data)
    assert from_base64.media_type == from_bytes.media_type == f"image/{kind.lower()}"


def test_a_head_that_is_full_before_the_pixels_begin_may_hide_texts() -> None:
    far = {"icc_profile": b"p" * 70_000}
    assert has_texts(Image(data=plain(Pillow.new("RGB", (3, 3)), "JPEG", **far)))


@given(heads, st.binary(max_size=60))
def test_texts_are_looked_for_in_any_bytes(head: bytes, rest: bytes) -> None:
    assert isinstance(has_texts(Image(data=head + rest)), bool)


async def test_what_is_no_picture_passes_through() -> None:
    for image in (Image(data=b""), Image(data=b"GIF89a"), Image(b64=b"?"), encoded(b"<html>")):
        assert await without_texts(image) is image
