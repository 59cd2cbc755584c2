"""What a server tells of its pictures: ``info``, and the text that their files keep."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.providers.a1111.fake_plan import Plan


def infotext(todo: Plan, seed: int) -> str:
    """``create_infotext``: prompt and parameters of one picture."""
    params, server = todo.job.params, todo.server
    assert server.resident is not None
    negative = f"\nNegative prompt: {params['negative_prompt']}" if params["negative_prompt"] else ""
    sampler, scheduler = todo.sampler
    parts: dict[str, Any] = {"Steps": params["steps"], "Sampler": sampler, "Schedule type": scheduler or None}
    parts |= {"CFG scale": params["cfg_scale"], "Distilled CFG Scale": params.get("distilled_cfg_scale"), "Seed": seed}
    width, height = _told_size(todo)
    parts |= {"Size": f"{width}x{height}", "Model hash": server.resident.sha256[:10], "Model": server.resident.stem}
    parts |= {"VAE hash": _vae_hash(todo), "VAE": server.vae, **todo.extra, "Version": server.quirks.version}
    if server.quirks.name == "sdnext":
        for name in ("Model hash", "Model", "Version"):
            parts.pop(name)
        parts |= {"App": "SD.Next", "Version": "unknown", "Pipeline": "StableDiffusionPipeline"}
        parts |= {"Operations": todo.job.route, "Model": server.resident.stem}
    told = ", ".join(f"{name}: {value}" for name, value in parts.items() if value is not None)
    return f"{params['prompt']}{negative}\n{told}".strip()


def _told_size(todo: Plan) -> tuple[int, int]:
    """AUTOMATIC1111 tells the size that was asked for, SD.Next that of the first pass."""
    params = todo.job.params
    return todo.size if todo.server.quirks.name == "sdnext" else (params["width"], params["height"])


def info_of(todo: Plan, texts: list[str], first: int, stamp: str) -> dict[str, Any]:
    """``Processed.js``. Prompts and seeds are those of the request, even where an interruption left fewer pictures."""
    params, count, server = todo.job.params, len(todo.seeds), todo.server
    assert server.resident is not None
    prompt, negative = params["prompt"], params["negative_prompt"]
    subseed = server.draw_seed() if params["subseed"] == -1 else params["subseed"]
    width, height = _told_size(todo)
    told: dict[str, Any] = {"prompt": prompt, "all_prompts": [prompt] * count, "negative_prompt": negative}
    told |= {"all_negative_prompts": [negative] * count, "seed": todo.seeds[0], "all_seeds": todo.seeds}
    told |= {"subseed": subseed, "all_subseeds": [subseed + index for index in range(count)]}
    told |= {"subseed_strength": params["subseed_strength"], "width": width, "height": height}
    told |= {"sampler_name": todo.sampler[0], "cfg_scale": params["cfg_scale"]}
    told |= _of_model(todo)
    told |= {"seed_resize_from_w": -1, "seed_resize_from_h": -1, "denoising_strength": params["denoising_strength"]}
    told |= {
        "extra_generation_params": {} if server.quirks.name == "sdnext" else todo.extra,
        "index_of_first_image": first,
        "infotexts": texts,
        "styles": [],
    }
    told |= {"job_timestamp": stamp, "clip_skip": _clip_skip(todo)}
    if server.quirks.name == "sdnext":
        return told
    return told | {"is_using_inpainting_conditioning": False, "version": server.quirks.version}


def _of_model(todo: Plan) -> dict[str, Any]:
    """SD.Next doesn't name its model here."""
    params, server, resident = todo.job.params, todo.server, todo.server.resident
    assert resident is not None
    told = {"steps": params["steps"], "batch_size": params["batch_size"]}
    if server.quirks.name == "sdnext":
        model_hash = None if resident.is_folder else resident.sha256[:10]
        return {"cfg_end": None, **told, "detailer": False, "detailer_model": None, "sd_model_hash": model_hash}
    told |= {"restore_faces": False, "face_restoration_model": None, "sd_model_name": resident.stem}
    told |= {"sd_model_hash": resident.sha256[:10], "sd_vae_name": server.vae, "sd_vae_hash": _vae_hash(todo)}
    return told


def _clip_skip(todo: Plan) -> int:
    return int(todo.job.params.get("clip_skip") or todo.server.settings.get("CLIP_stop_at_last_layers") or 1)


def _vae_hash(todo: Plan) -> str | None:
    vae = todo.server.vae
    return None if vae is None else hashlib.sha256(vae.encode()).hexdigest()[:10]
