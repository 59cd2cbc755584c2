"""``POST /v1/images/generations``, ``…/edits`` and ``…/variations``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

import structlog
from litestar import Request, Response, post
from litestar.response import Stream

from imagerouter.app.body import read_call
from imagerouter.app.errors import ShuttingDownError, answer
from imagerouter.app.files import base_url, publish
from imagerouter.app.openapi import UNDRAWN, UNREADABLE, body, operation, pictures
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, Door, response

T = TypeVar("T")

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 10.0
"""Between comments on a silent stream: proxies cut idle connections after 60 s, Node's fetch after 300 s."""


REFUSALS = (*UNREADABLE, *UNDRAWN)


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


@post(
    "/images/generations",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("GenerationBody", "GenerationForm")),
    summary="Draw pictures from a text",
    tags=["images"],
)
async def generations(request: Request[Any, Any, Any]) -> Response[Any]:
    return await _answered(request, Door.GENERATION)


@post(
    "/images/edits",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("EditBody", "EditForm")),
    summary="Draw pictures from pictures and a text",
    tags=["images"],
)
async def edits(request: Request[Any, Any, Any]) -> Response[Any]:
    return await _answered(request, Door.EDIT)


@post(
    "/images/variations",
    status_code=200,
    operation_class=operation({200: pictures()}, *REFUSALS, body=body("VariationBody", "VariationForm")),
    summary="Draw pictures like another one",
    tags=["images"],
)
async def variations(request: Request[Any, Any, Any]) -> Response[Any]:
    return await _answered(request, Door.VARIATION)


async def _answered(request: Request[Any, Any, Any], door: Door) -> Response[Any]:
    engine: Engine = request.app.state.engine
    call = await read_call(request, engine, door)
    if request.app.state.draining:
        raise ShuttingDownError
    headers = {"x-imagerouter-job": call.job.id}
    try:
        if call.delivery.stream:
            # Status and headers go out before the first event: what can be refused is refused before.
            await _race(request, call, engine.admit(call))
            return _event_stream(request, call, headers)
        outcome = await _race(request, call, engine.run(call))
    except ClientGoneError:
        return Response(b"", status_code=499)
    except ImageRouterError as error:
        return answer(error, headers)
    headers["x-imagerouter-provider"] = outcome.target.provider
    urls = await _published(request, outcome) if call.delivery.as_url else []
    return Response(
        await asyncio.to_thread(response.body, outcome, call.delivery, urls),
        media_type="application/json",
        headers=headers,
    )


async def _published(request: Request[Any, Any, Any], outcome: Outcome) -> list[str | None]:
    state = request.app.state
    return await publish(state.storage(), outcome.images, base_url(request, state.engine.config.server.public_url))


def _event_stream(request: Request[Any, Any, Any], call: Call, headers: dict[str, str]) -> Stream:
    state = request.app.state
    return Stream(
        _stream(state.engine.events(call), state.in_flight.over),
        media_type="text/event-stream",
        headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _race(request: Request[Any, Any, Any], call: Call, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, unless the client hangs up or the server's patience ends; then it is cancelled.

    Litestar does not cancel a handler whose client is gone, so the work races against the disconnect.
    """
    task = asyncio.create_task(work, name=f"job {call.job.id}")
    gone = asyncio.create_task(_disconnected(request))
    over = asyncio.create_task(request.app.state.in_flight.over.wait())
    try:
        await asyncio.wait([task, gone, over], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        if over.done():
            raise ShuttingDownError
        log.info("client.gone", job=call.job.id)
        raise ClientGoneError
    finally:
        for each in (task, gone, over):
            each.cancel()
        await asyncio.wait([task, gone, over])


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(events: AsyncGenerator[dict[str, Any], None], over: asyncio.Event) -> AsyncIterator[bytes]:
    """Events as bytes, with a comment whenever nothing else has come for a while, until the patience is over."""
    coming: asyncio.Task[dict[str, Any]] | None = None
    ending = asyncio.create_task(over.wait())
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            await asyncio.wait([coming, ending], timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                payload = coming.result()
                coming = None
                heavy = "b64_json" in payload
                yield await asyncio.to_thread(response.event, payload) if heavy else response.event(payload)
            elif ending.done():
                yield response.event(response.failed(ShuttingDownError()))
                return
            else:
                yield b": keepalive\n\n"
    except StopAsyncIteration:
        return
    finally:
        ending.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await events.aclose()
