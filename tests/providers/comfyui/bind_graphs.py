"""Workflows in API format, written by hand, and what a server says about their nodes."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from imagerouter import ImageRequest
from imagerouter_comfyui.bind import Workflow, resolve
from imagerouter_comfyui.config import Binding, ComfyModel
from imagerouter_comfyui.graph import Graph, link
from imagerouter_comfyui.nodes import NodeClass, parse
from imagerouter_comfyui.recipe import Built, Sources

HERE = Path(__file__).parent


@cache
def classes() -> dict[str, NodeClass]:
    raw = json.loads((HERE / "object_info.json").read_text(encoding="utf-8"))
    return {name: parse(name, given) for name, given in raw.items()}


def spec(bindings: dict[str, Any] | None = None, **keys: Any) -> ComfyModel:
    """The YAML keys of a model, without a file."""
    rules = {name: given if isinstance(given, list) else [given] for name, given in (bindings or {}).items()}
    made = {
        name: [Binding(**({"to": rule} if isinstance(rule, str) else rule)) for rule in given]
        for name, given in rules.items()
    }
    return ComfyModel.model_construct(bindings=made, **keys)


def bound(graph: Graph, **keys: Any) -> Workflow:
    return resolve("mine", graph, classes(), spec(**keys))


def places(workflow: Workflow, parameter: str) -> list[str]:
    return [".".join(target.place) for target in workflow.bindings.get(parameter, ())]


def draw(workflow: Workflow, sources: dict[str, Any] | None = None, **given: Any) -> Built:
    request = ImageRequest(**{"model": "mine", "prompt": "a lighthouse", "seed": 5, **given})
    return workflow.build(request, Sources(**{"seed": 5, "prefix": "job/1", **(sources or {})}))


def value(built: Built, place: str) -> Any:
    node, _, name = place.partition(".")
    return built.graph[node]["inputs"][name]


def dangling(graph: Graph) -> list[str]:
    return [
        f"{node}.{name}"
        for node, given in graph.items()
        for name, value in given["inputs"].items()
        if (source := link(value)) is not None and source[0] not in graph
    ]


def node(class_type: str, /, title: str | None = None, **inputs: Any) -> Any:
    made: dict[str, Any] = {"class_type": class_type, "inputs": inputs}
    return made if title is None else {**made, "_meta": {"title": title}}


def sampler(latent: str, **inputs: Any) -> Any:
    usual: dict[str, Any] = {
        "seed": 1,
        "steps": 20,
        "cfg": 7.0,
        "sampler_name": "euler",
        "scheduler": "normal",
        "denoise": 1.0,
        "model": ["4", 0],
        "positive": ["6", 0],
        "negative": ["7", 0],
        "latent_image": [latent, 0],
    }
    return node("KSampler", **{**usual, **inputs})


def text_to_image() -> Graph:
    return {
        "4": node("CheckpointLoaderSimple", ckpt_name="tiny_a.safetensors"),
        "6": node("CLIPTextEncode", text="a fox", clip=["4", 1]),
        "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]),
        "5": node("EmptyLatentImage", width=512, height=768, batch_size=4),
        "3": sampler("5"),
        "8": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": node("SaveImage", filename_prefix="ComfyUI", images=["8", 0]),
    }


def image_to_image() -> Graph:
    graph = text_to_image()
    del graph["5"]
    return graph | {
        "10": node("LoadImage", image="cat.png"),
        "11": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
        "3": sampler("11", denoise=0.6),
    }


def inpainting(*, by_alpha: bool) -> Graph:
    graph = image_to_image() | {
        "13": node("SetLatentNoiseMask", samples=["11", 0], mask=["10", 1] if by_alpha else ["12", 0]),
        "3": sampler("13"),
    }
    return graph if by_alpha else graph | {"12": node("LoadImageMask", image="mask.png", channel="alpha")}


def two_passes() -> Graph:
    """A second sampler at twice the size."""
    return text_to_image() | {
        "20": node(
            "LatentUpscale", samples=["3", 0], upscale_method="bilinear", width=1024, height=1536, crop="disabled"
        ),
        "21": sampler("20", steps=12, denoise=0.5),
        "8": node("VAEDecode", samples=["21", 0], vae=["4", 2]),
    }


def part(latent: str, loader: str, texts: tuple[str, str], start: int, end: int) -> Any:
    """A sampler that does some steps of a schedule."""
    return node(
        "KSamplerAdvanced",
        add_noise="enable" if start == 0 else "disable",
        noise_seed=1,
        steps=25,
        cfg=8.0,
        sampler_name="euler",
        scheduler="normal",
        start_at_step=start,
        end_at_step=end,
        return_with_leftover_noise="enable" if start == 0 else "disable",
        model=[loader, 0],
        positive=[texts[0], 0],
        negative=[texts[1], 0],
        latent_image=[latent, 0],
    )


def base_and_refiner() -> Graph:
    """One schedule shared by two models, each with text encoders of its own."""
    return text_to_image() | {
        "40": node("CheckpointLoaderSimple", ckpt_name="tiny_b.safetensors"),
        "15": node("CLIPTextEncode", text="a fox", clip=["40", 1]),
        "16": node("CLIPTextEncode", text="blurry", clip=["40", 1]),
        "3": part("5", "4", ("6", "7"), 0, 20),
        "30": part("3", "40", ("15", "16"), 20, 10000),
        "8": node("VAEDecode", samples=["30", 0], vae=["4", 2]),
    }


def flux_like() -> Graph:
    """Noise, guider, sampler and schedule are nodes of their own; the model is three files."""
    return {
        "1": node("UNETLoader", unet_name="tiny_unet.safetensors", weight_dtype="default"),
        "2": node(
            "DualCLIPLoader", clip_name1="tiny_clip_l.safetensors", clip_name2="tiny_t5.safetensors", type="flux"
        ),
        "3": node("VAELoader", vae_name="tiny_vae.safetensors"),
        "6": node("CLIPTextEncode", text="a fox", clip=["2", 0]),
        "41": node("FluxGuidance", conditioning=["6", 0], guidance=3.5),
        "42": node("BasicGuider", model=["48", 0], conditioning=["41", 0]),
        "43": node("KSamplerSelect", sampler_name="euler"),
        "44": node("BasicScheduler", model=["48", 0], scheduler="simple", steps=4, denoise=1.0),
        "45": node("RandomNoise", noise_seed=7),
        "46": node("EmptySD3LatentImage", width=["50", 0], height=1024, batch_size=1),
        "48": node("ModelSamplingFlux", model=["1", 0], max_shift=1.15, base_shift=0.5, width=["50", 0], height=1024),
        "50": node("PrimitiveInt", value=768),
        "47": node(
            "SamplerCustomAdvanced",
            noise=["45", 0],
            guider=["42", 0],
            sampler=["43", 0],
            sigmas=["44", 0],
            latent_image=["46", 0],
        ),
        "8": node("VAEDecode", samples=["47", 0], vae=["3", 0]),
        "9": node("SaveImage", filename_prefix="flux", images=["8", 0]),
    }


def with_controlnet() -> Graph:
    return text_to_image() | {
        "30": node("ControlNetLoader", control_net_name="tiny_controlnet.safetensors"),
        "31": node("LoadImage", image="example.png"),
        "32": node(
            "ControlNetApplyAdvanced",
            positive=["6", 0],
            negative=["7", 0],
            control_net=["30", 0],
            image=["31", 0],
            strength=1.0,
            start_percent=0.0,
            end_percent=1.0,
        ),
        "3": sampler("5", positive=["32", 0], negative=["32", 1]),
    }
