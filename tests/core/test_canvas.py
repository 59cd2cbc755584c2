"""How big a canvas has to be, and which size a request without one gets."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter import Image, ImageRequest
from imagerouter.canvas import LARGEST, LEAST, Size, bounded, choose, fitted

PICTURE = Image(data=b"")
sides = st.integers(1, LARGEST)
multiples = st.sampled_from([8, 16, 32, 64])


def chosen(source: tuple[int, int] | None, times: int = 4, **given: Any) -> tuple[int, int]:
    request = ImageRequest(model="m", prompt="x", seed=1, **given)
    size = choose(request, source, native=(1024, 512), multiple=16, times=times)
    return size.width, size.height


@given(sides, sides, multiples)
def test_a_canvas_holds_the_picture_and_is_no_larger_than_it_must_be(width: int, height: int, multiple: int) -> None:
    size = fitted(width, height, multiple)
    assert (size.width, size.height) == (width, height)
    for side, canvas in ((width, size.canvas_width), (height, size.canvas_height)):
        assert canvas % multiple == 0
        assert side <= canvas < side + multiple
    assert size.is_whole == (width % multiple == height % multiple == 0)


@given(sides, sides, st.integers(64 * 64, 2**24), multiples)
def test_a_picture_that_is_too_large_keeps_its_shape_within_the_area(
    width: int, height: int, area: int, multiple: int
) -> None:
    found = bounded((width, height), area, multiple)
    assert all(LEAST <= side <= LARGEST for side in found)
    if width * height <= area:
        assert found == (max(LEAST, width), max(LEAST, height))
    elif min(found) > max(multiple, LEAST):
        assert found[0] * found[1] <= area
        assert all(side % multiple == 0 for side in found)
        assert abs(found[0] / width - found[1] / height) <= multiple / min(width, height)


def test_a_request_from_text_gets_the_native_size_of_what_it_leaves_open() -> None:
    assert chosen(None) == (1024, 512)
    assert chosen(None, width=700) == (700, 512)
    assert chosen((64, 64)) == (1024, 512), "a picture that is no source sets nothing"


@pytest.mark.parametrize(
    ("source", "times", "size"),
    [
        ((800, 600), 4, (800, 600)),
        ((2000, 1000), 4, (2000, 1000)),
        ((4000, 2000), 4, (2048, 1024)),
        ((4000, 2000), 1, (1024, 512)),
        ((801, 3), 4, (801, LEAST)),
        (None, 4, (1024, 512)),
    ],
)
def test_a_source_sets_the_size_up_to_some_native_areas(source: Any, times: int, size: tuple[int, int]) -> None:
    assert chosen(source, times, images=(PICTURE,)) == size


def test_what_is_asked_for_comes_before_the_sources_size() -> None:
    assert chosen((800, 600), width=300, height=200, images=(PICTURE,)) == (300, 200)


def test_a_size_is_scaled_by_its_picture_and_not_by_its_canvas() -> None:
    assert fitted(500, 300, 16).scaled(1.5, 16) == Size(750, 450, 752, 464)
    assert fitted(16, 16, 16).scaled(0.1, 16) == Size(LEAST, LEAST, 16, 16)
