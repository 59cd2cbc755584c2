"""The bytes of a request's body become a call, or an error that its sender gets to see."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from litestar import Request
from litestar.connection import ASGIConnection

from imagerouter.app.errors import ClientGoneError
from imagerouter.app.stored import find_stored
from imagerouter.config import Limits
from imagerouter.engine import Engine
from imagerouter.errors import InvalidRequestError, RequestTooLargeError
from imagerouter.openai import Call, Door, decode
from imagerouter.openai.multipart import Form, read_form
from imagerouter.types import Image

DISCARD_SECONDS = 10.0
DISCARD_TIMES = 4
"""How much of a body that is too large is still read, in multiples of ``limits.max_body``."""

Translation = Callable[[dict[str, Any]], dict[str, Any]]


class UnsupportedEncodingError(InvalidRequestError):
    """The body is compressed."""

    status = 415
    code: ClassVar[str | None] = "unsupported_content_encoding"


async def read_call(request: Request[Any, Any, Any], engine: Engine, door: Door, translate: Translation = dict) -> Call:
    """The call in the request's body, and who sent it. Raises as `understood` does.

    :param translate: makes fields out of what the body says, where they aren't the same.
    """
    sent, pictures = await read_fields(request, engine.config.limits)
    return await understood(request, translate(sent), door=door, pictures=pictures)


async def understood(
    request: Request[Any, Any, Any],
    fields: Mapping[str, Any],
    *,
    door: Door = Door.GENERATION,
    pictures: Mapping[str, Image] | None = None,
    names: Mapping[str, str] | None = None,
) -> Call:
    """The call that fields make, and who sent it; pictures behind links of this server's own are read, not fetched.

    :param names: what the sender's dialect calls parameters, see `interpret`.

    Raises subclasses of `InvalidRequestError`, and `StorageError`.
    """
    state = request.app.state
    engine: Engine = state.engine
    find = partial(find_stored, state.storage())
    return await engine.understand(fields, request.auth, door=door, pictures=pictures, find=find, names=names)


async def read_fields(request: Request[Any, Any, Any], limits: Limits) -> tuple[dict[str, Any], dict[str, Image]]:
    """What a body of JSON, or a form, says, and the files of a form by the keys that stand for them."""
    headers = request.headers
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        await discard(request, limits.max_body)
        raise UnsupportedEncodingError(f"The body must be plain; `content-encoding: {encoding[:50]}` is not read")
    kind = headers.get("content-type", "")
    if kind.lower().lstrip().startswith("multipart/"):
        form = await _read_form(request, kind, limits)
        names = {"images": form.images_as}
        return {names.get(name, name): value for name, value in form.fields.items()}, form.pictures
    raw = await _read(request, limits.max_body)
    try:
        return decode(raw), {}
    except InvalidRequestError as error:
        kind = kind.split(";")[0].strip()
        # Good JSON is taken whatever it is called: the type only helps to explain what can't be read.
        if type(error) is not InvalidRequestError or not kind or "json" in kind.lower():
            raise
        raise InvalidRequestError(
            f"JSON or a form (`multipart/form-data`) is expected, and this body is `{kind[:100]}`. {error.message}"
        ) from None


async def _read_form(request: Request[Any, Any, Any], kind: str, limits: Limits) -> Form:
    is_over, received = False, 0

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal is_over, received
        while not is_over:
            piece, more = await _next(request)
            received += len(piece)
            yield piece
            is_over = not more

    try:
        return await read_form(pieces(), kind, limits)
    except InvalidRequestError:
        if not is_over and received != request.content_length:
            await discard(request, limits.max_body)
        raise


async def _read(request: Request[Any, Any, Any], limit: int) -> bytes:
    # Not `request.body()`: Litestar's limit is fixed when the application is made, and ours may be reloaded.
    if (request.content_length or 0) <= limit:
        pieces, size, more = list[bytes](), 0, True
        while more and size <= limit:
            piece, more = await _next(request)
            pieces.append(piece)
            size += len(piece)
        if size <= limit:
            return b"".join(pieces)
    await discard(request, limit)
    raise RequestTooLargeError(f"The body is larger than {limit} bytes (`limits.max_body`)")


async def _next(request: Request[Any, Any, Any]) -> tuple[bytes, bool]:
    """The next piece of the body, and whether more of them come. Raises `ClientGoneError`."""
    message = await request.receive()
    if message["type"] != "http.request":
        raise ClientGoneError
    return message["body"], message["more_body"]


async def discard(connection: ASGIConnection[Any, Any, Any, Any], limit: int) -> None:
    """Read on for a while: a client that is still sending when the connection closes never sees the answer."""
    if "expect" in connection.headers:
        return  # it sends nothing before it is told to
    most = limit * DISCARD_TIMES
    with suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_SECONDS):
            more = True
            while more and most > 0:
                message = await connection.receive()
                if message["type"] != "http.request":
                    return
                more = message["more_body"]
                most -= len(message["body"])
