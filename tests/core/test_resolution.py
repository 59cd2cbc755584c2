"""``resolution``, and sizes that are said as one: so many pixels, in the shape of ``aspect_ratio``."""

import base64
import math
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags
from PIL import Image as Pillow

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError
from imagerouter.openai import interpret
from imagerouter.openai.sizes import MULTIPLE, SMALLEST, TIERS

LIMITS = Limits(max_pixels=4096**2, max_side=16384)
words = st.sampled_from(sorted(TIERS)).flatmap(lambda name: st.sampled_from([name, name.lower(), f" {name} "]))


def side_of(word: str) -> int:
    return TIERS[word.strip().upper()]


def sides(limits: Limits = LIMITS, **body: Any) -> tuple[int, int]:
    job = interpret({"prompt": "a fox", **body}, limits).job
    assert job.aspect_ratio is None
    return job.params["width"], job.params["height"]


@given(
    word=words,
    name=st.sampled_from(["size", "resolution", "image_size"]),
    wide=st.integers(1, 40),
    high=st.integers(1, 40),
)
def test_a_tier_is_about_so_many_pixels_in_the_shape_that_is_asked_for(
    word: str, name: str, wide: int, high: int
) -> None:
    ratio, side = wide / high, side_of(word)
    if not 1 / 16 <= ratio <= 16:
        return
    width, height = sides(**{name: word, "aspect_ratio": f"{wide}:{high}"})
    assert width % MULTIPLE == height % MULTIPLE == 0
    assert min(width, height) >= SMALLEST
    exact = side * math.sqrt(ratio), side / math.sqrt(ratio)
    assert exact[0] - MULTIPLE < width <= exact[0] + 0.01
    assert exact[1] - MULTIPLE < height <= exact[1] + 0.01


@given(word=words, ratio=st.floats(1 / 16, 16))
def test_a_tier_that_fits_into_the_limits_fits_in_every_shape(word: str, ratio: float) -> None:
    limits = Limits(max_pixels=side_of(word) ** 2, max_side=65536)
    width, height = sides(limits, resolution=word, aspect_ratio=f"{ratio:.4f}:1" if ratio > 0.07 else "1:14")
    assert width * height <= limits.max_pixels


@pytest.mark.parametrize("name", sorted(TIERS))
@pytest.mark.parametrize("ratio", [{}, {"aspect_ratio": "auto"}, {"aspect_ratio": "1:1"}])
def test_a_tier_alone_is_a_square(name: str, ratio: dict[str, str]) -> None:
    assert sides(resolution=name, **ratio) == sides(size=name, **ratio) == (TIERS[name], TIERS[name])


@given(word=words, width=st.integers(64, 4096), height=st.integers(64, 4096))
def test_pixels_are_authoritative_and_refused_beside_another_tier(word: str, width: int, height: int) -> None:
    area_side, side = math.sqrt(width * height), side_of(word)
    for body in ({"size": f"{width}x{height}"}, {"width": width, "height": height}):
        if abs(area_side / side - 1) < 0.2:
            assert sides(**body, resolution=word) == (width, height)
        elif abs(area_side / side - 1) > 0.3:
            with pytest.raises(InvalidParameterError) as caught:
                sides(**body, resolution=word)
            assert caught.value.param == "resolution"


@pytest.mark.parametrize("size", ["1024x1024", "1536x1024", "1024x1536", "1344x768", "896x1152"])
def test_what_models_call_1k_goes_with_1k(size: str) -> None:
    width, height = size.split("x")
    assert sides(size=size, resolution="1K") == (int(width), int(height))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"resolution": "3K"}, "resolution"),
        ({"resolution": 1024}, "resolution"),
        ({"resolution": "1024x1024"}, "resolution"),
        ({"size": "3K"}, "size"),
        ({"size": "2K", "resolution": "1K"}, "resolution"),
        ({"size": "2K", "width": 512, "height": 512}, "size"),
        ({"image_size": "2K", "width": 512, "height": 512}, "image_size"),
        ({"size": "1024x1024", "resolution": "1K", "aspect_ratio": "16:9"}, "aspect_ratio"),
        ({"resolution": "1K", "aspect_ratio": "wide"}, "aspect_ratio"),
        ({"resolution": "4K"}, "resolution"),
        ({"size": "4K"}, "size"),
    ],
)
def test_what_contradicts_itself_or_is_no_tier_or_too_large_is_refused_by_its_name(
    body: dict[str, Any], param: str
) -> None:
    with pytest.raises(InvalidParameterError) as caught:
        interpret({"prompt": "a fox", **body}, Limits())
    assert caught.value.param == param
    assert f"`{param}`" in caught.value.message


@pytest.mark.parametrize(("turn", "expected"), [(1, (1440, 720)), (3, (1440, 720)), (6, (720, 1440)), (8, (720, 1440))])
def test_a_tier_of_an_edit_has_the_shape_of_the_picture_as_it_is_seen(turn: int, expected: tuple[int, int]) -> None:
    file, exif = BytesIO(), Pillow.Exif()
    exif[ExifTags.Base.Orientation] = turn
    Pillow.new("RGB", (400, 200)).save(file, "JPEG", exif=exif)
    picture = base64.b64encode(file.getvalue()).decode()
    assert sides(resolution="1K", images=[picture]) == expected
    assert sides(resolution="1K", images=[picture], aspect_ratio="1:1") == (1024, 1024)


def test_a_picture_that_tells_no_size_leaves_a_square() -> None:
    assert sides(resolution="1K", images=[base64.b64encode(b"\xff\xd8\xff" + bytes(30)).decode()]) == (1024, 1024)


def test_auto_says_nothing() -> None:
    job = interpret({"prompt": "a fox", "resolution": "auto", "size": "auto"}, Limits()).job
    assert not job.params
