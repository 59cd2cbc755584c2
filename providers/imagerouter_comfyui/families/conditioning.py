"""What the model is told to draw: prompts, guidance, reference pictures and ControlNets."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from imagerouter_comfyui.families.draft import Given, Out
from imagerouter_comfyui.families.loading import Parts
from imagerouter_comfyui.families.scene import Scene

_REFERENCE_MEGAPIXELS = 1.0


class Told(msgspec.Struct, frozen=True):
    """The two conditionings of a sampler."""

    positive: Out
    negative: Out


def tell(scene: Scene, parts: Parts) -> Told:
    told = _prompts(scene, parts) if scene.kit.family.sees is None else _prompts_with_pictures(scene, parts)
    if scene.kit.family.edits == "reference":
        told = _with_references(scene, parts, told)
    return _with_controls(scene, parts, told)


def _prompts(scene: Scene, parts: Parts) -> Told:
    settings = scene.settings
    text = scene.add("positive", "CLIPTextEncode", clip=parts.clip, text=Given("prompt", settings.prompt)).out()
    if settings.cfg_scale is None:
        negative = scene.add("negative", "ConditioningZeroOut", conditioning=text).out()
    else:
        words = Given("negative_prompt", settings.negative_prompt)
        negative = scene.add("negative", "CLIPTextEncode", clip=parts.clip, text=words).out()
    if settings.guidance is None:
        return Told(text, negative)
    guidance = Given("guidance", settings.guidance)
    return Told(scene.add("guidance", "FluxGuidance", conditioning=text, guidance=guidance).out(), negative)


def _prompts_with_pictures(scene: Scene, parts: Parts) -> Told:
    seeing, settings = scene.kit.family.sees, scene.settings
    assert seeing is not None
    pictures = {
        name: scene.add(f"reference_{index}", "LoadImage", image=Given(f"images[{index}]", image)).out()
        for index, (name, image) in enumerate(zip(seeing.inputs, scene.sources.images, strict=False))
    }
    common = {"clip": parts.clip, "vae": parts.vae, **pictures}
    prompt, negative = Given("prompt", settings.prompt), Given("negative_prompt", settings.negative_prompt)
    told = Told(
        scene.add("positive", seeing.node, prompt=prompt, **common).out(),
        scene.add("negative", seeing.node, prompt=negative, **common).out(),
    )
    if seeing.reference_method is None:
        return told
    return Told(_arranged(scene, "positive", told.positive), _arranged(scene, "negative", told.negative))


def _arranged(scene: Scene, node_id: str, conditioning: Out) -> Out:
    seeing = scene.kit.family.sees
    assert seeing is not None
    return scene.add(
        f"{node_id}_arranged",
        "FluxKontextMultiReferenceLatentMethod",
        conditioning=conditioning,
        reference_latents_method=seeing.reference_method,
    ).out()


def _with_references(scene: Scene, parts: Parts, told: Told) -> Told:
    for index, image in enumerate(scene.sources.images):
        picture = scene.add(f"reference_{index}", "LoadImage", image=Given(f"images[{index}]", image)).out()
        scaled = scene.add(
            f"reference_{index}_scaled",
            "ImageScaleToTotalPixels",
            image=picture,
            upscale_method="lanczos",
            megapixels=_REFERENCE_MEGAPIXELS,
            resolution_steps=16,
        ).out()
        latent = scene.add(f"reference_{index}_latent", "VAEEncode", pixels=scaled, vae=parts.vae).out()
        told = replace(told, positive=_referring(scene, f"positive_{index}", told.positive, latent))
        if scene.settings.cfg_scale is not None:
            told = replace(told, negative=_referring(scene, f"negative_{index}", told.negative, latent))
    return told


def _referring(scene: Scene, node_id: str, conditioning: Out, latent: Out) -> Out:
    return scene.add(node_id, "ReferenceLatent", conditioning=conditioning, latent=latent).out()


def _with_controls(scene: Scene, parts: Parts, told: Told) -> Told:
    for index, control in enumerate(scene.settings.controls):
        param = f"provider.options.controlnet[{index}]"
        model = scene.add(
            f"control_{index}", "ControlNetLoader", control_net_name=Given(f"{param}.name", control.file)
        ).out()
        image = scene.add(f"control_{index}_image", "LoadImage", image=Given(f"{param}.image", control.image)).out()
        applied = scene.add(
            f"control_{index}_applied",
            "ControlNetApplyAdvanced",
            positive=told.positive,
            negative=told.negative,
            control_net=model,
            image=image,
            strength=Given(f"{param}.strength", control.strength),
            start_percent=Given(f"{param}.start", control.start),
            end_percent=Given(f"{param}.end", control.end),
            vae=parts.vae,
        )
        told = Told(applied.out(0), applied.out(1))
    return told
