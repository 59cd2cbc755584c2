"""``POST /v1/images/generations``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import structlog
from litestar import Request, Response, post
from litestar.response import Stream

from imagerouter.app.errors import answer
from imagerouter.app.openapi import GenerationOperation
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, parse, response

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 10.0
"""Between comments on a silent stream: proxies cut idle connections after 60 s, Node's fetch after 300 s."""


class ShuttingDownError(ImageRouterError):
    """The server finishes what it has and takes nothing new."""

    status = 503
    code = "shutting_down"


@post(
    "/images/generations",
    status_code=200,
    operation_class=GenerationOperation,
    summary="Draw pictures from a text",
    tags=["images"],
)
async def generations(request: Request[Any, Any, Any]) -> Response[Any]:
    engine: Engine = request.app.state.engine
    call = parse(await request.body(), engine.config.limits)
    if request.app.state.draining:
        raise ShuttingDownError("The server is shutting down", retry_after=5)
    headers = {"x-imagerouter-job": call.job.id}
    if call.delivery.stream:
        # Status and headers go out before the first event: what can be refused is refused before.
        await engine.admit(call)
        return Stream(
            _stream(engine, call),
            media_type="text/event-stream",
            headers={**headers, "cache-control": "no-cache", "x-accel-buffering": "no"},
        )
    try:
        outcome = await _unless_gone(request, engine, call)
    except ImageRouterError as error:
        return answer(error, headers)
    if outcome is None:
        return Response(b"", status_code=499)
    headers["x-imagerouter-provider"] = outcome.target.provider
    return Response(
        await asyncio.to_thread(response.body, outcome, call.delivery),
        media_type="application/json",
        headers=headers,
    )


async def _unless_gone(request: Request[Any, Any, Any], engine: Engine, call: Call) -> Outcome | None:
    """The outcome, or ``None`` if the client hung up first; then the work is cancelled.

    Litestar does not cancel a handler whose client is gone, so the work races against the disconnect.
    """
    work = asyncio.create_task(engine.run(call), name=f"job {call.job.id}")
    gone = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        log.info("client.gone", job=call.job.id)
        return None
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.wait([work, gone])


async def _disconnected(request: Request[Any, Any, Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(engine: Engine, call: Call) -> AsyncIterator[bytes]:
    """The call's events as bytes, with a comment whenever nothing else has come for a while."""
    events = engine.events(call)
    coming: asyncio.Task[dict[str, Any]] | None = None
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            done, _ = await asyncio.wait([coming], timeout=KEEP_ALIVE_SECONDS)
            if not done:
                yield b": keepalive\n\n"
                continue
            try:
                payload = coming.result()
            except StopAsyncIteration:
                return
            coming = None
            yield response.event(payload)
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await events.aclose()
