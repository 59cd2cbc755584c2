"""The stand-in's stable-diffusion.cpp: the tiny ``/sdapi`` and the jobs of its own API (``examples/server/api.md``)."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from typing import TYPE_CHECKING, Any

from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake_dialects import LISTS, Failure, samplers
from tests.providers.a1111.fake_generate import outlived, proxys_page
from tests.providers.a1111.fake_jobs import Job, Killed
from tests.providers.a1111.fake_sdcpp_brief import FORMATS, UPSCALERS, VERSION, Brief, Refusal, loras

from imagerouter.testing.wire import Request, Response

if TYPE_CHECKING:
    from tests.providers.a1111.fake_server import A1111Server

LIMIT_WORDS = "job is currently generating and cannot be interrupted yet"


def _no(status: int, error: str, **more: str) -> Response:
    return Response(status=status, json={"error": error, **more})


async def respond(server: A1111Server, request: Request) -> Response | None:
    path = request.path
    if path in ("/sdapi/v1/txt2img", "/sdapi/v1/img2img") and request.method == "POST":
        return await _sdapi(server, request, path.rpartition("/")[2])
    if path == "/sdcpp/v1/img_gen" and request.method == "POST":
        return _submit(server, request)
    match = re.fullmatch(r"/sdcpp/v1/jobs/([\w-]+)(/cancel)?", path)
    if match is not None:
        return _job(server, match[1], cancel=match[2] is not None)
    lists = _lists(server)
    server.loras_listed |= path in ("/sdapi/v1/loras", "/sdcpp/v1/capabilities")
    return Response(json=lists[path]) if path in lists and request.method == "GET" else Response(status=404)


def _lists(server: A1111Server) -> dict[str, Any]:
    row = server.checkpoints[0].row
    blank = {"model_name": None, "model_path": None, "model_url": None, "scale": 4}
    names = ("None", "Lanczos", "Nearest")
    return {
        "/sdapi/v1/options": {"samples_format": "png", "sd_model_checkpoint": row["model_name"]},
        "/sdapi/v1/sd-models": [row],
        "/sdapi/v1/samplers": samplers("sdcpp"),
        "/sdapi/v1/schedulers": [{"label": name, "name": name} for name in LISTS["sdcpp_schedulers"]],
        "/sdapi/v1/upscalers": [{"name": name, **blank} for name in names],
        "/sdapi/v1/latent-upscale-modes": [{"name": mode} for mode in LISTS["latent_modes"]],
        "/sdapi/v1/loras": loras(server),
        "/sdcpp/v1/capabilities": _capabilities(server),
        "/v1/models": {"data": [{"id": "sd-cpp-local", "object": "model", "owned_by": "local"}]},
    }


def _capabilities(server: A1111Server) -> dict[str, Any]:
    file = server.checkpoints[0].file
    return {
        "current_mode": "img_gen",
        "defaults": LISTS["sdcpp_defaults"],
        "defaults_by_mode": {"img_gen": LISTS["sdcpp_defaults"]},
        "features": LISTS["sdcpp_features"],
        "features_by_mode": {"img_gen": LISTS["sdcpp_features"]},
        "limits": LISTS["sdcpp_limits"] | {"max_queue_size": server.max_queue},
        "loras": loras(server),
        "model": {"name": file, "path": f"/srv/models/{file}", "stem": server.checkpoints[0].stem},
        "output_formats": list(FORMATS),
        "output_formats_by_mode": {"img_gen": list(FORMATS)},
        "samplers": LISTS["sdcpp_samplers"][1:],
        "schedulers": LISTS["sdcpp_schedulers"][1:],
        "supported_modes": ["img_gen"],
        "upscalers": [{"name": name} for name in UPSCALERS],
    }


def _read(request: Request) -> dict[str, Any]:
    body = request.json()
    for name in ("width", "height", "seed", "steps", "batch_size", "cfg_scale"):
        if isinstance(body.get(name), str | list):
            kind = "string" if isinstance(body[name], str) else "array"
            raise TypeError(f"[json.exception.type_error.302] type must be number, but is {kind}")
    return dict(body)


async def _sdapi(server: A1111Server, request: Request, route: str) -> Response | None:
    """Synchronous: nothing is said until the pictures are there."""
    if not request.body:
        return _no(400, "empty body")
    try:
        body = _read(request)
        if not body.get("prompt"):
            return _no(400, "prompt required")
        brief = Brief(server, body, native=False, route=route)
    except Refusal as refusal:
        return _no(400, str(refusal))
    except (ValueError, TypeError) as error:
        return _no(500, "server_error", message=str(error))
    if server.trouble("html"):
        return proxys_page()
    job = Job(server.task_id(route), route, body, body)
    task = _start(server, job, brief, asyncio.Lock())
    try:
        if not await outlived(server, job, task):
            return None
    except Failure:
        return _no(500, "generate_image returned no results")
    images = [pictures.encode(*pair) for pair in zip(job.pictures, itertools.repeat("png"), job.texts, strict=False)]
    return Response(json={"images": images, "info": json.dumps(_info(brief, route)), "parameters": body})


def _info(brief: Brief, route: str) -> dict[str, Any]:
    told: dict[str, Any]
    count, body = brief.count, brief.body
    seeds = [brief.seed + index for index in range(count)]
    told = {"all_negative_prompts": [body.get("negative_prompt", "")] * count, "all_prompts": [body["prompt"]] * count}
    told |= {"all_seeds": seeds, "cfg_scale": brief.cfg, "height": brief.height}
    told |= {"infotexts": [brief.text(seed) for seed in seeds], "prompt": body["prompt"], "sampler_name": brief.sampler}
    told |= {"sd_model_name": brief.server.checkpoints[0].file, "seed": brief.seed, "steps": brief.steps}
    told |= {"denoising_strength": brief.strength} if route == "img2img" else {}
    told |= {"clip_skip": body["clip_skip"]} if body.get("clip_skip", 0) > 0 else {}
    told |= {"extra_generation_params": {"Schedule type": brief.scheduler}} if brief.scheduler else {}
    return told | {"version": VERSION, "width": brief.width}


def _start(server: A1111Server, job: Job, brief: Brief, worker: asyncio.Lock) -> asyncio.Task[None]:
    server.jobs.append(job)
    return server.watched(asyncio.create_task(_run(server, job, brief, worker)))


async def _run(server: A1111Server, job: Job, brief: Brief, worker: asyncio.Lock) -> None:
    """The jobs of the native API have one worker; it and the other API take turns at the model."""
    async with worker:
        if job.status == "cancelled":
            return
        job.status = "running" if job.route == "img_gen" else job.status
        async with server.lock:
            server.queue_left(job)
            server.state.begin(job.id, server.stamp())
            try:
                for steps in brief.passes:
                    server.state.sampling_steps = steps
                    for step in range(steps):
                        server.state.sampling_step = step
                        await asyncio.sleep(0)
                        await server.pass_gate(job, "step")
                        server.strike(job)
                        job.steps_done += 1
                server.strike(job, "empty")
                job.pictures = brief.draw()
                job.texts = [brief.text(brief.seed + index) for index in range(brief.count)]
                server.finished(job)
            except (Failure, Killed):
                job.status = "failed"
                raise
            finally:
                server.state.end()
                server.running_job = None
                server.notify()


def _submit(server: A1111Server, request: Request) -> Response | None:
    if not request.body:
        return _no(400, "empty body")
    try:
        body = _leave_out_wrong_types(request.json())
        brief = Brief(server, body, native=True, route="img_gen")
    except Refusal as refusal:
        return _no(400, str(refusal))
    except json.JSONDecodeError as error:
        return _no(400, "invalid json", message=str(error))
    waiting = [job for job in server.native_jobs.values() if job.status in ("waiting", "running")]
    if len(waiting) >= server.max_queue:
        return _no(429, "job queue is full")
    job = Job(f"job_6b00d9da_{len(server.native_jobs):08x}", "img_gen", body, body)
    server.native_jobs[job.id] = job
    _start(server, job, brief, server.native_worker)
    told = {"created": 1795217882, "id": job.id, "kind": "img_gen", "poll_url": f"/sdcpp/v1/jobs/{job.id}"}
    return Response(status=202, json=told | {"status": "queued"})


def _leave_out_wrong_types(body: dict[str, Any]) -> dict[str, Any]:
    """Numbers that aren't any count as not said."""
    names = ("width", "height", "seed", "batch_count", "clip_skip", "strength")
    return {name: value for name, value in body.items() if name not in names or isinstance(value, int | float)}


STATUS = {"waiting": "queued", "running": "generating", "done": "completed"}


def _job(server: A1111Server, job_id: str, *, cancel: bool) -> Response:
    job = server.native_jobs.get(job_id)
    if job is None:
        return _no(410, "job expired") if job_id in server.expired_jobs else _no(404, "job not found")
    if cancel and job.status == "running":
        return _no(409, LIMIT_WORDS)
    if cancel and job.status == "waiting":
        job.status = "cancelled"
        server.notify()
    queued = [other.id for other in server.native_jobs.values() if other.status == "waiting"]
    told: dict[str, Any] = {"completed": None, "created": 1795217882, "error": None, "id": job.id, "kind": "img_gen"}
    told |= {"queue_position": queued.index(job.id) + 1 if job.id in queued else 0, "result": None}
    told |= {"started": None if job.status in ("waiting", "cancelled") else 1795217882}
    told |= {"status": STATUS.get(job.status, job.status)}
    return Response(json=told | _ending(job))


def _ending(job: Job) -> dict[str, Any]:
    if job.status == "cancelled":
        error = {"code": "cancelled", "message": "job cancelled by client"}
        return {"completed": 1795217883, "error": error}
    if job.status == "failed":
        error = {"code": "generation_failed", "message": "generate_image returned no results"}
        return {"completed": 1795217883, "error": error}
    if job.status != "done":
        return {}
    file_format = job.body.get("output_format", "png")
    keeps = job.body.get("embed_image_metadata", True)
    files = [
        pictures.encode(picture, file_format, text if keeps else None)
        for picture, text in zip(job.pictures, job.texts, strict=True)
    ]
    images = [{"b64_json": data, "index": index} for index, data in enumerate(files)]
    return {"completed": 1795217883, "result": {"images": images, "output_format": file_format}}
