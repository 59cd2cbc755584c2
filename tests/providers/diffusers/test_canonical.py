"""Pictures of Stable Diffusion models against a plain loop over the same networks, written down from the formulas."""

from __future__ import annotations

import itertools
import json
import shutil
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from imagerouter import Image
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider
from imagerouter_diffusers.discovery import Source
from imagerouter_diffusers.schedules import BETAS
from imagerouter_diffusers.traits import traits_of

SEED, STEPS, CFG = 11, 3, 3.0
HIGH, LOW = 14.614643, 0.0291675
PROMPT, NEGATIVE = "a red circle", "fog"


def pixels(image: Image) -> Any:
    return np.asarray(Pillow.open(BytesIO(image.data)).convert("RGB")).astype(int)


class Plain:
    """Euler's method over karras sigmas, with nothing of imagerouter's."""

    def __init__(self, folder: Path) -> None:
        from diffusers import DiffusionPipeline

        self.pipe = DiffusionPipeline.from_pretrained(folder)
        self.pipe.set_progress_bar_config(disable=True)
        betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
        signal = np.cumprod(1 - betas)
        self.logs = np.log((1 - signal) / signal) / 2

    def clean(self, x: Any, sigma: float, cfg: float) -> Any:
        pipe, options = self.pipe, {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": True}
        told = pipe.encode_prompt(PROMPT, negative_prompt=NEGATIVE, **options)
        is_xl = len(told) == 4
        cleans = []
        for side in range(2):
            sizes = torch.tensor([[64.0, 64.0, 0.0, 0.0, 64.0, 64.0]])
            added = {"text_embeds": told[2 + side], "time_ids": sizes} if is_xl else None
            time = int(np.abs(np.log(sigma) - self.logs).argmin())
            noise = pipe.unet(x / (sigma**2 + 1) ** 0.5, time, told[side], added_cond_kwargs=added).sample
            cleans.append(x - sigma * noise)
        return cleans[1] + cfg * (cleans[0] - cleans[1])

    def draw(self, *, strength: float = 1.0, cfg: float = CFG, source: Any = None, mask: Any = None) -> Any:
        whole = int(STEPS / strength)
        ramp = np.linspace(0, 1, whole)
        sigmas = [*((HIGH ** (1 / 7) + ramp * (LOW ** (1 / 7) - HIGH ** (1 / 7))) ** 7), 0.0][-STEPS - 1 :]
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
        scale = (1 + sigmas[0] ** 2) ** 0.5 if strength == 1 else sigmas[0]
        kept = torch.zeros_like(noise) if source is None else source
        blend = torch.ones_like(noise) if mask is None else mask
        x = kept + noise * scale
        for now, after in itertools.pairwise(sigmas):
            shown = x * blend + (kept + noise * now) * (1 - blend)
            clean = self.clean(shown, now, cfg) * blend + kept * (1 - blend)
            x = x + (x - clean) / now * (after - now)
        found = self.pipe.vae.decode(x / self.pipe.vae.config.scaling_factor).sample[0]
        return ((found.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).numpy().astype(np.uint8).astype(int)

    def encode(self, picture: Any) -> Any:
        values = torch.from_numpy(picture / np.float32(127.5) - 1).float().permute(2, 0, 1)[None]
        return self.pipe.vae.encode(values).latent_dist.mode() * self.pipe.vae.config.scaling_factor


@pytest.fixture(scope="module", params=["sd1", "sdxl"])
def plain(request: Any, folder: Path) -> tuple[str, Plain]:
    return request.param, Plain(folder / request.param)


async def ours(studio: Any, model: str, **fields: Any) -> Any:
    usual = {"negative_prompt": NEGATIVE, "seed": SEED, "steps": STEPS, "cfg_scale": CFG, "width": 64, "height": 64}
    return await studio.pixels(model, **(usual | {"sampler": "euler", "scheduler": "karras"} | fields))


def assert_same(one: Any, other: Any) -> None:
    assert one.std() > 1
    assert abs(one - other).max() <= 1


@pytest.mark.parametrize("cfg", [0.0, 0.5, 1.0, 7.0])
async def test_guidance_counts_at_every_value(studio: Any, plain: tuple[str, Plain], cfg: float) -> None:
    model, reference = plain
    with torch.no_grad():
        expected = reference.draw(cfg=cfg)
    assert_same(await ours(studio, model, cfg_scale=cfg), expected)


@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
async def test_an_edit_starts_from_the_mode_of_its_picture(
    studio: Any, plain: tuple[str, Plain], scene: Image, strength: float
) -> None:
    model, reference = plain
    with torch.no_grad():
        expected = reference.draw(strength=strength, source=reference.encode(pixels(scene)))
    assert_same(await ours(studio, model, images=(scene,), strength=strength), expected)


async def test_around_a_mask_the_picture_is_put_back_at_every_step(
    studio: Any, plain: tuple[str, Plain], scene: Image
) -> None:
    model, reference = plain
    # Soft on one side, where each latent has the mean of two pixels in its middle.
    ramp = np.clip(np.arange(64) * 8, 0, 255).astype(np.uint8)
    white = np.tile(ramp, (64, 1))
    grey = torch.from_numpy(white / np.float32(255))[None, None]
    small = torch.nn.functional.interpolate(grey, (8, 8), mode="bilinear")
    with torch.no_grad():
        drawn = reference.draw(source=reference.encode(pixels(scene)), mask=small)
    share = white[..., None] / 255
    expected = drawn * share + pixels(scene) * (1 - share)
    file = BytesIO()
    Pillow.fromarray(white).save(file, "PNG")
    found = await ours(studio, model, images=(scene,), mask=Image(data=file.getvalue()))
    assert abs(found - expected).max() <= 1.5


async def test_velocity_models_are_drawn_from_what_they_predict(studio: Any, folder: Path, tmp_path: Path) -> None:
    from diffusers import PNDMScheduler

    home = tmp_path / "velocity"
    shutil.copytree(folder / "sd1", home)
    PNDMScheduler(**BETAS, steps_offset=1, prediction_type="v_prediction").save_pretrained(home / "scheduler")
    provider = DiffusersProvider("local", DiffusersConfig(device="cpu", folders=[str(tmp_path)], hub_cache=False))
    await provider.start()
    studio = type(studio)(provider)
    size = {"width": 64, "height": 64, "cfg_scale": 1.0, "steps": 1, "seed": SEED}
    found = await studio.pixels("velocity", **size)
    await provider.aclose()

    reference = Plain(home)
    with torch.no_grad():
        noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(SEED))
        options = {"device": "cpu", "num_images_per_prompt": 1, "do_classifier_free_guidance": False}
        text = reference.pipe.encode_prompt(PROMPT, **options)[0]
        velocity = reference.pipe.unet(noise, 999, text).sample
        latents = (noise / (1 + HIGH**2) ** 0.5) - velocity * HIGH / (1 + HIGH**2) ** 0.5
        drawn = reference.pipe.vae.decode(latents / reference.pipe.vae.config.scaling_factor).sample[0]
    expected = ((drawn.permute(1, 2, 0) / 2 + 0.5).clamp(0, 1) * 255).numpy().astype(int)
    assert_same(found, expected)


async def test_pictures_of_a_request_are_those_of_the_seeds_that_follow(studio: Any) -> None:
    for sampler in ("euler_ancestral", "dpmpp_2m"):
        size = {"width": 64, "height": 64, "sampler": sampler}
        together = (await studio.draw("sd1", n=3, **size)).images
        alone = [await studio.pixels("sd1", seed=SEED + place, **size) for place in range(3)]
        assert all((pixels(image) == one).all() for image, one in zip(together, alone, strict=True))


async def test_models_say_what_their_pictures_can_be_compared_with(studio: Any) -> None:
    known = {model.id: model.parity for model in await studio.provider.models()}
    assert {name: parity.profile for name, parity in known.items() if parity} == {
        "sd1": "sd1", "sd1-fill": "sd1", "sdxl": "sdxl"
    }  # fmt: skip
    assert known["sd1"].dtype == "fp32"


def test_other_sigmas_or_text_encoders_make_another_family(folder: Path, tmp_path: Path) -> None:
    for name, change in (
        ("schedule", ("scheduler/scheduler_config.json", {"beta_end": 0.02})),
        ("encoder", ("model_index.json", {"text_encoder": ["transformers", "BertModel"]})),
    ):
        home = tmp_path / name
        shutil.copytree(folder / "sd1", home)
        path = home / change[0]
        path.write_text(json.dumps(json.loads(path.read_text()) | change[1]))
        traits = traits_of(Source(name, home))
        assert (traits.family, traits.is_canonical) == ("", name == "schedule")
    assert traits_of(Source("sd1", folder / "sd1")).family == "sd1"
    assert not traits_of(Source("sd1", folder / "sd1", custom_pipeline="own.py")).is_canonical
