"""``POST /v1/images/generations``, ``…/edits`` and ``…/variations``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from litestar import Request, Response, post

from imagerouter.app.body import Translation, read_call
from imagerouter.app.errors import answer
from imagerouter.app.files import published
from imagerouter.app.openapi import UNDRAWN, UNREADABLE, body, operation, pictures
from imagerouter.app.pieces import Pieces
from imagerouter.app.work import Writer, job_headers, race, streamed
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.openai import Door, response

REFUSALS = (*UNREADABLE, *UNDRAWN)


class Events:
    """OpenAI's server-sent events: one per payload, and the end of the connection is the end of the stream."""

    def event(self, payload: dict[str, Any]) -> bytes:
        return response.event(payload)

    def failed(self, error: ImageRouterError) -> bytes:
        return self.event(response.failed(error))

    def end(self) -> bytes:
        return b""


@dataclass(frozen=True, slots=True)
class Manner:
    """Where a dialect that has OpenAI's pictures differs from it."""

    writer: Writer = field(default_factory=Events)
    """How a stream is written."""
    translate: Translation = dict
    """See `read_call`."""
    refuse: Callable[[ImageRouterError, dict[str, str]], Response[Any]] = answer


OPENAI = Manner()


@post(
    "/images/generations",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("GenerationBody", "GenerationForm")),
    summary="Draw pictures from a text",
    tags=["images"],
)
async def generations(request: Request[Any, Any, Any]) -> Response[Any]:
    return await answered(request, Door.GENERATION)


@post(
    "/images/edits",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("EditBody", "EditForm")),
    summary="Draw pictures from pictures and a text",
    tags=["images"],
)
async def edits(request: Request[Any, Any, Any]) -> Response[Any]:
    return await answered(request, Door.EDIT)


@post(
    "/images/variations",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("VariationBody", "VariationForm")),
    summary="Draw pictures like another one",
    tags=["images"],
)
async def variations(request: Request[Any, Any, Any]) -> Response[Any]:
    return await answered(request, Door.VARIATION)


async def answered(request: Request[Any, Any, Any], door: Door, manner: Manner = OPENAI) -> Response[Any]:
    """The pictures that a body asks for, in OpenAI's shape."""
    engine: Engine = request.app.state.engine
    call = await read_call(request, engine, door, manner.translate)
    try:
        if call.delivery.stream:
            return await streamed(request, call, manner.writer)
        outcome = await race(request, call, engine.run(call))
    except ImageRouterError as error:
        return manner.refuse(error, job_headers(call))
    urls = await published(request, outcome.images) if call.delivery.as_url else []
    # Base64 takes 0.06 ms for each megabyte, less than a thread to do it in.
    return Pieces(response.body(outcome, call.delivery, urls), job_headers(call, outcome))
