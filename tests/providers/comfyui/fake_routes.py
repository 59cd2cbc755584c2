"""The stand-in's HTTP interface."""

from __future__ import annotations

import io
import re
from collections.abc import Awaitable, Callable
from email.parser import BytesParser
from email.policy import HTTP
from typing import TYPE_CHECKING, Any

import PIL.Image
from tests.providers.comfyui.fake_jobs import jobs_of
from tests.providers.comfyui.fake_validation import Validation, problem

from imagerouter.testing.wire import Request, Response

if TYPE_CHECKING:
    from tests.providers.comfyui.fake_server import ComfyServer

Answer = Callable[["ComfyServer", Request, re.Match[str]], Awaitable[Response]]
ROUTES: list[tuple[str, str, Answer]] = []
USUAL_SIZE = 2_132_625_894
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def route(method: str, path: str) -> Callable[[Answer], Answer]:
    def add(answer: Answer) -> Answer:
        ROUTES.append((method, path, answer))
        return answer

    return add


async def respond(fake: ComfyServer, request: Request, path: str) -> Response:
    if "origin" in request.headers or request.headers.get("sec-fetch-site") == "cross-site":
        return Response(status=403)
    for method, pattern, answer in ROUTES:
        matched = re.fullmatch(pattern, path)
        if matched and request.method in (method, "HEAD" if method == "GET" else method):
            if path.startswith("/api/jobs") and fake.old:
                break
            return await answer(fake, request, matched)
    return Response(status=404, body=b"404: Not Found", headers={"content-type": "text/plain; charset=utf-8"})


@route("POST", "/prompt")
async def submit(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    try:
        body = request.json()
    except ValueError:
        return _server_error()
    if "prompt" not in body:
        fake.take_number(body)
        return _bad(problem("no_prompt", "No prompt provided", "No prompt provided"))
    given = body.get("prompt_id")
    if given is not None and not fake.old and not UUID.fullmatch(str(given)):
        details = (
            "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            "omit it to let the server generate one"
        )
        return _bad(problem("invalid_prompt_id", "prompt_id must be a valid UUID", details))
    graph = body["prompt"]
    if not all(isinstance(node, dict) for node in graph.values()):
        return _server_error()
    verdict = Validation(graph, fake.info, fake.uploads()).verdict(body.get("partial_execution_targets"))
    if verdict.error is not None:
        fake.take_number(body)
        return Response(status=400, json=verdict.body)
    extra = dict(body.get("extra_data") or {})
    if "client_id" in body:
        extra["client_id"] = body["client_id"]
    keys = {key: body[key] for key in ("number", "front", "prompt_id") if key in body}
    job = fake.job(graph, extra, verdict.outputs, **keys)
    fake.submitted.append(body)
    await fake.enqueue(job)
    return Response(json={"prompt_id": job.id, "number": job.number, "node_errors": verdict.node_errors})


def _bad(error: dict[str, Any]) -> Response:
    return Response(status=400, json={"error": error, "node_errors": {}})


def _server_error() -> Response:
    text = b"500 Internal Server Error\n\nServer got itself in trouble"
    return Response(status=500, body=text, headers={"content-type": "text/plain; charset=utf-8"})


@route("GET", "/prompt")
async def remaining(fake: ComfyServer, *_: Any) -> Response:
    return Response(json={"exec_info": {"queue_remaining": fake.remaining}})


@route("GET", "/queue")
async def queue(fake: ComfyServer, *_: Any) -> Response:
    running = [fake.running_job.item] if fake.running_job else []
    return Response(json={"queue_running": running, "queue_pending": [job.item for job in fake.pending]})


@route("POST", "/queue")
async def change_queue(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    body = request.json() or {}
    if body.get("clear"):
        fake.cancelled += await fake.remove(None)
    fake.cancelled += await fake.remove(body.get("delete") or [])
    return Response()


@route("POST", "/interrupt")
async def interrupt(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    """Servers from before September 2025 don't look at the body."""
    body = request.json() or {}
    fake.stop(None if fake.old else body.get("prompt_id"))
    return Response()


@route("GET", "/history")
async def history(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    most = int(request.query.get("max_items", 10000))
    return Response(json=dict(list(fake.history.items())[-most:]))


@route("GET", "/history/([^/]+)")
async def one_of_history(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    return Response(json={path[1]: fake.history[path[1]]} if path[1] in fake.history else {})


@route("POST", "/history")
async def change_history(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    body = request.json() or {}
    for key in list(fake.history) if body.get("clear") else body.get("delete", []):
        fake.history.pop(key, None)
    return Response()


@route("GET", "/api/jobs")
async def jobs(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    """Newest first, unless asked otherwise; whole entries only for one job at a time."""
    wanted = request.query.get("status")
    found = [job for job in jobs_of(fake) if wanted is None or job["status"] in wanted.split(",")]
    found.sort(key=lambda job: job["create_time"], reverse=request.query.get("sort_order", "desc") == "desc")
    first = int(request.query.get("offset", 0))
    most = int(request.query["limit"]) if "limit" in request.query else None
    page = found[first:][:most]
    brief = [{k: v for k, v in job.items() if k not in ("outputs", "execution_status", "workflow")} for job in page]
    pages = {"offset": first, "limit": most, "total": len(found), "has_more": first + len(page) < len(found)}
    return Response(json={"jobs": brief, "pagination": pages})


@route("GET", "/api/jobs/([^/]+)")
async def one_job(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    for job in jobs_of(fake):
        if job["id"] == path[1]:
            return Response(json=job)
    return Response(status=404, json={"error": "Job not found"})


@route("POST", "/api/jobs/([^/]+)/cancel")
async def cancel(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    return Response(json={"cancelled": await _cancel(fake, path[1])})


@route("POST", "/api/jobs/cancel")
async def cancel_several(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    ids = (request.json() or {}).get("job_ids", [])
    if bad := [name for name in ids if not UUID.fullmatch(str(name))]:
        return Response(status=400, json={"error": "job_ids contains invalid id(s)", "invalid_ids": bad})
    return Response(json={"cancelled": any([await _cancel(fake, name) for name in ids])})


async def _cancel(fake: ComfyServer, job_id: str) -> bool:
    removed = await fake.remove([job_id])
    fake.cancelled += removed
    return bool(removed) or fake.stop(job_id)


@route("POST", "/upload/image")
async def upload(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    """The same name with the same bytes is the same file; with others it is kept as ``name (1).png``."""
    fields = form(request)
    name, data = fields.get("image", ("", b""))
    kind = fields.get("type", ("", b"input"))[1].decode() or "input"
    folder = fields.get("subfolder", ("", b""))[1].decode().strip("/")
    if not name or ".." in (*folder.split("/"), *name.split("/")) or kind not in fake.folders:
        return Response(status=400)
    files, prefix = fake.folders[kind], f"{folder}/" if folder else ""
    stem, dot, suffix = name.rpartition(".")
    count = 0
    if fields.get("overwrite", ("", b""))[1] not in (b"true", b"1"):
        while files.get(prefix + name, data) != data:
            count += 1
            name = f"{stem} ({count}){dot}{suffix}"
    files[prefix + name] = data
    return Response(json={"name": name, "subfolder": folder, "type": kind})


def form(request: Request) -> dict[str, tuple[str, bytes]]:
    """File name and content of each field of a multipart body."""
    head = f"content-type: {request.headers['content-type']}\r\n\r\n".encode()
    fields = {}
    for part in BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts():
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        fields[str(name)] = (part.get_filename() or "", content if isinstance(content, bytes) else b"")
    return fields


@route("GET", "/view")
async def view(fake: ComfyServer, request: Request, *_: Any) -> Response:
    name, kind = request.query.get("filename", ""), request.query.get("type", "output")
    folder = request.query.get("subfolder", "")
    if not name or kind not in fake.folders or ".." in f"{folder}/{name}":
        return Response(status=400)
    data = fake.folders[kind].get(f"{folder}/{name}" if folder else name)
    if data is None:
        return Response(status=404)
    file_format = PIL.Image.open(io.BytesIO(data)).format or "PNG"
    wanted, quality = (request.query.get("preview", "") + ";90").split(";")[:2]
    if wanted in ("webp", "jpeg"):
        file_format, data = wanted, _encoded(data, wanted, quality=int(quality))
    elif request.query.get("channel") == "rgb":
        file_format, data = "png", _encoded(data, "png")
    headers = {"content-type": f"image/{file_format.lower()}", "content-disposition": f'filename="{name}"'}
    return Response(body=data, headers=headers)


def _encoded(data: bytes, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    PIL.Image.open(io.BytesIO(data)).convert("RGB").save(file, file_format, **options)
    return file.getvalue()


@route("GET", "/object_info")
async def object_info(fake: ComfyServer, *_: Any) -> Response:
    return Response(json={name: fake.info(name) for name in fake.classes})


@route("GET", "/object_info/([^/]+)")
async def one_class(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    info = fake.info(path[1])
    return Response(json={} if info is None else {path[1]: info})


@route("GET", "/models")
async def folders(fake: ComfyServer, *_: Any) -> Response:
    return Response(json=list(fake.files))


@route("GET", "/models/([^/]+)")
async def models(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    return Response(json=fake.files[path[1]]) if path[1] in fake.files else Response(status=404)


@route("GET", "/experiment/models/([^/]+)")
async def sizes(fake: ComfyServer, _: Request, path: re.Match[str]) -> Response:
    if fake.old or path[1] not in fake.files:
        return Response(status=404)
    rows = [{"name": name, "size": fake.sizes.get(name, USUAL_SIZE)} for name in fake.files[path[1]]]
    return Response(json=[{"pathIndex": 0, "modified": 1795217097.02, "created": 1795217097.02} | row for row in rows])


@route("GET", "/embeddings")
async def embeddings(fake: ComfyServer, *_: Any) -> Response:
    return Response(json=fake.files.get("embeddings", []))


@route("GET", "/view_metadata/([^/]+)")
async def metadata(fake: ComfyServer, request: Request, path: re.Match[str]) -> Response:
    found = fake.metadata.get((path[1], request.query.get("filename", "")))
    return Response(status=404) if found is None else Response(json=found)


@route("GET", "/system_stats")
async def system_stats(fake: ComfyServer, *_: Any) -> Response:
    system = {"os": "linux", "ram_total": 2**35, "ram_free": 2**34, "comfyui_version": fake.version}
    system |= {"python_version": "3.11.9", "pytorch_version": "2.9.0", "embedded_python": False, "argv": ["main.py"]}
    device = {"name": "cuda:0 fake", "type": "cuda", "index": 0, "vram_total": 2**35, "vram_free": 2**34}
    device |= {"torch_vram_total": 2**33, "torch_vram_free": 2**32}
    return Response(json={"system": system, "devices": [device]})


@route("GET", "/features")
async def features(fake: ComfyServer, *_: Any) -> Response:
    return Response(status=404) if fake.old else Response(json=fake.features)


@route("POST", "/free")
async def free(fake: ComfyServer, request: Request, _: re.Match[str]) -> Response:
    """``free_memory`` drops the results of nodes too."""
    body = request.json() or {}
    fake.freed.append(body)
    if body.get("free_memory"):
        fake.cache.clear()
    return Response()
