"""What comes back: sizes, seeds, edits, masks, guidance; through the provider, on tiny random pipelines."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from imagerouter import Image, InvalidParameterError, Operation, ProviderRejectedError
from imagerouter_diffusers import devices

FAMILIES = ["sd1", "sdxl", "flux"]


def as_image(picture: Pillow.Image, file_format: str = "PNG", **options: Any) -> Image:
    buffer = BytesIO()
    picture.save(buffer, file_format, **options)
    return Image(data=buffer.getvalue())


def pixels(image: Image) -> Any:
    return np.asarray(Pillow.open(BytesIO(image.data)).convert("RGB")).astype(int)


def mask_of(box: tuple[int, int, int, int], mode: str, size: tuple[int, int] = (64, 64)) -> Image:
    """Repaint inside ``box``, told by transparency (RGBA) or by white (L)."""
    if mode == "RGBA":
        mask = Pillow.new("RGBA", size, (0, 0, 0, 255))
        mask.paste((0, 0, 0, 0), box)
    else:
        mask = Pillow.new("L", size, 0)
        mask.paste(255, box)
    return as_image(mask)


@pytest.mark.parametrize(
    ("model", "size"), [("sd1", (64, 64)), ("sd1", (128, 72)), *((name, (67, 90)) for name in FAMILIES)]
)
async def test_exactly_the_asked_size_comes_back(studio: Any, model: str, size: tuple[int, int]) -> None:
    images = await studio.draw(model, width=size[0], height=size[1])
    assert pixels(images.images[0]).shape[:2] == size[::-1]
    assert (images.applied["width"], images.applied["height"]) == size


async def test_the_built_in_model_enlarges_what_it_draws_to_the_asked_size(studio: Any) -> None:
    images = await studio.draw("builtin", width=1024, height=600, steps=1)
    assert pixels(images.images[0]).shape == (600, 1024, 3)


@pytest.mark.parametrize("model", FAMILIES)
async def test_a_batch_holds_what_its_seeds_give_alone(
    studio: Any, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = {"width": 64, "height": 64}
    alone = [await studio.pixels(model, seed=seed, **size) for seed in (11, 12, 13)]
    monkeypatch.setattr(devices, "images_at_once", lambda device, pixels: 2)
    studio.progress.clear()
    together = await studio.draw(model, n=3, **size)
    for one, image in zip(alone, together.images, strict=True):
        assert abs(one - pixels(image)).max() <= 1
    assert {progress.image_index for progress in studio.progress} == {0, 2}


async def test_noise_does_not_depend_on_where_it_is_used(studio: Any) -> None:
    import torch

    seen: dict[str, Any] = {}
    studio.provider._worker.residents._loaded.clear()
    await studio.draw("sd1", width=64, height=64)
    (resident,) = studio.provider._worker.residents._loaded.values()
    handle = resident.pipe.unet.conv_in.register_forward_pre_hook(lambda _, args: seen.setdefault("in", args[0]))
    await studio.draw("sd1", width=64, height=64, sampler="heun", seed=5)
    handle.remove()
    expected = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    assert torch.allclose(seen["in"][:1], expected)


async def test_the_picture_file_holds_no_metadata(studio: Any) -> None:
    image = (await studio.draw("sd1", width=64, height=64)).images[0]
    assert image.media_type == "image/png"
    assert not Pillow.open(BytesIO(image.data)).info


@pytest.mark.parametrize("model", FAMILIES)
async def test_an_edit_keeps_the_size_of_its_input(studio: Any, model: str) -> None:
    source = as_image(Pillow.new("RGB", (80, 48), "teal"))
    assert (await studio.pixels(model, images=(source,), strength=0.5)).shape == (48, 80, 3)


async def test_the_weaker_an_edit_the_closer_it_stays_to_its_input(studio: Any, scene: Image) -> None:
    source = pixels(scene)
    distances = [
        abs(await studio.pixels("builtin", images=(scene,), strength=strength, steps=4) - source).mean()
        for strength in (0.05, 0.5, 1.0)
    ]
    assert distances == sorted(distances)


async def test_strength_0_gives_the_input_back(studio: Any, scene: Image) -> None:
    images = await studio.draw("sd1", images=(scene,), strength=0.0, n=2)
    assert all((pixels(image) == pixels(scene)).all() for image in images.images)
    assert images.applied["steps"] == 0


async def test_an_input_is_turned_the_way_its_exif_says(studio: Any) -> None:
    exif = Pillow.Exif()
    exif[274] = 6
    source = as_image(Pillow.new("RGB", (80, 48), "teal"), "JPEG", exif=exif)
    assert (await studio.pixels("sd1", images=(source,), strength=0.0)).shape == (80, 48, 3)


@pytest.mark.parametrize(("model", "mode"), [*((name, "RGBA") for name in ["builtin", *FAMILIES]), ("sd1", "L")])
async def test_outside_the_mask_every_pixel_stays(studio: Any, scene: Image, model: str, mode: str) -> None:
    box = (16, 16, 48, 48)
    drawn = await studio.pixels(model, images=(scene,), mask=mask_of(box, mode), steps=2)
    inside = np.zeros((64, 64), bool)
    inside[16:48, 16:48] = True
    assert (drawn[~inside] == pixels(scene)[~inside]).all()
    assert (drawn[24:40, 24:40] != pixels(scene)[24:40, 24:40]).mean() > 0.5


async def test_a_mask_of_another_size_than_its_picture_is_fitted(studio: Any, scene: Image) -> None:
    mask = mask_of((0, 0, 64, 128), "L", (128, 128))
    drawn = await studio.pixels("sd1", images=(scene,), mask=mask)
    # Scaled down, its edge is one pixel wide.
    assert (drawn[:, 33:] == pixels(scene)[:, 33:]).all()
    assert (drawn[:, :24] != pixels(scene)[:, :24]).any()


async def test_a_mask_thinner_than_its_feather_still_repaints(studio: Any, scene: Image) -> None:
    drawn = await studio.pixels("sd1", images=(scene,), mask=mask_of((30, 0, 32, 64), "L"))
    assert (drawn[:, 30:32] != pixels(scene)[:, 30:32]).any()
    assert (drawn[:, :30] == pixels(scene)[:, :30]).all()


async def test_the_edge_of_a_mask_is_soft_where_no_other_program_draws_the_model(studio: Any) -> None:
    plain = as_image(Pillow.new("RGB", (256, 256), "magenta"))
    mask = mask_of((0, 0, 128, 256), "L", (256, 256))
    soft, hard = [
        abs(await studio.pixels(model, images=(plain,), mask=mask, steps=2) - pixels(plain)).mean(axis=(0, 2))
        for model in ("builtin", "sd1")
    ]
    assert 0 < soft[127] < soft[126] < soft[125]
    assert soft[127] < 0.3 * soft[124]
    assert hard[127] > 0.5 * hard[124]


async def test_a_sampler_that_can_not_paint_around_a_mask_is_refused_with_those_that_can(
    studio: Any, scene: Image
) -> None:
    mask = mask_of((0, 0, 32, 64), "L")
    with pytest.raises(ProviderRejectedError, match=r"can't inpaint with sampler `deis`, only with .*euler") as raised:
        await studio.draw("builtin", images=(scene,), mask=mask, sampler="deis")
    assert raised.value.param == "sampler"
    await studio.draw("sd1", images=(scene,), mask=mask, sampler="deis", steps=2)


async def test_an_inpainting_checkpoint_offers_inpainting_only(studio: Any, scene: Image) -> None:
    models = {model.id: model for model in await studio.provider.models()}
    assert models["sd1-fill"].operations == {Operation.INPAINT}
    drawn = await studio.pixels("sd1-fill", images=(scene,), mask=mask_of((0, 0, 32, 64), "RGBA"), n=2)
    assert (drawn[:, 32:] == pixels(scene)[:, 32:]).all()


async def test_an_operation_that_a_model_does_not_offer_is_left_to_another_provider(studio: Any) -> None:
    with pytest.raises(ProviderRejectedError, match="can't generate"):
        await studio.draw("sd1-fill")


async def test_a_consistency_model_runs_as_many_steps_as_asked_at_every_strength(studio: Any, scene: Image) -> None:
    images = await studio.draw("lcm", images=(scene,), strength=0.5, steps=3)
    assert images.applied["sampler"] == "lcm"
    assert [progress.step for progress in studio.progress if progress.steps] == [1, 2, 3]


async def test_a_negative_prompt_counts_with_guidance_and_is_ignored_without(studio: Any) -> None:
    size = {"width": 64, "height": 64}
    plain = await studio.pixels("sd1", cfg_scale=5.0, **size)
    assert (plain == await studio.pixels("sd1", cfg_scale=5.0, negative_prompt="", **size)).all()
    assert (plain != await studio.pixels("sd1", cfg_scale=5.0, negative_prompt="fog", **size)).any()
    images = await studio.draw("sd1", cfg_scale=1.0, negative_prompt="fog", **size)
    assert images.ignored == {"negative_prompt"}
    assert not (await studio.draw("sd1", cfg_scale=0.5, negative_prompt="fog", **size)).ignored


async def test_flux_has_distilled_guidance_beside_the_real_one(studio: Any) -> None:
    size = {"width": 64, "height": 64}
    pictures = [
        await studio.pixels("flux", cfg_scale=cfg, guidance=guidance, negative_prompt="fog", **size)
        for cfg, guidance in ((1.0, 3.5), (1.0, 9.0), (4.0, 3.5))
    ]
    assert (pictures[0] != pictures[1]).any()
    assert (pictures[0] != pictures[2]).any()
    images = await studio.draw("flux", **size)
    assert images.applied["guidance"] == 3.5


@pytest.mark.parametrize("model", ["sd1", "sdxl"])
async def test_clip_skip_and_long_weighted_prompts_change_the_picture(studio: Any, model: str) -> None:
    long = "abcdefghij " * 20
    variants = [
        {"prompt": long + "cat"},
        {"prompt": long + "dog"},
        {"prompt": long + "(cat:1.5)"},
        {"prompt": long + "cat", "clip_skip": 3},
    ]
    size = {"width": 64, "height": 64}
    drawn = {(await studio.draw(model, **variant, **size)).images[0].data for variant in variants}
    assert len(drawn) == len(variants)


async def test_another_vae_decodes_for_one_request_only(studio: Any) -> None:
    size = {"width": 64, "height": 64}
    own = await studio.pixels("sd1", **size)
    soft = await studio.pixels("sd1", vae="soft", **size)
    assert (own != soft).any()
    assert (soft == await studio.pixels("sd1", vae="soft-file", **size)).all()
    assert (own == await studio.pixels("sd1", **size)).all()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"sampler": "ddim_magic"}, "sampler"),
        ({"images": (Image(data=b"no picture"),)}, "images[0]"),
        ({"images": (Image(data=b"\x89PNG\r\n\x1a\n" + bytes(20)),)}, "images[0]"),
    ],
)
async def test_a_wrong_value_is_refused_by_its_name(studio: Any, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidParameterError) as raised:
        await studio.draw("sd1", **fields)
    assert raised.value.param == param


async def test_a_vae_that_is_not_here_is_left_to_another_provider(studio: Any) -> None:
    with pytest.raises(ProviderRejectedError, match="there is no VAE") as raised:
        await studio.draw("sd1", vae="none-such")
    assert raised.value.param == "vae"


async def test_a_second_input_picture_is_left_to_another_provider(studio: Any, scene: Image) -> None:
    with pytest.raises(ProviderRejectedError) as raised:
        await studio.draw("sd1", images=(scene, scene))
    assert raised.value.fallback


async def test_previews_are_made_for_those_who_ask(studio: Any) -> None:
    await studio.draw("builtin", steps=4)
    assert not [progress for progress in studio.progress if progress.preview]
    studio.progress.clear()
    await studio.draw("builtin", steps=4, partial_images=2, sampler="dpm_2")
    previews = [progress for progress in studio.progress if progress.preview]
    assert [progress.step for progress in previews] == [2, 3]
    assert pixels(previews[0].preview).shape == (256, 256, 3)


async def test_the_last_preview_resembles_the_picture(studio: Any) -> None:
    images = await studio.draw("builtin", steps=8, partial_images=3, prompt="a red circle on a blue background")
    last = [progress.preview for progress in studio.progress if progress.preview][-1]
    assert abs(pixels(last) - pixels(images.images[0])).mean() < 40
