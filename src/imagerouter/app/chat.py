"""``POST /v1/chat/completions``: pictures for clients that only chat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from litestar import Request, Response, post
from msgspec.structs import replace

from imagerouter.app.body import read_fields, understood
from imagerouter.app.chat_answers import ChatCompletion
from imagerouter.app.dialects import while_on
from imagerouter.app.errors import answer
from imagerouter.app.files import published
from imagerouter.app.openapi import UNDRAWN, UNREADABLE, operation, pictures
from imagerouter.app.openapi import body as described
from imagerouter.app.openrouter import refusal, refused
from imagerouter.app.schemas import chunk
from imagerouter.app.work import Events, job_headers, race, streamed
from imagerouter.dialects.chat import Asked, Chunks, OpenRouterChunks, body, drawn, read
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError, NotFoundError
from imagerouter.openai import Call


@dataclass(frozen=True, slots=True)
class Manner:
    """How errors are told: the only thing in which clients of OpenAI and of OpenRouter differ."""

    refuse: Callable[[ImageRouterError, dict[str, str]], Response[Any]]
    chunks: type[Chunks]


OPENAI = Manner(answer, Chunks)
OPENROUTER = Manner(refusal, OpenRouterChunks)


@post(
    "/chat/completions",
    status_code=200,
    guards=[while_on("chat")],
    operation_class=operation(
        {200: pictures(ChatCompletion, chunk)}, *UNREADABLE, *UNDRAWN, NotFoundError, body=described("ChatBody")
    ),
    summary="Draw a picture in a chat",
    description="The last message of the user's says what is drawn, on the latest pictures of the chat if it has any.",
    tags=["chat"],
)
async def complete(request: Request[Any, Any, Any]) -> Response[Any]:
    return await _completed(request, OPENAI)


@post(
    "/chat/completions",
    status_code=200,
    guards=[while_on("chat")],
    exception_handlers={ImageRouterError: refused},
    include_in_schema=False,
)
async def complete_for_openrouter(request: Request[Any, Any, Any]) -> Response[Any]:
    return await _completed(request, OPENROUTER)


async def _completed(request: Request[Any, Any, Any], manner: Manner) -> Response[Any]:
    engine: Engine = request.app.state.engine
    sent, _ = await read_fields(request, engine.config.limits)
    asked = await asyncio.to_thread(read, sent)  # megabytes of Markdown take a while
    call = await understood(request, asked.fields, names=asked.names)
    warnings = (*call.delivery.warnings, *asked.ignored)
    call = replace(call, delivery=replace(call.delivery, warnings=warnings))
    try:
        if call.delivery.stream:
            model = engine.catalogue.resolve(call.job.asked[0])
            writer = manner.chunks(call, asked, model.name if model else "")
            return await streamed(request, call, writer, _events(request, call, asked))
        outcome = await race(request, call, engine.run(call))
    except ImageRouterError as error:
        return manner.refuse(error, job_headers(call))
    urls = await published(request, outcome.images) if asked.as_url else []
    return Response(
        await asyncio.to_thread(body, outcome, call, asked, urls),
        media_type="application/json",
        headers=job_headers(call, outcome),
    )


async def _events(request: Request[Any, Any, Any], call: Call, asked: Asked) -> Events:
    engine: Engine = request.app.state.engine
    yield {"type": "begin"}
    outcome = await engine.run(call)
    for payload in drawn(outcome, await published(request, outcome.images) if asked.as_url else []):
        yield payload
