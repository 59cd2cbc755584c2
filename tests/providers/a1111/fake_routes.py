"""The stand-in's routes, but for those of stable-diffusion.cpp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.providers.a1111 import fake_sdcpp
from tests.providers.a1111.fake_dialects import LISTS, fields, no_route, samplers
from tests.providers.a1111.fake_generate import generate
from tests.providers.a1111.fake_jobs import progress_of, task_of

from imagerouter.testing.wire import Request, Response

if TYPE_CHECKING:
    from tests.providers.a1111.fake_server import A1111Server

API = "/sdapi/v1/"
GETS = ("sd-models", "samplers", "schedulers", "upscalers", "loras", "scripts", "progress", "memory", "embeddings")
POSTS = ("txt2img", "img2img", "interrupt", "skip", "refresh-checkpoints", "refresh-loras", "unload-checkpoint")
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


def routes(server: A1111Server) -> dict[str, set[str]]:
    """Methods by path: what ``/openapi.json`` tells, and what isn't 404."""
    gets, posts = set(GETS), set(POSTS) | {"reload-checkpoint"}
    if server.quirks.name == "sdnext":
        gets |= {"sd-vae", "version", "checkpoint", "status", "loaded-loras", "history"}
        posts |= {"checkpoint"}
    else:
        gets |= {"latent-upscale-modes", "sd-modules" if server.dialect == "forge" else "sd-vae", "cmd-flags"}
    if server.dialect == "a1111-old":
        gets.remove("schedulers")
    found = {f"{API}{name}": {"GET"} for name in gets} if server.api else {}
    if server.api:
        for name in posts:
            found.setdefault(f"{API}{name}", set()).add("POST")
        found[f"{API}options"] = {"GET", "POST"}
    if server.quirks.name == "sdnext" or server.ui:
        found["/internal/progress"] = {"POST"}
    if server.quirks.name != "sdnext" and server.ui:
        found |= {"/internal/pending-tasks": {"GET"}, "/internal/ping": {"GET"}}
    return found


async def respond(server: A1111Server, request: Request) -> Response | None:
    if server.dialect == "sdcpp":
        return await fake_sdcpp.respond(server, request)
    if request.path == "/openapi.json":
        return Response(json=openapi(server))
    methods = routes(server).get(request.path)
    if methods is None or request.method not in methods:
        return no_route(method_only=methods is not None)
    if request.path.startswith("/internal/"):
        return _internal(server, request)
    name = request.path.removeprefix(API)
    if name in ("txt2img", "img2img"):
        return await generate(server, request, name)
    if request.method == "GET":
        return _get(server, request, name)
    return await _post(server, request, name)


def _internal(server: A1111Server, request: Request) -> Response:
    if request.path.endswith("/progress"):
        told = task_of(server, request.json() or {})
        if server.quirks.name == "sdnext":
            told |= {"job": server.state.job, "paused": False, "progress": told["progress"] or 0.0, "debug": False}
            told |= {"step": 0, "steps": 1, "batch_no": 0, "batch_count": 0}
        return Response(json=told)
    tasks = list(server.pending)
    return Response(json={"size": len(tasks), "tasks": tasks} if request.path.endswith("/pending-tasks") else {})


def _get(server: A1111Server, request: Request, name: str) -> Response:
    if name == "schedulers" and server.quirks.name == "sdnext":  # a mistake of this version: its answer isn't valid
        body = [{"name": row["name"], "cls": "<lambda>", "options": {}} for row in samplers("sdnext")]
        told = {"error": "ResponseValidationError", "code": 500, "detail": "", "body": body, "errors": "1 error"}
        return Response(status=500, json=told)
    if name == "progress":
        skip = request.query.get("skip_current_image", "").lower() in ("1", "true")
        return Response(json=progress_of(server, with_picture=not skip))
    return Response(json=_lists(server, name))


def _lists(server: A1111Server, name: str) -> Any:
    is_next = server.quirks.name == "sdnext"
    if name == "options":
        return server.settings.data
    if name == "sd-models":
        return [checkpoint.row for checkpoint in server.checkpoints]
    if name in ("sd-vae", "sd-modules"):
        return [{"model_name": vae, "filename": f"/srv/webui/models/VAE/{vae}"} for vae in server.vaes]
    if name == "loras":
        return [_lora(lora) for lora in server.loras]
    if name == "upscalers":
        names = LISTS["sdnext_upscalers"] if is_next else server.upscalers
        blank = {"model_name": None, "model_path": None, "model_url": None, "scale": 4.0}
        return [{"name": upscaler, **blank} for upscaler in names]
    if name == "scripts":
        return LISTS["sdnext_scripts" if is_next else "old_scripts" if server.dialect == "a1111-old" else "scripts"]
    fixed = {
        "samplers": samplers(server.dialect),
        "schedulers": LISTS["schedulers"],
        "latent-upscale-modes": [{"name": mode} for mode in LISTS["latent_modes"]],
        "embeddings": {"loaded": [], "skipped": []} if is_next else {"loaded": {}, "skipped": {}},
        "memory": {"ram": {"free": 1.0, "used": 1, "total": 2.0}, "cuda": {"error": "unavailable"}},
        "cmd-flags": {"api": True, "nowebui": not server.ui, "no_hashing": False},
        "version": {"app": "sd.next"}
        | dict.fromkeys(("updated", "commit", "branch", "url", "kanvas", "ui"), "unknown"),
    }
    return fixed[name] if name in fixed else _of_next(server, name)


def _lora(name: str) -> dict[str, Any]:
    path = f"/srv/webui/models/Lora/{name}.safetensors"
    return {"name": name, "alias": name, "path": path, "metadata": {"ss_base_model_version": "sd_v1"}}


def _of_next(server: A1111Server, name: str) -> Any:
    """What SD.Next alone tells."""
    resident, state = server.resident, server.state
    told: dict[str, Any]
    if name == "checkpoint":
        if resident is None:
            return {"type": None, "class": None}
        told = {"type": "sd", "class": "StableDiffusionPipeline", "checkpoint": resident.path}
        row = resident.row
        return told | {"title": row["title"], "name": row["model_name"], "filename": resident.path, "hash": row["hash"]}
    if name == "status":
        busy = state.job_count != 0
        told = {"status": "interrupted" if state.interrupted else "running" if busy else "idle"}
        told |= {"task": "Inference" if busy else "", "timestamp": state.timestamp if busy else None, "current": ""}
        told |= {"id": server.part_id() if busy else "", "job": state.job_no, "jobs": max(0, state.job_count)}
        told |= {"total": 0, "step": state.sampling_step, "steps": state.sampling_steps, "queued": 0, "uptime": 1}
        return told | {"elapsed": 1.0, "eta": None, "progress": round(state.progress, 2)}
    return server.history if name == "history" else []


async def _post(server: A1111Server, request: Request, name: str) -> Response:
    done = Response(status=204) if server.quirks.name == "sdnext" else Response(json=None)
    if name == "options":
        async with server.lock:
            return Response(json=server.set_now(request.json() or {}))
    if name == "checkpoint":
        found = server.find(request.query.get("sd_model_checkpoint"))
        if found is not None:
            server.load(found)
        return Response(json={"ok": found is not None})
    if name == "interrupt":
        server.state.interrupted = True
    if name == "skip":
        server.state.skipped = True
    if name == "unload-checkpoint":
        server.resident = None
    if name == "reload-checkpoint" or (name == "unload-checkpoint" and server.quirks.name != "sdnext"):
        server.load(server.selected())
    if name == "refresh-loras" and server.quirks.name == "sdnext":
        return Response(json={lora: {"name": lora} for lora in server.loras})
    if name == "refresh-checkpoints":
        async with server.lock:
            return done
    server.notify()
    empty = name in ("interrupt", "unload-checkpoint", "reload-checkpoint") and server.quirks.name != "sdnext"
    return Response(json={}) if empty else done


def openapi(server: A1111Server) -> dict[str, Any]:
    """As much of it as tells servers apart: paths, and the fields of the two requests."""
    title = "SD.Next" if server.quirks.name == "sdnext" else "FastAPI"
    paths: dict[str, Any] = {
        path: {method.lower(): {} for method in sorted(methods)} for path, methods in routes(server).items()
    }
    schemas = {}
    for route, name in (("txt2img", "Txt2Img"), ("img2img", "Img2Img")) if server.api else ():
        properties = {field: _described(field, value) for field, value in fields(server.dialect, route).items()}
        schema = f"StableDiffusionProcessing{name}"
        schemas[schema] = {"type": "object", "properties": properties}
        described = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
        paths[f"/sdapi/v1/{route}"] = {"post": {"requestBody": {"content": {"application/json": described}}}}
    return {
        "openapi": "3.0.2",
        "info": {"title": title, "version": "0.1.0"},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _described(name: str, default: Any) -> dict[str, Any]:
    told: dict[str, Any] = {"title": name.replace("_", " ").title()}
    return told if default is None else told | {"type": TYPES[type(default)], "default": default}
