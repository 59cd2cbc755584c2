"""What a file is, told from its header, its name and its folder; and which other files belong to it."""

from __future__ import annotations

import pytest

from imagerouter import names
from imagerouter.families import traits
from imagerouter_comfyui.families import roles
from imagerouter_comfyui.families.detect import detect, native_size
from imagerouter_comfyui.families.variants import variant


@pytest.mark.parametrize(
    ("file", "family"),
    [
        ("v1-5-pruned-emaonly.safetensors", "sd15"),
        ("dreamshaper_8.safetensors", "sd15"),
        ("uncannyValley_v13.safetensors", "sd15"),
        ("juggernaut_reborn.safetensors", "sd15"),
        ("swan2.safetensors", "sd15"),
        ("v2-1_768-ema-pruned.ckpt", "sd2"),
        ("sd_turbo.safetensors", "sd2"),
        ("sd_xl_base_1.0.safetensors", "sdxl"),
        ("juggernautXL_v9.safetensors", "sdxl"),
        ("realvisxlV40.safetensors", "sdxl"),
        ("ponyDiffusionV6XL.safetensors", "sdxl"),
        ("waiNSFWIllustrious_v140.safetensors", "sdxl"),
        ("noobaiXLNAIXL_vPred10.safetensors", "sdxl"),
        ("XL/somebodys-mix.safetensors", "sdxl"),
        ("SDXL\\somebodys-mix.safetensors", "sdxl"),
        ("sd3_medium_incl_clips_t5xxlfp8.safetensors", "sd3"),
        ("sd3.5_large_fp8_scaled.safetensors", "sd3"),
        ("flux1-dev-fp8.safetensors", "flux"),
        ("SDXL/flux1-schnell.safetensors", "flux"),
        ("flux1-krea-dev_fp8_scaled.safetensors", "flux"),
        ("flux2_dev_fp8mixed.safetensors", "flux2"),
        ("flux-2-klein-base-4b-fp8.safetensors", "flux2"),
        ("qwen_image_2512_fp8_e4m3fn.safetensors", "qwen-image"),
        ("qwen_image_edit_2509_fp8_e4m3fn.safetensors", "qwen-image"),
        ("Qwen-Image-Q8.safetensors", "qwen-image"),
        ("Chroma1-HD-fp8mixed.safetensors", "chroma"),
        ("chroma-unlocked-v50.safetensors", "chroma"),
        ("z_image_turbo_bf16.safetensors", "z-image"),
        ("hidream_i1_full_fp8.safetensors", "hidream"),
    ],
)
def test_a_family_is_told_from_a_name(file: str, family: str) -> None:
    assert detect(file, {}, is_checkpoint=True).family == family


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "it draws videos"),
        ("Wan2_1-T2V-1_3B_bf16.safetensors", "it draws videos"),
        ("ltx-video-2b-v0.9.safetensors", "it draws videos"),
        ("ltxv-13b-0.9.7-dev.safetensors", "it draws videos"),
        ("svd_xt.safetensors", "it draws videos"),
        ("hunyuan_video_t2v_720p_bf16.safetensors", "it draws videos"),
        ("ace_step_v1_3.5b.safetensors", "it makes sound"),
        ("hunyuan3d-dit-v2.safetensors", "it makes shapes in space"),
        ("sd_xl_refiner_1.0.safetensors", "it only refines another model's pictures; give it a workflow"),
        ("qwen_image_layered_bf16.safetensors", "no template draws this kind; give it a workflow"),
        ("flux1-canny-dev.safetensors", "no template draws this kind; give it a workflow"),
        ("lumina_2.safetensors", "no template draws this kind; give it a workflow"),
        ("512-depth-ema.safetensors", "no template draws this kind; give it a workflow"),
    ],
)
def test_what_no_template_can_draw_is_not_offered(file: str, reason: str) -> None:
    found = detect(file, {}, is_checkpoint=True)
    assert (found.family, found.reason) == (None, reason)


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"modelspec.architecture": "stable-diffusion-v1"}, "sd15"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base"}, "sdxl"),
        ({"modelspec.architecture": "stable-diffusion-3-medium"}, "sd3"),
        ({"modelspec.architecture": "Flux.1-dev"}, "flux"),
        ({"modelspec.architecture": "flux-2-dev"}, "flux2"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd_v1"}, "sd15"),
    ],
)
def test_a_header_is_believed_rather_than_a_name(metadata: dict[str, str], family: str) -> None:
    assert detect("XL/fluxish.safetensors", metadata, is_checkpoint=True).family == family


def test_a_checkpoint_that_nothing_is_known_of_is_a_classic_one_and_a_diffusion_model_isnt() -> None:
    assert detect("mine.safetensors", {}, is_checkpoint=True).is_guess
    assert detect("mine.safetensors", {}, is_checkpoint=False).family is None


def test_a_lora_among_the_checkpoints_is_not_offered() -> None:
    metadata = {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    assert "LoRAs" in detect("style.safetensors", metadata, is_checkpoint=True).reason


@pytest.mark.parametrize(
    ("family", "told", "inpaints"),
    [
        ("sd15", "sd-v1-5-inpainting", "trained"),
        ("sd15", "somebodys-mix stable-diffusion-v1-inpainting", "trained"),
        ("sdxl", "sd_xl_base_1.0", "masked"),
        ("flux", "flux1-fill-dev", "only"),
        ("z-image", "z_image_inpaint", "masked"),
    ],
)
def test_inpainting_models_are_told_by_name_or_header(family: str, told: str, inpaints: str) -> None:
    assert variant(family, told).inpaints == inpaints  # type: ignore[arg-type]


def test_a_native_size_is_read_from_the_header() -> None:
    assert native_size({"modelspec.resolution": "768x1024"}) == (768, 1024)
    assert native_size({"modelspec.resolution": "huge"}) is None
    assert native_size({"modelspec.resolution": "9999x9999"}) is None


def test_a_variant_has_what_it_wants_from_any_backend_and_what_is_comfyuis_own() -> None:
    family = variant("qwen-image", "qwen_image_edit_2511_bf16")
    assert family.traits == traits("qwen-image", "qwen_image_edit_2511_bf16")
    assert (family.traits.title, family.traits.usual.steps, family.most_pictures) == ("Qwen-Image-Edit", 40, 3)


@pytest.mark.parametrize(
    ("role", "files", "file"),
    [
        ("clip_l", ["clip_l_hidream.safetensors", "clip_l.safetensors"], "clip_l.safetensors"),
        ("clip_l-hidream", ["clip_l.safetensors", "clip_l_hidream.safetensors"], "clip_l_hidream.safetensors"),
        ("clip_l-hidream", ["clip_l.safetensors"], "clip_l.safetensors"),
        ("t5xxl", ["umt5_xxl_fp8.safetensors", "t5/t5xxl_fp8_e4m3fn.safetensors"], "t5/t5xxl_fp8_e4m3fn.safetensors"),
        ("t5xxl", ["t5-v1_1-xxl-encoder.safetensors"], "t5-v1_1-xxl-encoder.safetensors"),
        ("t5xxl", ["umt5_xxl_fp8.safetensors"], None),
        ("flux-vae", ["vae-ft-mse.safetensors", "FLUX1\\ae.safetensors"], "FLUX1\\ae.safetensors"),
        ("flux-vae", ["flux2-vae.safetensors"], None),
        ("flux2-vae", ["ae.safetensors", "flux2-vae.safetensors"], "flux2-vae.safetensors"),
        ("qwen-image-vae", ["qwen_image_layered_vae.safetensors", "qwen_image_vae.safetensors"], "qwen_image_vae"),
        ("mistral-flux2", ["mistral_3_small_flux2_bf16.safetensors"], "mistral_3_small_flux2_bf16.safetensors"),
    ],
)
def test_text_encoders_and_vaes_are_known_by_their_names(role: str, files: list[str], file: str | None) -> None:
    found = roles.holder(role, files)
    assert found == file or (found is not None and names.stem(found) == file)


def test_every_role_of_a_family_has_patterns_and_a_description() -> None:
    assert roles.PATTERNS.keys() == roles.DESCRIPTIONS.keys()
