"""A call at work: raced against a client that hangs up, and streamed with signs of life. Every dialect's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from typing import Any, Protocol, TypeVar

import structlog
from litestar import Request
from litestar.response import Stream

from imagerouter.app.errors import ShuttingDownError
from imagerouter.engine import Engine
from imagerouter.jobs import Outcome
from imagerouter.openai import Call, response

T = TypeVar("T")

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 10.0
"""Between comments on a silent stream: proxies cut idle connections after 60 s, Node's fetch after 300 s."""


class ClientGoneError(Exception):
    """Nobody waits for the answer any more."""


class Writer(Protocol):
    """How a dialect writes the payloads of `Engine.events` as server-sent events."""

    def event(self, payload: dict[str, Any]) -> bytes:
        """The event, or nothing. One with ``b64_json`` in it is written in a thread."""

    def end(self) -> bytes:
        """What follows the last one."""


def job_headers(call: Call, outcome: Outcome | None = None) -> dict[str, str]:
    """Which job it is, and, where that is known, who has drawn it."""
    drew = {} if outcome is None else {"x-imagerouter-provider": outcome.target.provider}
    return {"x-imagerouter-job": call.job.id, **drew}


async def streamed(request: Request[Any, Any, Any], call: Call, writer: Writer) -> Stream:
    """The answer to a call as server-sent events. Raises what can be told before the first of them.

    Raises `ImageRouterError`, or `ClientGoneError`.
    """
    engine: Engine = request.app.state.engine
    # Status and headers go out before the first event: what can be refused is refused before.
    await race(request, call, engine.admit(call))
    return Stream(
        _written(engine.events(call), writer, request.app.state.in_flight.over),
        media_type="text/event-stream",
        headers={**job_headers(call), "cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def race(request: Request[Any, Any, Any], call: Call, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, unless the client hangs up or the server's patience ends; then it is cancelled.

    Litestar does not cancel a handler whose client is gone, so the work races against the disconnect.
    """
    if request.app.state.draining:
        work.close()
        raise ShuttingDownError
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


async def _written(
    events: AsyncGenerator[Mapping[str, Any], None], writer: Writer, over: asyncio.Event
) -> AsyncIterator[bytes]:
    """Events as bytes, with a comment whenever nothing else has come for a while, until the patience is over."""
    coming: asyncio.Task[Any] | None = None
    ending = asyncio.create_task(over.wait())
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            await asyncio.wait([coming, ending], timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                payload = coming.result()
                coming = None
                heavy = "b64_json" in payload
                written = await asyncio.to_thread(writer.event, payload) if heavy else writer.event(payload)
                if written:
                    yield written
            elif ending.done():
                yield writer.event(response.failed(ShuttingDownError()))
                return
            else:
                yield b": keepalive\n\n"
    except StopAsyncIteration:
        if last := writer.end():
            yield last
    finally:
        ending.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await events.aclose()
