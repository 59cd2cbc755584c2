"""A call at work: raced against a client that hangs up, and streamed with signs of life. Every dialect's routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import structlog
from litestar import Request
from litestar.response import Stream

from imagerouter.app.errors import ClientGoneError, ShuttingDownError
from imagerouter.app.interruption import Interruption
from imagerouter.app.protocol import WHEN_GONE
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.jobs import Outcome
from imagerouter.openai import Call

T = TypeVar("T")

log = structlog.get_logger(__name__)

KEEP_ALIVE_SECONDS = 4.0
"""Between comments on a silent stream: OpenRouter's SDK for Python waits 5 s, proxies wait 60, Node's fetch 300."""


Events = AsyncGenerator[dict[str, Any], None]


class Writer(Protocol):
    """How a dialect writes the payloads of `Engine.events` as server-sent events."""

    def event(self, payload: dict[str, Any]) -> bytes:
        """The event, or nothing. One with ``b64_json`` in it is written in a thread."""

    def failed(self, error: ImageRouterError) -> bytes:
        """The last event, where the payloads themselves don't tell of the error."""

    def end(self) -> bytes:
        """What follows the last one."""


def job_headers(call: Call, outcome: Outcome | None = None) -> dict[str, str]:
    """Which job it is, and, where that is known, who has drawn it."""
    named = {"x-imagerouter-job": call.job.id}
    if outcome is None:
        return named
    return {
        **named,
        "x-imagerouter-provider": outcome.target.provider,
        "x-imagerouter-reproducibility": outcome.verdict.tier.value,
    }


async def streamed(request: Request[Any, Any, Any], call: Call, writer: Writer, events: Events | None = None) -> Stream:
    """The answer to a call as server-sent events. Raises what can be told before the first of them.

    :param events: the payloads, by default those of `Engine.events`. An `ImageRouterError` of theirs is written, too.

    Raises `ImageRouterError`, or `ClientGoneError`.
    """
    engine: Engine = request.app.state.engine
    # Status and headers go out before the first event: what can be refused is refused before.
    await race(request, call, engine.admit(call))
    return Stream(
        _written(events or engine.events(call), writer, request.app.state.in_flight.over),
        media_type="text/event-stream",
        headers={**job_headers(call), "cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def race(request: Request[Any, Any, Any], call: Call, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, unless the client hangs up or the server's patience ends; then it is cancelled.

    Litestar does not cancel a handler whose client is gone, so this watches for the disconnect itself. The work is
    done in the request's own task: otherwise its pictures would wait for a turn of the loop, in which those of others
    are received, and be out of the processor's cache when they are sent.

    Raises `ClientGoneError`, `ShuttingDownError`, and what ``work`` raises.
    """
    state = request.app.state
    if state.draining:
        work.close()
        raise ShuttingDownError
    interruption = Interruption()
    watch = _watch(request, lambda: interruption.end(ClientGoneError()))
    state.in_flight.stops.add(shut_down := lambda: interruption.end(ShuttingDownError()))
    try:
        return await interruption.run(work)
    except ClientGoneError:
        log.info("client.gone", job=call.job.id)
        raise
    finally:
        if watch is not None:
            watch.cancel()
        state.in_flight.stops.discard(shut_down)


def _watch(request: Request[Any, Any, Any], gone: Callable[[], None]) -> asyncio.Task[None] | None:
    """Have ``gone`` called when the client hangs up; the task that does it, where another server than ours listens."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone()

    extensions: Any = request.scope.get("extensions") or {}
    if (when_gone := extensions.get(WHEN_GONE)) is None:
        return asyncio.create_task(watch())
    when_gone(gone)
    return None


async def _written(events: Events, writer: Writer, over: asyncio.Event) -> AsyncIterator[bytes]:
    """Events as bytes, with a comment whenever nothing else has come for a while, until the patience is over."""
    coming: asyncio.Task[Any] | None = None
    ending = asyncio.create_task(over.wait())
    try:
        while True:
            coming = coming or asyncio.ensure_future(anext(events))
            await asyncio.wait([coming, ending], timeout=KEEP_ALIVE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                payload, coming = coming.result(), None
                heavy = "b64_json" in payload
                written = await asyncio.to_thread(writer.event, payload) if heavy else writer.event(payload)
                if written:
                    yield written
            elif ending.done():
                yield writer.failed(ShuttingDownError())
                return
            else:
                yield b": keepalive\n\n"
    except ImageRouterError as error:
        yield writer.failed(error) + writer.end()
    except StopAsyncIteration:
        if last := writer.end():
            yield last
    finally:
        ending.cancel()
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await events.aclose()
