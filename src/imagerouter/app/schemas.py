"""The named schemas of the OpenAPI document, made from the types that bodies are read into and answers held against.

What a body may hold beside the canonical is added: ``null`` for absent, other names, pictures as files of a form.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from imagerouter.app import answers
from imagerouter.app.chat_answers import CHUNKS, ChatCompletion
from imagerouter.app.events import EVENTS
from imagerouter.engine import Reloaded
from imagerouter.openai.body import GenerationBody
from imagerouter.parameters import ALIASES

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{name}"
ANSWERS = (
    answers.Error,
    answers.Liveness,
    answers.ModelList,
    answers.Pictures,
    answers.ProviderList,
    answers.Readiness,
    Reloaded,
    answers.Route,
    ChatCompletion,
    *EVENTS,
    *CHUNKS,
)
"""Those that these are made of come along."""

_NULL = {"type": "null"}
_FILE = {"type": "string", "format": "binary"}
_PICTURE = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"image_url": {"type": "string"}}, "required": ["image_url"]},
    ]
}
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP436AAAAQhAaBNvzKQAAAAAElFTkSuQmCC"
)
_FOX: Json = {"prompt": "a fox in the snow"}


def schemas() -> dict[str, Json]:
    """Every schema by its name."""
    _, sent = msgspec.json.schema_components([GenerationBody], ref_template=REFERENCE)
    _, told = msgspec.json.schema_components(ANSWERS, ref_template=REFERENCE)
    sent = {name: _with_nulls(schema) for name, schema in sent.items()}
    body = _body(sent.pop(GenerationBody.__name__))
    form = _form(body)
    bodies = {
        "GenerationBody": _requiring(body, "prompt", example={**_FOX, "size": "1024x1024", "seed": 7}),
        "EditBody": _requiring(body, "prompt", "images", example={**_FOX, "images": [_PIXEL], "strength": 0.6}),
        "GenerationForm": _requiring(form, "prompt"),
        "EditForm": _requiring(form, "prompt", "image"),
        "VariationBody": _requiring(body, "images", example={"images": [_PIXEL], "n": 2}),
        "VariationForm": _requiring(form, "image"),
        "RouteBody": _requiring(body, example={"size": "1024x1024", "steps": 20}),
        "RouteForm": _requiring(form),
        "ChatBody": _chat(body),
    }
    described: dict[str, Json] = _in_markdown({**told, **sent, **bodies})
    return described


def event() -> Json:
    """One event of a stream: the ``schema`` of ``text/event-stream`` is that of each item."""
    return _event(EVENTS, {"event": {"type": "string", "description": "the `type` of its data"}})


def chunk() -> Json:
    """One event of a chat's stream."""
    last = {"type": "object", "properties": {"data": {"const": "[DONE]"}}, "required": ["data"]}
    return {"anyOf": [_event(CHUNKS, {}), last]}


def _event(shapes: Iterable[type[Any]], named: Json) -> Json:
    data = {"anyOf": [{"$ref": REFERENCE.format(name=shape.__name__)} for shape in shapes]}
    return {
        "type": "object",
        "description": "With `stream: true`: one of the server-sent events",
        "properties": {
            **named,
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
        "required": [*named, "data"],
    }


def _with_nulls(schema: Json) -> Json:
    """Absent and ``null`` mean the same."""
    needed = schema.get("required", ())
    properties = schema.get("properties", {})
    return {
        **schema,
        "properties": {name: inner if name in needed else _nullable(inner) for name, inner in properties.items()},
    }


def _nullable(schema: Json) -> Json:
    """The schema with ``null``, and with its description on top."""
    if not schema.keys() & {"anyOf", "enum", "type", "$ref"}:
        return schema  # anything, so ``null`` as well
    inner = _without_null(schema)
    if isinstance(values := inner.get("additionalProperties"), dict) and values:
        inner["additionalProperties"] = _nullable(values)
    about: Json = {key: inner.pop(key) for key in ("description", "default") if key in inner}
    return {**about, "anyOf": [inner, _NULL]}


def _without_null(schema: Json) -> Json:
    schema = {key: value for key, value in schema.items() if (key, value) != ("default", None)}
    choices = schema.get("anyOf", ())
    if _NULL not in choices:
        return schema
    others = [choice for choice in choices if choice != _NULL]
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **(others[0] if len(others) == 1 else {"anyOf": others})}


def _body(schema: Json) -> Json:
    """The body of JSON, with pictures as OpenAI's own clients send them, too."""
    properties = {**schema["properties"], "prompt": _nullable(schema["properties"]["prompt"])}
    about = {name: properties[name]["description"] for name in ("images", "mask")}
    listed = {"type": "array", "items": _PICTURE, "maxItems": 16}
    properties["images"] = _nullable({"description": about["images"], **listed})
    properties["mask"] = {"description": about["mask"], "anyOf": [*_PICTURE["anyOf"], _NULL]}
    loras = _without_null(properties["loras"])
    properties["loras"] = _nullable({**loras, "items": {"anyOf": [loras["items"], {"type": "string", "minLength": 1}]}})
    together = {"width": ["height"], "height": ["width"]}
    named = {name: _with_aliases(name, inner) for name, inner in properties.items()}
    return {"type": "object", "properties": named, "dependentRequired": together}


def _chat(body: Json) -> Json:
    """The body of a chat completion: what it draws stands in the messages."""
    texts = {"type": "object", "properties": {"type": {"const": "text"}, "text": {"type": "string"}}}
    address = {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]}
    pictures = {"type": "object", "properties": {"type": {"const": "image_url"}, "image_url": address}}
    parts = [{**part, "required": [*part["properties"]]} for part in (texts, pictures)]
    message = {
        "type": "object",
        "properties": {
            "role": {"type": "string", "description": "`user`, `assistant`, `system` …"},
            "content": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"anyOf": parts}}, _NULL]},
            "images": _nullable({"type": "array", "items": {"$ref": REFERENCE.format(name="ChatImage")}}),
        },
        "required": ["role"],
    }
    own = {
        "messages": {"type": "array", "items": message, "minItems": 1},
        "modalities": _nullable({"type": "array", "items": {"enum": ["text", "image"]}, "minItems": 1}),
        "image_config": _nullable({"type": "object", "description": "other parameters, like `aspect_ratio`"}),
        "stream_options": _nullable({"type": "object", "properties": {"include_usage": {"type": "boolean"}}}),
    }
    others = {name: inner for name, inner in body["properties"].items() if name not in ("prompt", "metadata")}
    formats = others["response_format"]
    others["response_format"] = {**formats, "anyOf": [*formats["anyOf"], {"type": "object"}]}  # what only texts need
    example = {"messages": [{"role": "user", "content": _FOX["prompt"]}], "modalities": ["image", "text"]}
    return {**body, "properties": {**own, **others}, "required": ["messages"], "examples": [example]}


def _with_aliases(name: str, schema: Json) -> Json:
    if name not in ALIASES:
        return schema
    others = "also: " + ", ".join(f"`{alias}`" for alias in ALIASES[name])
    return {**schema, "description": f"{schema['description']} ({others})" if "description" in schema else others}


def _form(body: Json) -> Json:
    """The same as a form, where pictures are files, and ``null`` is a text like any other where texts are taken."""
    properties = {name: _spelled(inner) for name, inner in body["properties"].items() if name != "images"}
    properties["image"] = {
        "description": "files; base64, data URLs and addresses are taken, too (also: `image[]`, `image[0]`, `images`)",
        "anyOf": [_FILE, {"type": "array", "items": _FILE, "minItems": 1, "maxItems": 16}],
    }
    properties["mask"] = {"description": body["properties"]["mask"]["description"], **_FILE}
    return {**body, "properties": properties}


def _spelled(schema: Json) -> Json:
    plain = _without_null(schema)
    inner = plain.get("items", plain)
    return plain if inner.get("type") == "string" or "enum" in inner else schema


def _requiring(schema: Json, *names: str, example: Json | None = None) -> Json:
    """The schema with these required, and so not ``null``."""
    properties = {**schema["properties"], **{name: _without_null(schema["properties"][name]) for name in names}}
    for name in {"images"} & {*names}:
        properties[name] = {**properties[name], "minItems": 1}
    examples = {"examples": [example]} if example else {}
    return {**schema, "properties": properties, "required": list(names), **examples}


def _in_markdown(value: Any) -> Any:
    """Descriptions are Markdown, and docstrings quote names with two backticks."""
    match value:
        case dict():
            return {key: _in_markdown(inner) for key, inner in value.items()}
        case list():
            return [_in_markdown(inner) for inner in value]
    return value.replace("``", "`") if isinstance(value, str) else value
