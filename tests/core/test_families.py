"""What a model is, told from texts about it, and what it wants wherever it is drawn."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.families import PATTERNS, TRAITS, VARIANTS, Name, guess, traits, undrawable
from imagerouter.samplers import SAMPLERS, SCHEDULERS


def test_every_family_has_traits_and_a_pattern() -> None:
    assert TRAITS.keys() == {name for name, _ in PATTERNS}
    assert VARIANTS.keys() <= TRAITS.keys()


@pytest.mark.parametrize(
    ("texts", "family"),
    [
        (["juggernautXL_v9"], "sdxl"),
        (["", "stable-diffusion-xl-v1-base", "flux1-dev"], "sdxl"),
        (["somebodys-mix", "Flux"], "flux"),
        (["flux-2-klein-4b"], "flux2"),
        (["dreamshaper_8", ""], None),
        ([], None),
    ],
)
def test_the_first_text_that_names_a_family_decides(texts: list[str], family: Name | None) -> None:
    assert guess(texts) == family


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("wan2.2_t2v_high_noise_14B", "it draws videos"),
        ("stable-audio-open-1.0", "it makes sound"),
        ("hunyuan3d-dit-v2", "it makes shapes in space"),
        ("flux1-redux-dev", "it only steers another model"),
        ("4x_esrgan", "it only enlarges pictures"),
        ("flux1-dev-fp8", None),
        ("swan2", None),
    ],
)
def test_what_draws_no_pictures_is_known_by_words_of_its_name(text: str, reason: str | None) -> None:
    assert undrawable(text) == reason


def test_an_adapter_adds_what_it_cannot_draw_as_whole_words() -> None:
    more = ((r"canny", "not here"),)
    assert undrawable("flux1-canny-dev", more) == "not here"
    assert undrawable("uncanny_v1", more) is None
    assert undrawable("svd-canny", more) == "it draws videos"


@pytest.mark.parametrize(
    ("family", "told", "title", "side"),
    [
        ("sdxl", "sd_xl_base_1.0", "SDXL", 1024),
        ("sdxl", "sd_xl_turbo_1.0", "SDXL", 512),
        ("sd2", "v2-1_768-ema", "Stable Diffusion 2", 768),
        ("sd2", "512-base-ema", "Stable Diffusion 2", 512),
        ("flux", "flux1-dev-kontext", "Flux.1 Kontext", 1024),
        ("flux", "flux1-fill-dev", "Flux.1 Fill", 1024),
        ("flux2", "flux-2-klein-4b", "Flux.2 Klein", 1024),
        ("qwen-image", "qwen_image_bf16", "Qwen-Image", 1328),
        ("qwen-image", "qwen_image_edit_2509", "Qwen-Image-Edit", 1024),
    ],
)
def test_members_of_a_family_have_their_own_title_and_size(family: Name, told: str, title: str, side: int) -> None:
    found = traits(family, told)
    assert (found.title, found.side) == (title, side)


@pytest.mark.parametrize(
    ("family", "stem", "steps", "cfg_scale"),
    [
        ("sdxl", "sd_xl_base_1.0", 25, 7.0),
        ("sdxl", "sd_xl_turbo_1.0_fp16", 4, 1.0),
        ("sdxl", "dreamshaperXL_lightningDPMSDE", 8, 1.5),
        ("sd15", "dreamshaper_8LCM", 6, 1.5),
        ("flux", "flux1-schnell", 4, None),
        ("flux2", "flux-2-klein-4b", 4, None),
        ("flux2", "flux-2-klein-base-4b", 20, 5.0),
        ("z-image", "z_image_turbo_bf16", 8, None),
        ("z-image", "z_image_bf16", 25, 4.0),
        ("hidream", "hidream_i1_fast_fp8", 16, None),
        ("qwen-image", "qwen_image_2512_bf16", 50, 4.0),
        ("qwen-image", "qwen_image_edit_2509_fp8_e4m3fn", 20, 4.0),
        ("qwen-image", "qwen_image_edit_2511_bf16", 40, 3.0),
    ],
)
def test_distilled_models_get_their_own_defaults(family: Name, stem: str, steps: int, cfg_scale: float | None) -> None:
    usual = traits(family, stem).usual
    assert (usual.steps, usual.cfg_scale) == (steps, cfg_scale)


@given(st.sampled_from(sorted(TRAITS)), st.text(max_size=30))
def test_usual_values_are_canonical_ones_whatever_is_told(family: Name, told: str) -> None:
    found = traits(family, told)
    assert found.usual.sampler in SAMPLERS
    assert found.usual.scheduler in SCHEDULERS
    assert found.side % found.multiple == 0
