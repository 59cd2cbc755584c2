"""The first nodes of a graph: the model's parts, and what is put onto them."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from imagerouter_comfyui.families.draft import Given, Out
from imagerouter_comfyui.families.scene import Scene

ENCODER_LOADERS = {1: "CLIPLoader", 2: "DualCLIPLoader", 3: "TripleCLIPLoader", 4: "QuadrupleCLIPLoader"}
"""By the number of files."""


class Parts(msgspec.Struct, frozen=True):
    """Where the later nodes find the model."""

    model: Out
    clip: Out
    vae: Out


def load(scene: Scene) -> Parts:
    parts = _skipped(scene, _with_loras(scene, _weights(scene)))
    for node, name, value in scene.kit.family.patches:
        patched = scene.add(f"model_{name}", node, model=parts.model, **{name: value})
        parts = replace(parts, model=patched.out())
    return parts


def _weights(scene: Scene) -> Parts:
    kit, settings = scene.kit, scene.settings
    if kit.checkpoint is not None:
        checkpoint = scene.add("checkpoint", "CheckpointLoaderSimple", ckpt_name=Given("model", kit.checkpoint))
        parts = Parts(checkpoint.out(0), checkpoint.out(1), checkpoint.out(2))
    else:
        name = Given("model", kit.diffusion_model)
        model = scene.add("diffusion_model", "UNETLoader", unet_name=name, weight_dtype=kit.weight_dtype).out()
        parts = Parts(model, model, model)
    if kit.text_encoders:
        parts = replace(parts, clip=_encoders(scene))
    if settings.vae is not None or kit.vae is not None:
        name = Given("vae", settings.vae) if settings.vae is not None else Given("model", kit.vae)
        parts = replace(parts, vae=scene.add("vae", "VAELoader", vae_name=name).out())
    return parts


def _encoders(scene: Scene) -> Out:
    kit = scene.kit
    count = len(kit.text_encoders)
    inputs: dict[str, Any] = {
        "clip_name" if count == 1 else f"clip_name{index}": Given("model", file)
        for index, file in enumerate(kit.text_encoders, start=1)
    }
    if count <= 2:
        inputs["type"] = kit.family.encoder_type
    return scene.add("text_encoders", ENCODER_LOADERS[count], **inputs).out()


def _with_loras(scene: Scene, parts: Parts) -> Parts:
    """On diffusion models LoRAs change only the model, whose text encoders are too large to have been trained."""
    for index, (file, weight) in enumerate(scene.settings.loras):
        name, strength = Given(f"loras[{index}].name", file), Given(f"loras[{index}].weight", weight)
        common = {"model": parts.model, "lora_name": name, "strength_model": strength}
        if scene.kit.checkpoint is None:
            lora = scene.add(f"lora_{index}", "LoraLoaderModelOnly", **common)
            parts = replace(parts, model=lora.out())
        else:
            lora = scene.add(f"lora_{index}", "LoraLoader", **common, clip=parts.clip, strength_clip=strength)
            parts = replace(parts, model=lora.out(0), clip=lora.out(1))
    return parts


def _skipped(scene: Scene, parts: Parts) -> Parts:
    if scene.settings.clip_skip == 1:
        return parts
    layer = Given("clip_skip", -scene.settings.clip_skip)
    return replace(
        parts, clip=scene.add("clip_skip", "CLIPSetLastLayer", clip=parts.clip, stop_at_clip_layer=layer).out()
    )
