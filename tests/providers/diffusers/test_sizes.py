from __future__ import annotations

import pytest

from imagerouter_diffusers.discovery import BUILTIN_FOLDER, Source
from imagerouter_diffusers.sizes import plan
from imagerouter_diffusers.traits import Traits, traits_of

SD = Traits("StableDiffusionPipeline", width=512, height=512, multiple=8)
ODD_SIZES = [(512, 512), (500, 301), (1, 1), (4096, 64), (333, 777), (2000, 3000)]


@pytest.mark.parametrize("size", ODD_SIZES)
def test_the_kept_part_lies_within_the_canvas(size: tuple[int, int]) -> None:
    made = plan(SD, *size)
    left, top, right, bottom = made.box
    assert 0 <= left < right <= made.canvas_width + 1e-6
    assert 0 <= top < bottom <= made.canvas_height + 1e-6
    assert made.canvas_width % 8 == made.canvas_height % 8 == 0


def test_an_ordinary_model_draws_the_asked_size_rounded_up_and_cut() -> None:
    made = plan(SD, 500, 301)
    assert (made.canvas_width, made.canvas_height) == (504, 304)
    assert made.box == (2, 1, 502, 302)
    assert made.is_direct


def test_beyond_four_times_its_native_area_a_model_draws_less_and_it_is_enlarged() -> None:
    assert plan(SD, 1024, 1024).is_direct
    made = plan(SD, 2048, 1024)
    assert made.canvas_width * made.canvas_height <= 4.1 * 512 * 512
    assert made.scale < 1


@pytest.mark.parametrize("size", [(64, 64), (1024, 1024), (1536, 1024), (1024, 1536), (1920, 1080)])
def test_the_built_in_model_always_draws_about_its_native_area(size: tuple[int, int]) -> None:
    traits = traits_of(Source("builtin", BUILTIN_FOLDER))
    assert traits is not None
    made = plan(traits, *size)
    assert 0.8 < made.canvas_width * made.canvas_height / 256**2 < 1.2
    assert made.canvas_width % 32 == made.canvas_height % 32 == 0
    # At most a fifth of what was drawn is cut off to get the asked aspect ratio.
    assert made.inner[0] * made.inner[1] > 0.8 * made.canvas_width * made.canvas_height
