"""The generation route's part of the OpenAPI document, made from the wire types themselves.

The handler reads raw bytes (its errors are OpenAI's, not the framework's), so Litestar can't see the types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, Operation, RequestBody, Schema

from imagerouter.openai.body import GenerationBody

_ERRORS = {
    "400": "A parameter is wrong, or the body can't be read",
    "401": "An API key is needed, and none or an unknown one was sent",
    "403": "A rule of the configuration denies it",
    "404": "No such model",
    "413": "The body is too large",
    "415": "The body is compressed",
    "429": "The queue is full; `retry-after` says when to come back",
    "500": "A defect of the server",
    "502": "The provider failed",
    "503": "No provider can take the request",
    "504": "The provider took too long",
}


def _inline(schema: Any, definitions: dict[str, Any]) -> Any:
    """References replaced by what they name: the document's own components belong to Litestar."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _inline(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
        return {key: _inline(value, definitions) for key, value in schema.items()}
    return [_inline(item, definitions) for item in schema] if isinstance(schema, list) else schema


def generation_schema() -> dict[str, Any]:
    """JSON schema of the request body."""
    (schema,), definitions = msgspec.json.schema_components([GenerationBody], ref_template="#/x/{name}")
    inlined: dict[str, Any] = _inline(schema, definitions)
    return inlined


class RawSchema(Schema):
    """A schema that is already JSON."""

    def __init__(self, raw: dict[str, Any]) -> None:
        super().__init__()
        self.raw = raw

    def to_schema(self) -> dict[str, Any]:
        return self.raw


_ERROR = RawSchema(
    {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["message", "type", "param", "code"],
                "properties": {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                },
            }
        },
    }
)
_FILE = {"type": "string", "format": "binary"}
_FILES = {"oneOf": [_FILE, {"type": "array", "items": _FILE, "maxItems": 16}]}
_DATUM = {
    "type": "object",
    "properties": {
        "b64_json": {"type": "string"},
        "url": {"type": "string"},
        "media_type": {"type": "string"},
        "seed": {"type": "integer"},
    },
}
_ANSWER = RawSchema(
    {
        "type": "object",
        "required": ["created", "data"],
        "properties": {
            "created": {"type": "integer"},
            "data": {"type": "array", "items": _DATUM},
            "output_format": {"type": "string"},
            "size": {"type": "string"},
            "usage": {"type": "object"},
            "imagerouter": {"type": "object"},
        },
    }
)


@dataclass
class GenerationOperation(Operation):
    """Litestar's operation with the request body and the answers filled in."""

    def __post_init__(self) -> None:
        self.request_body = RequestBody(self._bodies(generation_schema()), required=True)
        done = {
            "application/json": OpenAPIMediaType(schema=_ANSWER),
            "text/event-stream": OpenAPIMediaType(schema=Schema(description="With `stream: true`")),
        }
        self.responses = {"200": OpenAPIResponse("The pictures", content=done)}
        for status, description in _ERRORS.items():
            content = {"application/json": OpenAPIMediaType(schema=_ERROR)}
            self.responses[status] = OpenAPIResponse(description, content=content)

    def _bodies(self, schema: dict[str, Any]) -> dict[str, OpenAPIMediaType]:
        return {"application/json": OpenAPIMediaType(schema=RawSchema(schema))}


@dataclass
class EditOperation(GenerationOperation):
    """The same, with a picture at least, also as a form."""

    def _bodies(self, schema: dict[str, Any]) -> dict[str, OpenAPIMediaType]:
        return {
            "application/json": OpenAPIMediaType(schema=RawSchema({**schema, "required": self._required("images")})),
            "multipart/form-data": OpenAPIMediaType(
                schema=RawSchema(
                    {
                        **schema,
                        "properties": {**schema["properties"], "image": _FILES, "mask": _FILE},
                        "required": self._required("image"),
                    }
                )
            ),
        }

    def _required(self, picture: str) -> list[str]:
        return [picture, "prompt"]


@dataclass
class VariationOperation(EditOperation):
    """The same, without the need of a text."""

    def _required(self, picture: str) -> list[str]:
        return [picture]
