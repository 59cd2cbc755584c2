"""Text to image and image to image: what is checked before the queue, and the answer after it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from tests.providers.a1111 import fake_pictures as pictures
from tests.providers.a1111.fake_dialects import LISTS, fields, refused
from tests.providers.a1111.fake_jobs import Job
from tests.providers.a1111.fake_samplers import check

from imagerouter.testing.wire import Request, Response

if TYPE_CHECKING:
    from tests.providers.a1111.fake_server import A1111Server

PROXYS_PAGE = (
    b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body>\r\n</html>\r\n"
)

NUMBERS = ("eta", "denoising_strength", "s_min_uncond", "s_churn", "s_tmax", "s_tmin", "s_noise")
"""Fields without a default that take a number."""

OLD_WORDS = {
    int: ("value is not a valid integer", "type_error.integer"),
    float: ("value is not a valid float", "type_error.float"),
    list: ("value is not a valid list", "type_error.list"),
    dict: ("value is not a valid dict", "type_error.dict"),
    str: ("str type expected", "type_error.str"),
}
NEW_WORDS = {
    int: ("Input should be a valid integer, unable to parse string as an integer", "int_parsing"),
    float: ("Input should be a valid number, unable to parse string as a number", "float_parsing"),
    list: ("Input should be a valid list", "list_type"),
    dict: ("Input should be a valid dictionary", "dict_type"),
    str: ("Input should be a valid string", "string_type"),
}


async def generate(server: A1111Server, request: Request, route: str) -> Response | None:
    """Raises `Failure`. ``None`` where the connection was cut."""
    params = _params(server, request, route)
    if isinstance(params, Response):
        return params
    if route == "img2img" and params["init_images"] is None:
        if server.quirks.name == "sdnext":
            return Response(status=400, json={"error": "Init image is none"})
        raise refused(404, "Init image not found")
    if params.get("mask") and pictures.decode(params["mask"]) is None:
        raise refused(500, "Invalid encoded image")
    _check_scripts(server, route, params)
    check(server.quirks, params["sampler_name"] or str(params["sampler_index"]))
    if server.trouble("html"):
        return proxys_page()
    job = Job(params.get("force_task_id") or server.task_id(route), route, request.json(), params)
    if not await outlived(server, job, server.start_job(job)):
        return None
    if server.trouble("429"):
        return server.too_often(request.path)
    if server.trouble("empty"):
        job.pictures, job.info = [], ""
    return Response(json=_answer(server, job))


def proxys_page() -> Response:
    return Response(status=502, headers={"content-type": "text/html"}, body=PROXYS_PAGE)


async def outlived(server: A1111Server, job: Job, task: asyncio.Task[None]) -> bool:
    """Wait for the job, or for the end of its connection. Raises what the job raises."""
    await server.until(lambda: task.done() or job.lost)
    if job.lost:
        return False
    await task
    return True


def _answer(server: A1111Server, job: Job) -> dict[str, Any]:
    """Pictures are encoded when the settings are the owner's again, whatever the job said."""
    file_format = server.settings.get("samples_format")
    images = [
        pictures.encode(picture, file_format, text)
        for picture, text in zip(job.pictures, job.texts, strict=True)
        if job.params["send_images"]
    ]
    echo = dict(job.params)
    if job.route == "img2img" and not echo.get("include_init_images"):
        echo |= {"init_images": None, "mask": None}
    return {"images": images, "parameters": echo, "info": json.dumps(job.info) if job.info else ""}


def _params(server: A1111Server, request: Request, route: str) -> dict[str, Any] | Response:
    """The request with its defaults; fields that nobody knows are left out."""
    try:
        body = request.json()
    except ValueError as error:
        problem = {"loc": ["body", 1], "msg": str(error), "type": "value_error.jsondecode"}
        return Response(status=422, json={"detail": [problem]})
    if body is None:
        problem = {"loc": ["body"], "msg": "field required", "type": "value_error.missing"}
        return Response(status=422, json={"detail": [problem]})
    params = fields(server.dialect, route)
    problems = []
    for name, value in body.items():
        if name not in params:
            continue
        kind = _kind(name, params[name])
        try:
            params[name] = value if kind is None or value is None else _read(kind, value)
        except ValueError:
            is_next = server.quirks.name == "sdnext"
            message, code = (NEW_WORDS if is_next else OLD_WORDS)[kind or str]
            if is_next and kind is int and not isinstance(value, str):
                message, code = "Input should be a valid integer", "int_type"
            problem = {"loc": ["body", name], "msg": message, "type": code}
            problems.append(problem | ({"input": value} if is_next else {}))
    return Response(status=422, json={"detail": problems}) if problems else params


def _kind(name: str, default: Any) -> type | None:
    known = {"init_images": list, "override_settings": dict, "mask": str, "scheduler": str, "sampler_name": str}
    if name in known:
        return known[name]
    if name in NUMBERS:
        return float
    return None if default is None or isinstance(default, bool) or name == "sampler_index" else type(default)


def _read(kind: type, value: Any) -> Any:
    """Numbers may come as texts, as they may for the real one."""
    if kind in (int, float):
        if not isinstance(value, int | float | str) or isinstance(value, bool):
            raise ValueError(value)
        return float(value) if kind is float or (isinstance(value, float) and value % 1) else int(value)
    if isinstance(value, kind):
        return value
    raise ValueError(value)


def _check_scripts(server: A1111Server, route: str, params: dict[str, Any]) -> None:
    lists = {"sdnext": "sdnext_scripts", "a1111-old": "old_scripts"}
    known = {name.lower() for name in LISTS[lists.get(server.dialect, "scripts")][route]}
    is_next = server.quirks.name == "sdnext"
    if params["script_name"] and params["script_name"].lower() not in known and not is_next:
        raise refused(422, f"Script '{params['script_name']}' not found")
    for name in params["alwayson_scripts"] or {}:
        if name.lower() not in known:
            raise refused(422, f"Always on script not found: {name}" if is_next else f"Script '{name}' not found")
