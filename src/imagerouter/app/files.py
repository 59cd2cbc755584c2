"""``GET /v1/files/{name}``: stored pictures, for whoever has a signed link. It needs no API key."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from litestar import Request, Response, route
from litestar.enums import HttpMethod
from litestar.params import Parameter

from imagerouter.app.errors import answer
from imagerouter.app.openapi import READ, file, operation
from imagerouter.errors import InvalidRequestError, NotFoundError, PermissionDeniedError
from imagerouter.storage import Storage, StorageError, StoredFile
from imagerouter.storage.links import LinkExpiredError
from imagerouter.types import Image

_RANGE = re.compile(r"bytes=\s*([0-9]{0,30})\s*-\s*([0-9]{0,30})\s*", re.ASCII | re.IGNORECASE)
_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_PREFIX = re.compile(r"(?:/[a-z0-9._~-]+)+", re.ASCII | re.IGNORECASE)


class RangeNotSatisfiableError(InvalidRequestError):
    """The range begins behind the end of the file."""

    status = 416
    code: ClassVar[str | None] = "range_not_satisfiable"


@route(
    "/files/{name:str}",
    http_method=READ,
    summary="A stored picture",
    description="The `url` of an answer to `response_format: url`. `range`, `if-range` and `if-none-match` count.",
    tags=["images"],
    media_type="image/*",
    operation_class=operation(
        {
            200: file("The picture"),
            206: file("The part of it that `range` asks for", "content-range"),
            304: file("The client has it already, says its `if-none-match`", is_empty=True),
        },
        PermissionDeniedError,
        NotFoundError,
        LinkExpiredError,
        RangeNotSatisfiableError,
        StorageError,
        is_open=True,
    ),
)
async def read_file(
    request: Request[Any, Any, Any],
    name: Annotated[str, Parameter(description="Id and extension")],
    expires: Annotated[str, Parameter(description="Unix time in seconds")] = "",
    signature: Annotated[str, Parameter(description="Of name and `expires`")] = "",
) -> Response[bytes]:
    storage: Storage = request.app.state.storage()
    file = await storage.find(name, expires, signature)
    headers = _headers(file, storage.seconds_left(file))
    if is_known(request.headers.get("if-none-match"), headers["etag"]):
        # Files never change, so there is no need to look.
        return Response(b"", status_code=304, headers=headers)
    if request.method == HttpMethod.HEAD:
        size = await storage.size(file)
        return Response(b"", headers={**headers, "content-length": str(size)}, media_type=file.media_type)
    if "range" in request.headers and request.headers.get("if-range") in (None, headers["etag"]):
        return await _part(storage, file, headers, request.headers["range"])
    return Response(await storage.read(file), headers=headers, media_type=file.media_type)


async def _part(storage: Storage, file: StoredFile, headers: dict[str, str], wanted: str) -> Response[bytes]:
    size = await storage.size(file)
    try:
        part = byte_range(wanted, size)
    except RangeNotSatisfiableError as error:
        return answer(error, {"content-range": f"bytes */{size}"})
    if part is None:
        return Response(await storage.read(file), headers=headers, media_type=file.media_type)
    data = await storage.read(file, part.start, part.stop)
    headers = {**headers, "content-range": f"bytes {part.start}-{part.stop - 1}/{size}"}
    return Response(data, status_code=206, headers=headers, media_type=file.media_type)


def _headers(file: StoredFile, seconds_left: int) -> dict[str, str]:
    disposition = "attachment" if file.media_type == "application/octet-stream" else "inline"
    return {
        "etag": f'"{file.id}"',
        "cache-control": f"private, max-age={seconds_left}, immutable",
        "accept-ranges": "bytes",
        "content-disposition": f'{disposition}; filename="{file.name}"',
        "x-content-type-options": "nosniff",
    }


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has the file already (RFC 9110, section 13.1.2)."""
    tags = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in tags or tags == ["*"]


def byte_range(header: str, size: int) -> range | None:
    """The bytes that a ``Range`` header asks for (RFC 9110, section 14.1.2); ``None``: all, as without it.

    A header that can't be read doesn't count, and several ranges at once are answered with the whole file, as the
    RFC allows. Raises `RangeNotSatisfiableError`.
    """
    match = _RANGE.fullmatch(header.strip())
    if match is None or match.group(1, 2) == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(last) < int(first):
        return None
    if first:
        part = range(int(first), min(int(last) + 1, size) if last else size)
    else:
        part = range(max(0, size - int(last)), size)
    if not part:
        raise RangeNotSatisfiableError(f"The file has {size} bytes, and the range begins behind its end")
    return part


async def publish(storage: Storage, images: Sequence[Image], base: str) -> list[str | None]:
    """A link to each picture, or ``None`` where it can't be stored; that is logged.

    Such a picture is best sent as a data URL: it is drawn, and the next attempt would have to draw it again.

    :param base: see `base_url`.
    """

    async def url(image: Image) -> str | None:
        try:
            return base + await storage.keep(image)
        except StorageError:
            return None

    return await asyncio.gather(*map(url, images))


async def published(request: Request[Any, Any, Any], images: Sequence[Image]) -> list[str | None]:
    """`publish` where this server keeps pictures, for whoever sent the request."""
    state = request.app.state
    return await publish(state.storage(), images, base_url(request, state.engine.config.server.public_url))


def base_url(request: Request[Any, Any, Any], public_url: str | None) -> str:
    """What links begin with, without a slash at its end: ``public_url``, or how this client reached the server.

    That is what the nearest proxy says (``x-forwarded-proto``, ``-host``, ``-prefix``), or the host header. They may
    be made up, but only who made them up gets to see the links. It has to be the client's own way in: several
    clients refuse pictures from another origin.

    :param public_url: a base URL for SDKs, with ``/v1`` at its end, is fine, too.
    """
    if public_url:
        return public_url.rstrip("/").removesuffix("/v1")

    def forwarded(what: str) -> str:
        return request.headers.get(f"x-forwarded-{what}", "").partition(",")[0].strip()

    scheme = forwarded("proto").lower()
    if scheme not in ("http", "https"):
        scheme = request.scope["scheme"]
    candidates = (forwarded("host"), request.headers.get("host", ""))
    host = next((host for host in candidates if _HOST.fullmatch(host)), None) or _address(request)
    prefix = forwarded("prefix").rstrip("/") or request.scope.get("root_path", "").rstrip("/")
    return f"{scheme}://{host}{prefix if _PREFIX.fullmatch(prefix) else ''}"


def _address(request: Request[Any, Any, Any]) -> str:
    """Where the server listens, for a client that doesn't say how it calls it."""
    host, port = request.scope["server"] or ("127.0.0.1", None)
    host = f"[{host}]" if ":" in host else host
    return host if port is None else f"{host}:{port}"
