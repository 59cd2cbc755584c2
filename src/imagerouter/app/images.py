"""``POST /v1/images/generations``, ``…/edits`` and ``…/variations``."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Request, Response, post

from imagerouter.app.body import read_call
from imagerouter.app.errors import answer
from imagerouter.app.files import base_url, publish
from imagerouter.app.openapi import UNDRAWN, UNREADABLE, body, operation, pictures
from imagerouter.app.work import ClientGoneError, Writer, job_headers, race, streamed
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Outcome
from imagerouter.openai import Door, response

REFUSALS = (*UNREADABLE, *UNDRAWN)


class Events:
    """OpenAI's server-sent events: one per payload, and the end of the connection is the end of the stream."""

    def event(self, payload: dict[str, Any]) -> bytes:
        return response.event(payload)

    def end(self) -> bytes:
        return b""


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


async def answered(request: Request[Any, Any, Any], door: Door, writer: Writer | None = None) -> Response[Any]:
    """The pictures that a body asks for, in OpenAI's shape.

    :param writer: how a stream is written, by default as OpenAI does it.
    """
    engine: Engine = request.app.state.engine
    call = await read_call(request, engine, door)
    try:
        if call.delivery.stream:
            return await streamed(request, call, writer or Events())
        outcome = await race(request, call, engine.run(call))
    except ClientGoneError:
        return Response(b"", status_code=499)
    except ImageRouterError as error:
        return answer(error, job_headers(call))
    urls = await _published(request, outcome) if call.delivery.as_url else []
    return Response(
        await asyncio.to_thread(response.body, outcome, call.delivery, urls),
        media_type="application/json",
        headers=job_headers(call, outcome),
    )


async def _published(request: Request[Any, Any, Any], outcome: Outcome) -> list[str | None]:
    state = request.app.state
    return await publish(state.storage(), outcome.images, base_url(request, state.engine.config.server.public_url))
