"""The nodes that draw: one sampler, and a second one where a larger size is wanted."""

from __future__ import annotations

from msgspec.structs import replace

from imagerouter_comfyui.families.conditioning import Told
from imagerouter_comfyui.families.draft import Given, Out
from imagerouter_comfyui.families.loading import Parts
from imagerouter_comfyui.families.pictures import Start
from imagerouter_comfyui.families.scene import Scene
from imagerouter_comfyui.families.settings import SecondPass, Settings


def draw(scene: Scene, parts: Parts, begin: Start) -> Out:
    """The finished picture, as large as its canvas."""
    settings = scene.settings
    if scene.kit.family.sigmas == "size":
        latent = _sample_by_size(scene, parts, begin)
    else:
        steps, strength = Given("steps", settings.steps), Given("strength", settings.strength)
        latent = _sample(scene, parts, begin, "sampler", steps=steps, strength=strength)
    second = settings.hires
    if second is not None:
        steps, strength = Given("hires.steps", second.steps), Given("hires.strength", second.strength)
        again = replace(begin, latent=_enlarged(scene, parts, latent, second))
        latent = _sample(scene, parts, again, "hires_sampler", steps=steps, strength=strength)
    return scene.add("decoded", "VAEDecode", samples=latent, vae=parts.vae).out()


def _sample(scene: Scene, parts: Parts, begin: Start, node_id: str, *, steps: Given, strength: Given) -> Out:
    """`KSampler` runs ``steps`` steps whatever the strength: the last ones of a longer schedule."""
    settings = scene.settings
    return scene.add(
        node_id,
        "KSampler",
        model=parts.model,
        seed=Given("seed", settings.seed),
        steps=steps,
        cfg=_cfg(settings),
        sampler_name=Given("sampler", settings.sampler),
        scheduler=Given("scheduler", settings.scheduler),
        positive=begin.told.positive,
        negative=begin.told.negative,
        latent_image=begin.latent,
        denoise=strength,
    ).out()


def _cfg(settings: Settings) -> Given | float:
    return 1.0 if settings.cfg_scale is None else Given("cfg_scale", settings.cfg_scale)


def _sample_by_size(scene: Scene, parts: Parts, begin: Start) -> Out:
    settings = scene.settings
    noise = scene.add("noise", "RandomNoise", noise_seed=Given("seed", settings.seed)).out()
    chosen = scene.add("sampler_choice", "KSamplerSelect", sampler_name=Given("sampler", settings.sampler)).out()
    size = settings.size
    sigmas = scene.add(
        "sigmas",
        "Flux2Scheduler",
        steps=Given("steps", settings.steps),
        width=Given("width", size.canvas_width),
        height=Given("height", size.canvas_height),
    ).out()
    return scene.add(
        "sampler",
        "SamplerCustomAdvanced",
        noise=noise,
        guider=_guider(scene, parts, begin.told),
        sampler=chosen,
        sigmas=sigmas,
        latent_image=begin.latent,
    ).out(0)


def _guider(scene: Scene, parts: Parts, told: Told) -> Out:
    cfg = _cfg(scene.settings)
    return scene.add(
        "guider", "CFGGuider", model=parts.model, positive=told.positive, negative=told.negative, cfg=cfg
    ).out()


def _enlarged(scene: Scene, parts: Parts, latent: Out, second: SecondPass) -> Out:
    width = Given("hires.scale", second.size.canvas_width)
    height = Given("hires.scale", second.size.canvas_height)
    if second.latent_method is not None:
        return scene.add(
            "hires_latent",
            "LatentUpscale",
            samples=latent,
            upscale_method=second.latent_method,
            width=width,
            height=height,
            crop="disabled",
        ).out()
    picture = scene.add("hires_source", "VAEDecode", samples=latent, vae=parts.vae).out()
    if second.model is not None:
        name = Given("hires.upscaler", second.model)
        model = scene.add("hires_model", "UpscaleModelLoader", model_name=name).out()
        picture = scene.add("hires_upscaled", "ImageUpscaleWithModel", upscale_model=model, image=picture).out()
    scaled = scene.add(
        "hires_scaled",
        "ImageScale",
        image=picture,
        upscale_method=second.pixel_method,
        width=width,
        height=height,
        crop="disabled",
    ).out()
    return scene.add("hires_latent", "VAEEncode", pixels=scaled, vae=parts.vae).out()
