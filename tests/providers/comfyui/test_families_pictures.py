"""Input pictures in the templates' graphs: sizes, masks, and models that look at what they edit."""

from __future__ import annotations

from typing import Any

import pytest
from tests.providers.comfyui.shelf import PICTURE, ask, build, classes, complaints, node, templates

from imagerouter import Operation, ProviderRejectedError

SHELF = templates()
SD15 = SHELF["v1-5-pruned-emaonly.safetensors"]
INPAINTING = SHELF["sd-v1-5-inpainting.ckpt"]
KONTEXT = SHELF["flux1-dev-kontext_fp8_scaled.safetensors"]
FLUX2 = SHELF["flux2_dev_fp8mixed.safetensors"]


def test_an_edit_starts_from_the_picture_at_its_own_size() -> None:
    built = build(SD15, ask(SD15, Operation.EDIT), (640, 480))
    assert node(built, "VAEEncode")["pixels"] == ["source", 0]
    assert node(built, "KSampler")["denoise"] == 0.75
    assert (built.applied["width"], built.applied["height"], built.applied["strength"]) == (640, 480, 0.75)


def test_an_edit_at_an_odd_size_is_stretched_to_the_canvas_and_back() -> None:
    built = build(SD15, ask(SD15, Operation.EDIT), (101, 67))
    canvas, back = built.graph["source_canvas"]["inputs"], built.graph["fitted"]["inputs"]
    assert (canvas["width"], canvas["height"], canvas["crop"]) == (104, 72, "disabled")
    assert (back["width"], back["height"]) == (101, 67)


def test_a_huge_picture_is_edited_at_four_times_the_native_area() -> None:
    applied = build(SD15, ask(SD15, Operation.EDIT), (4000, 3000)).applied
    assert (applied["width"], applied["height"]) == (1176, 880)


def test_another_shape_than_the_pictures_cuts_its_sides_off() -> None:
    built = build(SD15, ask(SD15, Operation.EDIT, width=512, height=512), (640, 480))
    scaled = node(built, "ImageScale")
    assert (scaled["width"], scaled["height"], scaled["crop"]) == (512, 512, "center")
    assert scaled["upscale_method"] == "lanczos"


def test_a_mask_repaints_from_noise_and_the_rest_comes_back_untouched() -> None:
    built = build(SD15, ask(SD15, Operation.INPAINT), (512, 512))
    assert built.graph["start"]["class_type"] == "SetLatentNoiseMask"
    assert node(built, "KSampler")["denoise"] == 1.0
    composed = node(built, "ImageCompositeMasked")
    assert composed["destination"] == ["source", 0]
    assert composed["mask"] == ["mask", 0]
    assert node(built, "LoadImageMask") == {"image": "mask.png [temp]", "channel": "red"}


def test_a_mask_is_cut_like_its_picture() -> None:
    built = build(SD15, ask(SD15, Operation.INPAINT, width=512, height=512), (640, 480))
    picture, mask = built.graph["source_scaled"]["inputs"], built.graph["mask_scaled"]["inputs"]
    assert {key: picture[key] for key in ("width", "height", "crop")} == {
        key: mask[key] for key in ("width", "height", "crop")
    }


def test_an_inpainting_model_sees_mask_and_picture() -> None:
    built = build(INPAINTING, ask(INPAINTING, Operation.INPAINT))
    seen = node(built, "InpaintModelConditioning")
    assert seen["positive"] == ["positive", 0]
    sampler = node(built, "KSampler")
    assert (sampler["positive"], sampler["negative"], sampler["latent_image"]) == (
        ["start", 0],
        ["start", 1],
        ["start", 2],
    )


def test_flux_fill_only_repaints() -> None:
    assert SHELF["flux1-fill-dev.safetensors"].model.operations == {Operation.INPAINT}


@pytest.mark.parametrize("template", [KONTEXT, FLUX2], ids=["kontext", "flux2"])
def test_models_made_for_editing_look_at_all_pictures_and_start_from_noise(template: Any) -> None:
    built = build(template, ask(template, Operation.EDIT, images=(PICTURE, PICTURE)))
    assert complaints(built) == []
    assert classes(built).count("ReferenceLatent") == 2
    assert built.graph["start"]["class_type"] == template.kit.family.latent
    assert "strength" not in template.model.parameters


def test_qwen_image_edit_sees_pictures_in_its_prompt() -> None:
    template = SHELF["qwen_image_edit_2511_bf16.safetensors"]
    assert template.model.operations == {Operation.EDIT, Operation.INPAINT}
    built = build(template, ask(template, Operation.EDIT, images=(PICTURE, PICTURE), negative_prompt="blurry"))
    assert complaints(built) == []
    positive, negative = built.graph["positive"]["inputs"], built.graph["negative"]["inputs"]
    assert (positive["prompt"], negative["prompt"]) == ("a fox", "blurry")
    assert (positive["image1"], positive["image2"]) == (["reference_0", 0], ["reference_1", 0])
    with pytest.raises(ProviderRejectedError, match="takes 3 input images at most"):
        build(template, ask(template, Operation.EDIT, images=(PICTURE,) * 4))


def test_models_that_look_at_the_picture_draw_at_their_native_area_at_most() -> None:
    applied = build(KONTEXT, ask(KONTEXT, Operation.EDIT), (4000, 3000)).applied
    assert (applied["width"], applied["height"]) == (1168, 880)


def test_other_models_take_one_picture() -> None:
    with pytest.raises(ProviderRejectedError) as refused:
        build(SD15, ask(SD15, Operation.EDIT, images=(PICTURE, PICTURE)))
    assert refused.value.param == "images[1]"
