"""What is taken out of finished pictures, and what isn't."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from PIL import ImageChops
from PIL.PngImagePlugin import PngInfo

from imagerouter_comfyui.metadata import stripped

SECRET = "a secret lighthouse"
FORMATS = ("PNG", "JPEG", "WEBP")


def saved(picture: Pillow.Image, kind: str) -> bytes:
    """The file, with the secret wherever its format has room for it."""
    exif = Pillow.Exif()
    exif[0x010E] = SECRET
    settings: dict[str, Any] = {"exif": exif, "xmp": f"<x>{SECRET}</x>".encode()}
    if kind == "PNG":
        texts = PngInfo()
        texts.add_text("prompt", SECRET)
        texts.add_text("packed", SECRET, zip=True)
        texts.add_itxt("workflow", SECRET)
        settings = {"pnginfo": texts, "exif": exif}
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
