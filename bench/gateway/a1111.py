"""AUTOMATIC1111 1.10 as a client sees it, as far as the adapter asks."""

from __future__ import annotations

import hashlib
import json

from pictures import SIDE, Picture
from wire import Answer, told

NAME, HASH = "webui-canned", hashlib.sha256(b"canned").hexdigest()
TITLE = f"{NAME}.safetensors [{HASH[:10]}]"
FIELDS = """prompt negative_prompt styles seed subseed subseed_strength sampler_name scheduler batch_size n_iter steps
cfg_scale width height denoising_strength override_settings override_settings_restore_afterwards enable_hr hr_scale
hr_upscaler hr_second_pass_steps hr_resize_x hr_resize_y force_task_id send_images save_images do_not_save_samples
do_not_save_grid init_images mask""".split()

_OPTIONS = {
    "sd_model_checkpoint": TITLE,
    "sd_checkpoint_hash": HASH,
    "sd_vae": "Automatic",
    "CLIP_stop_at_last_layers": 1,
    "enable_pnginfo": True,
    "samples_format": "png",
}
_CHECKPOINT = {
    "title": TITLE,
    "model_name": NAME,
    "hash": HASH[:10],
    "sha256": HASH,
    "filename": f"/models/{NAME}.safetensors",
    "config": None,
}
_LISTS: dict[str, object] = {
    "/sdapi/v1/options": _OPTIONS,
    "/sdapi/v1/sd-models": [_CHECKPOINT],
    "/sdapi/v1/samplers": [{"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}],
    "/sdapi/v1/schedulers": [{"name": "karras", "label": "Karras", "aliases": None}],
    "/sdapi/v1/scripts": {"txt2img": [], "img2img": []},
    "/sdapi/v1/loras": [],
    "/sdapi/v1/sd-vae": [],
    "/sdapi/v1/upscalers": [],
    "/sdapi/v1/latent-upscale-modes": [],
    "/sdapi/v1/cmd-flags": {},
    "/sdapi/v1/progress": {"progress": 0.0, "state": {"job": "", "job_count": 0, "job_timestamp": "0"}},
    "/sdapi/v1/interrupt": {},
    "/internal/pending-tasks": {"size": 0, "tasks": []},
}


def _described() -> dict[str, object]:
    """As much of ``/openapi.json`` as tells what a server can do."""
    reference = {"$ref": "#/components/schemas/Job"}
    job = {"post": {"requestBody": {"content": {"application/json": {"schema": reference}}}}}
    paths: dict[str, object] = {route: {} for route in (*_LISTS, "/internal/progress")}
    jobs = {"/sdapi/v1/txt2img": job, "/sdapi/v1/img2img": job}
    return {"paths": paths | jobs, "components": {"schemas": {"Job": {"properties": {field: {} for field in FIELDS}}}}}


ANSWERS = _LISTS | {"/openapi.json": _described()}
"""Path → what is said there, whatever is asked."""


def job(picture: Picture, body: bytes) -> Answer:
    """What ``txt2img`` answers: the picture in base64, first of all."""
    seed = json.loads(body)["seed"]
    size = f"Size: {SIDE}x{SIDE}"
    text = f"{picture.prompt}\nSteps: 20, Sampler: DPM++ 2M, Seed: {seed}, {size}, Model: {NAME}, Version: v1.10.1"
    info = {
        "all_seeds": [seed],
        "sd_model_name": NAME,
        "sd_model_hash": HASH[:10],
        "index_of_first_image": 0,
        "infotexts": [text],
    }
    head, noise, tail = picture.base64
    rest = json.dumps({"parameters": dict.fromkeys(FIELDS), "info": json.dumps(info)}).encode()
    return told((b'{"images":["' + head, noise, tail + b'"],' + rest[1:]))
