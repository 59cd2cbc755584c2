"""``POST /sdapi/v1/txt2img`` and ``…/img2img``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog
from litestar import Request, Response, post
from msgspec.structs import replace

from imagerouter.app import body as read
from imagerouter.app.sdapi.senders import Senders, Work, name_of
from imagerouter.app.work import job_headers, race
from imagerouter.dialects.a1111 import answer
from imagerouter.dialects.a1111.body import Body, Drawing, Img2Img, Txt2Img, understood
from imagerouter.dialects.a1111.fields import Translated, translated
from imagerouter.dialects.a1111.masks import white
from imagerouter.dialects.a1111.progress import Course
from imagerouter.dialects.a1111.settings import unhashed
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.images import deliver, in_worker
from imagerouter.jobs import Outcome
from imagerouter.openai import NO_PROMPT, Call, Door
from imagerouter.openai.inputs import is_address, picture
from imagerouter.types import Image

log = structlog.get_logger(__name__)

PREVIEWS = 3
"""As many as a request can have."""
_MASK = "inpainting mask"
"""Stands for a mask that was made plain here."""


@post("/txt2img", status_code=200)
async def txt2img(request: Request[Any, Any, Any]) -> Response[bytes]:
    return await _answered(request, Txt2Img)


@post("/img2img", status_code=200)
async def img2img(request: Request[Any, Any, Any]) -> Response[bytes]:
    return await _answered(request, Img2Img)


async def _answered(request: Request[Any, Any, Any], kind: type[Drawing]) -> Response[bytes]:
    engine: Engine = request.app.state.engine
    senders: Senders = request.app.state.senders
    sender = senders.of(request)
    fields, _ = await read.read_fields(request, engine.config.limits)
    body = understood(fields, kind)
    call = await _call(request, body, translated(body, sender.settings))
    if sender.wants_previews:
        call = replace(call, job=replace(call.job, partial_images=PREVIEWS))
    course = Course(kind.__name__.lower(), call.job.n, name_of(body.request.force_task_id))
    with sender.working(course) as work:
        outcome = await race(request, call, _unless_stopped(engine, call, work))
    if outcome is not None:
        drawn = answer.drawn(outcome, call.delivery)
    else:
        log.info("image.interrupted", job=call.job.id, key=call.job.origin.key)
        drawn = answer.interrupted(call.job, await _last_seen(course, call))
    return Response(
        await asyncio.to_thread(answer.body, drawn, body),
        media_type="application/json",
        headers=job_headers(call, outcome),
    )


async def _call(request: Request[Any, Any, Any], body: Body[Any], said: Translated) -> Call:
    engine: Engine = request.app.state.engine
    fields = dict(said.fields)
    if "model" in fields and engine.catalogue.resolve(fields["model"]) is None:
        fields["model"] = unhashed(fields["model"])
    pictures = await _mask(fields, body.request) if "mask" in fields else None
    has_prompt = bool(fields["prompt"])
    if not has_prompt:
        fields["prompt"] = NO_PROMPT  # the real server draws without one
    door = Door.EDIT if "images" in fields else Door.GENERATION
    call = await read.understood(request, fields, door=door, pictures=pictures)
    return replace(
        call,
        job=call.job if has_prompt else replace(call.job, prompt=""),
        delivery=replace(call.delivery, warnings=(*call.delivery.warnings, *said.ignored)),
    )


async def _mask(fields: dict[str, Any], request: Img2Img) -> Mapping[str, Image] | None:
    """The mask as a picture of its own, which ``fields`` then name; one to be fetched stays as it is."""
    if is_address(fields["mask"]) and not request.inpainting_mask_invert:
        return None
    sent = await in_worker(picture, fields["mask"], "mask")
    fields["mask"] = _MASK
    return {_MASK: await in_worker(lambda: white(sent, invert=bool(request.inpainting_mask_invert)))}


async def _unless_stopped(engine: Engine, call: Call, work: Work) -> Outcome | None:
    """The outcome, or ``None`` if the sender interrupts its job."""
    drawing = asyncio.create_task(engine.run(call, work.course.tell))
    stopping = asyncio.create_task(work.stop.wait())
    try:
        await asyncio.wait([drawing, stopping], return_when=asyncio.FIRST_COMPLETED)
        return drawing.result() if drawing.done() else None
    finally:
        for each in (drawing, stopping):
            each.cancel()
        await asyncio.wait([drawing, stopping])


async def _last_seen(course: Course, call: Call) -> list[Image]:
    """The last preview of an interrupted job, in the format that its pictures would have had."""
    if course.preview is None:
        return []
    wanted = call.delivery
    try:
        return [await deliver(course.preview, wanted.output_format, wanted.compression)]
    except ImageRouterError:  # a backend's preview that is no picture
        return []
