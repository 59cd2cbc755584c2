"""A well-stocked server for the templates: one model of every kind, and ComfyUI's opinion of their graphs."""

from __future__ import annotations

import copy
import json
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image as Pillow
from tests.providers.comfyui.fake_validation import Validation

from imagerouter import Image, ImageRequest, Operation
from imagerouter_comfyui import nodes
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.families import Template
from imagerouter_comfyui.graph import upstream
from imagerouter_comfyui.inventory import CLASSES, Inventory, recipes
from imagerouter_comfyui.recipe import Built, Sources

RAW: dict[str, Any] = json.loads((Path(__file__).parent / "object_info.json").read_text(encoding="utf-8"))

FILES: dict[str, tuple[str, ...]] = {
    "checkpoints": (
        "v1-5-pruned-emaonly.safetensors",
        "sd-v1-5-inpainting.ckpt",
        "v2-1_768-ema-pruned.safetensors",
        "XL/juggernautXL_v9.safetensors",
        "sd_xl_turbo_1.0_fp16.safetensors",
        "sd3.5_large_fp8_scaled.safetensors",
        "flux1-dev-fp8.safetensors",
    ),
    "diffusion_models": (
        "flux1-dev.safetensors",
        "flux1-schnell.safetensors",
        "flux1-fill-dev.safetensors",
        "flux1-dev-kontext_fp8_scaled.safetensors",
        "flux2_dev_fp8mixed.safetensors",
        "flux-2-klein-4b.safetensors",
        "flux-2-klein-base-9b.safetensors",
        "sd3.5_medium.safetensors",
        "sdxl_unet.safetensors",
        "sd15_unet.safetensors",
        "qwen_image_fp8_e4m3fn.safetensors",
        "qwen_image_edit_fp8_e4m3fn.safetensors",
        "qwen_image_edit_2511_bf16.safetensors",
        "Chroma1-HD.safetensors",
        "z_image_bf16.safetensors",
        "z_image_turbo_bf16.safetensors",
        "hidream_i1_full_fp8.safetensors",
        "hidream_i1_dev_fp8.safetensors",
    ),
    "text_encoders": (
        "clip_g.safetensors",
        "clip_g_hidream.safetensors",
        "clip_l.safetensors",
        "clip_l_hidream.safetensors",
        "llama_3.1_8b_instruct_fp8_scaled.safetensors",
        "mistral_3_small_flux2_fp8.safetensors",
        "qwen_2.5_vl_7b_fp8_scaled.safetensors",
        "qwen_3_4b.safetensors",
        "qwen_3_8b_fp8mixed.safetensors",
        "t5xxl_fp16.safetensors",
        "umt5_xxl_fp8_e4m3fn_scaled.safetensors",
    ),
    "vae": (
        "ae.safetensors",
        "flux2-vae.safetensors",
        "qwen_image_vae.safetensors",
        "sd3_vae.safetensors",
        "sdxl_vae.safetensors",
        "vae-ft-mse-840000-ema-pruned.safetensors",
    ),
    "loras": ("style/ink.safetensors", "style/oil.safetensors", "detail.safetensors"),
    "controlnet": ("canny.safetensors", "depth.safetensors"),
    "upscale_models": ("4x-UltraSharp.pth",),
    "embeddings": (),
}

_FOLDERS = {
    "ckpt_name": "checkpoints",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
    "model_name": "upscale_models",
} | dict.fromkeys(("clip_name", "clip_name1", "clip_name2", "clip_name3", "clip_name4"), "text_encoders")

UPLOADS = ("source.png [temp]", "second.png [temp]", "mask.png [temp]", "control.png [temp]")


def inventory(**files: tuple[str, ...]) -> Inventory:
    return Inventory({name: nodes.parse(name, RAW[name]) for name in CLASSES}, FILES | files)


def templates(shelf: Inventory | None = None, **config: Any) -> dict[str, Template]:
    found, _ = recipes(shelf or inventory(), ComfyConfig(**config))
    return {name: recipe for name, recipe in found.items() if isinstance(recipe, Template)}


def picture() -> Image:
    buffer = BytesIO()
    Pillow.new("RGB", (8, 8)).save(buffer, "PNG")
    return Image(data=buffer.getvalue())


PICTURE = picture()


def ask(template: Template, operation: Operation = Operation.GENERATE, **values: Any) -> ImageRequest:
    pictures: dict[str, Any] = {} if operation is Operation.GENERATE else {"images": (PICTURE,)}
    if operation is Operation.INPAINT:
        pictures["mask"] = PICTURE
    return ImageRequest(model=template.model.id, **{"prompt": "a fox", "seed": 7} | pictures | values)


def build(template: Template, request: ImageRequest, image_size: tuple[int, int] = (640, 480)) -> Built:
    controls = request.options.get("controlnet", ())
    return template.build(
        request,
        Sources(
            seed=request.seed,
            prefix="imagerouter/abc_0",
            images=UPLOADS[: len(request.images)],
            image_size=image_size if request.images else None,
            mask=UPLOADS[2] if request.mask is not None else None,
            controls=(UPLOADS[3],) * len(controls),
        ),
    )


def _info(name: str) -> dict[str, Any] | None:
    if name not in RAW:
        return None
    raw = {"output_node": False} | copy.deepcopy(RAW[name])
    for section in raw["input"].values():
        for field, spec in section.items():
            if field in _FOLDERS:
                section[field] = [list(FILES[_FOLDERS[field]]), *spec[1:]]
    return raw


def complaints(built: Built) -> list[str]:
    """What the server has against a graph, and what it would silently swallow."""
    verdict = Validation(built.graph, _info, UPLOADS).verdict()
    found = [
        f"{node_id}: {error['message']} {error['details']}"
        for node_id, node in verdict.node_errors.items()
        for error in node["errors"]
    ]
    found += [verdict.error["message"]] if verdict.error is not None else []
    needed = {node_id for output in built.outputs for node_id in (output, *upstream(built.graph, output))}
    for node_id, node in built.graph.items():
        known = nodes.parse(node["class_type"], RAW[node["class_type"]]).inputs
        found += [f"{node_id}: has no input {name}" for name in node["inputs"] if name not in known]
        found += [] if node_id in needed else [f"{node_id}: nothing needs it"]
    return found


def node(built: Built, class_type: str) -> dict[str, Any]:
    """The inputs of the only node of a class."""
    (found,) = (node["inputs"] for node in built.graph.values() if node["class_type"] == class_type)
    return found


def classes(built: Built) -> list[str]:
    return [node["class_type"] for node in built.graph.values()]
