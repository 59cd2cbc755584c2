"""What the OpenAPI document says of each route.

The handlers read raw bytes and answer with plain objects (bodies are large, and their errors OpenAI's, not the
framework's), so Litestar can't see the types: `operation` names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import ScalarRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    Operation,
    Reference,
    RequestBody,
    Schema,
    SecurityRequirement,
    SecurityScheme,
)

from imagerouter import __version__, errors
from imagerouter.app import answers
from imagerouter.app.body import UnsupportedEncodingError
from imagerouter.app.errors import ShuttingDownError
from imagerouter.app.schemas import REFERENCE, event, schemas
from imagerouter.errors import ImageRouterError
from imagerouter.storage import StorageError

JSON = "application/json"
READ = (HttpMethod.GET, HttpMethod.HEAD)
"""The methods of whatever only tells something: monitors ask with the second."""

ANYWHERE = (errors.InvalidRequestError, errors.InternalError, ShuttingDownError)
"""What may happen to every request: a header that can't be read, a defect, the end of the server."""
UNREADABLE = (errors.InvalidParameterError, errors.RequestTooLargeError, UnsupportedEncodingError, StorageError)
"""What may be wrong with a body, or keep its pictures from being read."""
UNDRAWN = (
    errors.UnknownParameterError,
    errors.ContentPolicyError,
    errors.PermissionDeniedError,
    errors.ModelNotFoundError,
    errors.RateLimitError,
    errors.QueueFullError,
    errors.ProviderError,
    errors.ProviderRejectedError,
    errors.ProviderBusyError,
    errors.ProviderUnavailableError,
    errors.ProviderTimeoutError,
    errors.ProviderResponseError,
    errors.GenerationError,
    errors.OutOfMemoryError,
    errors.MisconfiguredError,
    errors.NoProviderError,
)
"""Why there may be no pictures."""

_KEY = "An API key, where the configuration has `keys`"
SECURITY: list[SecurityRequirement] = [{}, {"bearer": []}, {"key": []}, {"basic": []}]


class Raw(Schema):
    """A schema that is already JSON."""

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__()
        self.raw = raw

    def to_schema(self) -> dict[str, Any]:
        return self.raw


class WireTypes(Components):
    """Components with the schemas of this API: Litestar would put only those there that it found itself."""

    def to_schema(self) -> dict[str, Any]:
        return {**super().to_schema(), "schemas": schemas()}


def openapi_config() -> OpenAPIConfig:
    return OpenAPIConfig(
        title="imagerouter",
        version=__version__,
        description="OpenAI's images API in front of every image backend you run. Each `/v1/…` is there without `/v1`, "
        "too. Unknown paths are answered with 404 and other methods with 405, in the shape of every other error.",
        path="/docs",
        components=_components(),
        operation_id_creator=_operation_id,
        render_plugins=[ScalarRenderPlugin(path="/")],
    )


def _components() -> Components:
    return WireTypes(
        security_schemes={
            "bearer": SecurityScheme(type="http", scheme="bearer", description=_KEY),
            "key": SecurityScheme(type="apiKey", name="x-api-key", security_scheme_in="header", description=_KEY),
            "basic": SecurityScheme(type="http", scheme="basic", description=f"{_KEY}: password or user name"),
        }
    )


def _operation_id(handler: HTTPRouteHandler, method: Any, _: Any) -> str:
    """``readFile``, and ``readFileHead`` for what a handler does beside its main method."""
    first, *others = handler.handler_name.split("_")
    return first + "".join(map(str.title, others)) + ("Head" if method == "HEAD" else "")


def operation(
    answered: Mapping[int, OpenAPIResponse],
    *refused: type[ImageRouterError],
    body: RequestBody | None = None,
    is_open: bool = False,
) -> type[Operation]:
    """The class of a route's operation.

    :param answered: by status.
    :param refused: the errors that the route may answer with, besides those that all of them may.
    :param is_open: whether it needs no API key.
    """
    known = () if is_open else (errors.AuthenticationError,)
    responses = {str(status): answer for status, answer in answered.items()} | {
        str(status): response
        for status, response in _refusals([*ANYWHERE, *known, *refused]).items()
        if status not in answered
    }

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.request_body = body
            self.responses = dict(sorted(responses.items()))
            self.security = [] if is_open else SECURITY

    return Described


def _refusals(classes: Iterable[type[ImageRouterError]]) -> dict[int, OpenAPIResponse]:
    """One response per status, which tells what its codes mean."""
    by_status: dict[int, list[type[ImageRouterError]]] = {}
    for each in classes:
        by_status.setdefault(each.status, []).append(each)
    return {
        status: answer(answers.Error, "\n".join(map(_meaning, some)), optional=_advice(status))
        for status, some in by_status.items()
    }


def _meaning(error: type[ImageRouterError]) -> str:
    first = (error.__doc__ or "").partition("\n\n")[0].replace("``", "`")
    code = f"`{error.code}`" if error.code else "no code"
    return f"- {code}: {' '.join(first.split())}"


def _advice(status: int) -> dict[str, str]:
    again = {"x-should-retry": "`false` where sending the same again is of no use"}
    later = {"retry-after": "Seconds after which the same request has a chance"} if status in (429, 503) else {}
    return {
        **later,
        **again,
        **({"www-authenticate": "`Bearer`"} if status == errors.AuthenticationError.status else {}),
    }


def body(json: str, form: str | None = None) -> RequestBody:
    """A body that is JSON or a form, each by the name of its schema."""
    forms = {} if form is None else {"multipart/form-data": _named(form)}
    return RequestBody({JSON: _named(json), **forms}, required=True)


def answer(
    shape: type[Any],
    about: str,
    *,
    headers: Mapping[str, str] | None = None,
    optional: Mapping[str, str] | None = None,
) -> OpenAPIResponse:
    """JSON of this shape, with headers that it always has and others, by what they say."""
    return OpenAPIResponse(about, content={JSON: _named(shape.__name__)}, headers=told(headers, optional))


def pictures(shape: type[Any] = answers.Pictures, item: Callable[[], dict[str, Any]] = event) -> OpenAPIResponse:
    """What the images routes answer, or others that draw.

    :param item: gives the schema of each event of a stream.
    """
    found = answer(
        shape,
        "The pictures",
        headers={"x-imagerouter-job": "The job's id, which stands in the log, too"},
        optional={
            "x-imagerouter-provider": "Who drew them, without `stream`",
            "x-imagerouter-reproducibility": "`exact`, `close` or `none`, without `stream`",
        },
    )
    found.content = {**(found.content or {}), "text/event-stream": OpenAPIMediaType(schema=Raw(item()))}
    return found


def file(about: str, *headers: str, is_empty: bool = False) -> OpenAPIResponse:
    """A picture, or a part of it, with further headers."""
    binary = OpenAPIMediaType(schema=Raw({"type": "string", "format": "binary"}))
    always = dict.fromkeys(("etag", "cache-control", "accept-ranges", "content-disposition", *headers), "RFC 9110")
    return OpenAPIResponse(about, content=None if is_empty else {"image/*": binary}, headers=told(always))


def told(headers: Mapping[str, str] | None = None, optional: Mapping[str, str] | None = None) -> Any:
    """Headers of a response."""
    text = Raw({"type": "string"})
    return {
        name: OpenAPIHeader(schema=text, description=about, required=required)
        for some, required in ((headers or {}, True), (optional or {}, False))
        for name, about in some.items()
    }


def _named(schema: str) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Reference(REFERENCE.format(name=schema)))
