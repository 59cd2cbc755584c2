"""Outcomes as this API answers them: pictures as base64, the request's fields again, and ``info``, JSON in a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from imagerouter.dialects.a1111.body import FORKS, Body, Drawing, Img2Img
from imagerouter.dialects.a1111.infotext import VERSION, further, sampler_label, written
from imagerouter.images import dimensions
from imagerouter.jobs import Job, Outcome
from imagerouter.openai import Delivery, response
from imagerouter.types import Image

_CANONICAL = {
    "steps": "steps",
    "cfg_scale": "cfg_scale",
    "distilled_cfg_scale": "guidance",
    "width": "width",
    "height": "height",
    "clip_skip": "clip_skip",
}
"""Field → the parameter that tells what was really used, where the request left it open."""
_USED = ("steps", "cfg_scale", "guidance", "width", "height", "clip_skip", "sampler", "scheduler", "strength", "vae")
"""What is told of the request, where the provider doesn't tell it itself."""

RANDOM = -1
"""The seed where there is none to tell: clients expect a number."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What an answer tells, whether the job came to its end or was interrupted."""

    job: Job
    images: Sequence[Image]
    seeds: Sequence[int | None]
    model: str | None
    short_hash: str | None = None
    """The first ten digits of the checkpoint's SHA-256, where they are known."""
    applied: Mapping[str, Any] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()
    """Parameters of the request that had no effect."""
    report: Mapping[str, Any] | None = None
    interrupted: bool = False


def drawn(outcome: Outcome, delivery: Delivery) -> Drawn:
    return Drawn(
        job=outcome.job,
        images=outcome.images,
        seeds=[outcome.seed_of(index) for index in range(len(outcome.images))],
        model=outcome.model,
        short_hash=outcome.target.model.sha256[:10] or None,
        applied=outcome.applied,
        ignored=outcome.ignored,
        report=response.report(outcome, delivery),
    )


def interrupted(job: Job, images: Sequence[Image]) -> Drawn:
    """:param images: the last preview, if there was one."""
    seeds = [job.seed_of(index) for index in range(job.n)]
    return Drawn(job, images, seeds, job.model, interrupted=True)


def body(drawn: Drawn, sent: Body[Any]) -> bytes:
    """Put together from pieces rather than encoded as one object: each picture is copied once, into the result."""
    request: Drawing = sent.request
    pieces: list[bytes | memoryview] = [b'{"images":[']
    for index, image in enumerate(drawn.images if request.send_images else ()):
        pieces += [b"," if index else b"", b'"', image.encoded, b'"']
    used = _used(drawn)
    info = response.encode(_info(drawn, used, request)).decode()
    rest = {"parameters": _echo(used, sent), "info": info, "imagerouter": drawn.report}
    if drawn.report is None:
        del rest["imagerouter"]
    return b"".join([*pieces, b"],", response.encode(rest)[1:]])


def _used(drawn: Drawn) -> dict[str, Any]:
    """Parameter → what it was; the size is that before a second pass, as the request has it."""
    said = {name: None if name in drawn.ignored else drawn.job.params.get(name) for name in _USED}
    used = {**said, **drawn.applied}
    hires = used.get("hires")
    used["width"], used["height"] = _size(drawn, used)
    if isinstance(hires, Mapping):
        scale = hires.get("scale") or 1
        for side in ("width", "height"):
            used[side] = drawn.job.params.get(side) or (used[side] and round(used[side] / scale))
        used["strength"] = hires.get("strength")
    return used


def _echo(used: Mapping[str, Any], sent: Body[Any]) -> dict[str, Any]:
    """The request's fields with what was used where they were left open; without its pictures, unless it asks."""
    request = sent.request
    echo: dict[str, Any] = msgspec.structs.asdict(request)
    for name, parameter in _CANONICAL.items():
        if echo.get(name) is None:
            echo[name] = used.get(parameter)
    if echo["sampler_name"] is None and used["sampler"] is not None:
        echo["sampler_name"] = sampler_label(str(used["sampler"]))
    if isinstance(request, Img2Img) and not request.include_init_images:
        echo |= {"init_images": None, "mask": None}
    return {name: value for name, value in echo.items() if name not in FORKS or name in sent.sent}


def _info(drawn: Drawn, used: Mapping[str, Any], request: Drawing) -> dict[str, Any]:
    return {
        **_texts(drawn, used, request),
        **_seeds(drawn, request),
        **_values(used),
        "batch_size": request.batch_size,
        "restore_faces": bool(request.restore_faces),
        "face_restoration_model": None,
        "sd_model_name": drawn.model,
        "sd_model_hash": drawn.short_hash,
        "sd_vae_hash": None,
        "extra_generation_params": further(used),
        "index_of_first_image": 0,
        "styles": request.styles or [],
        "job_timestamp": datetime.now().strftime("%Y%m%d%H%M%S"),
        "is_using_inpainting_conditioning": False,
        "version": VERSION,
        **({"interrupted": True} if drawn.interrupted else {}),
    }


def _texts(drawn: Drawn, used: Mapping[str, Any], request: Drawing) -> dict[str, Any]:
    """As sent, with the tags: whoever draws it again from this text wants its LoRAs."""
    prompt, n = request.prompt, len(drawn.seeds)
    negative = request.negative_prompt or drawn.job.params.get("negative_prompt", "")
    size = f"{used['width']}x{used['height']}" if used["width"] and used["height"] else None
    told = {**used, "size": size, "model": drawn.model}
    return {
        "prompt": prompt,
        "all_prompts": [prompt] * n,
        "negative_prompt": negative,
        "all_negative_prompts": [negative] * n,
        "infotexts": [written(prompt, negative, {**told, "seed": seed}) for seed in drawn.seeds],
    }


def _seeds(drawn: Drawn, request: Drawing) -> dict[str, Any]:
    subseed = max(request.subseed, 0)
    seeds = [RANDOM if seed is None else seed for seed in drawn.seeds]
    return {
        "seed": seeds[0],
        "all_seeds": seeds,
        "subseed": subseed,
        "all_subseeds": [subseed + index for index in range(len(drawn.seeds))],
        "subseed_strength": request.subseed_strength,
        "seed_resize_from_w": request.seed_resize_from_w,
        "seed_resize_from_h": request.seed_resize_from_h,
    }


def _values(used: Mapping[str, Any]) -> dict[str, Any]:
    sampler = used["sampler"]
    return {
        "width": used["width"],
        "height": used["height"],
        "sampler_name": None if sampler is None else sampler_label(str(sampler)),
        "cfg_scale": used["cfg_scale"],
        "steps": used["steps"],
        "denoising_strength": used["strength"],
        "sd_vae_name": used.get("vae"),
        "clip_skip": used["clip_skip"] or 1,
    }


def _size(drawn: Drawn, used: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Of the first picture itself, where it can be told."""
    size = dimensions(drawn.images[0]) if drawn.images and not drawn.interrupted else None
    return size or (used["width"], used["height"])
