"""The body of a chat completion → the fields of an images request, and how the chat wants its answer.

Every parameter of ``/v1/images/generations`` counts here, too; what only texts need (``temperature``, ``tools``) is
unknown there, and so it has no effect and stands among the ``ignored``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagerouter.dialects.chat.messages import turn
from imagerouter.errors import InvalidParameterError, UnknownParameterError
from imagerouter.parameters import CANONICAL_OF
from imagerouter.suggest import shortened

MODALITIES = ("text", "image")
_UNSEEN = ("prompt", "partial_images", "stream_progress")
"""Parameters that a chat has no room for."""
_OWN = {"messages", "modalities", "stream_options", "usage", "response_format", "metadata", *_UNSEEN}
_AS_URL = {"url": True, "b64_json": False, "base64": False}


@dataclass(frozen=True, slots=True)
class Asked:
    """What a chat asks for."""

    fields: dict[str, Any]
    names: dict[str, str]
    """Canonical names → where the chat says it."""
    in_text: bool
    """Whether the pictures are to be Markdown in the message: for clients that did not say that they expect any."""
    as_url: bool
    with_usage: bool
    """Whether a stream is to tell the usage."""
    ignored: tuple[str, ...]


def read(body: Mapping[str, Any]) -> Asked:
    """What a body asks for; its fields are checked by `interpret`. Raises `InvalidRequestError`."""
    extra = body.get("extra_body")
    extra = extra if isinstance(extra, dict) else {}
    own = {name: value for each in (extra, body) for name, value in each.items() if name in _OWN and value is not None}
    rest = [{name: value for name, value in each.items() if name not in _OWN} for each in (body, extra)]
    if isinstance(own.get("metadata"), str):
        rest[0]["metadata"] = own["metadata"]  # ours; OpenAI's is an object of labels for its own pages
    this = turn(own.get("messages"))
    fields = {**rest[0], **({"extra_body": rest[1]} if extra else {}), "prompt": this.prompt}
    names = {"prompt": this.place}
    given = {CANONICAL_OF.get(name, name) for each in rest for name, value in each.items() if value is not None}
    if this.pictures and "images" not in given:
        fields["images"], places = list(this.pictures), list(this.pictures.values())
        names |= {"images": places[0], **{f"images[{index}]": place for index, place in enumerate(places)}}
    in_text = not _wants_pictures(own.get("modalities"))
    return Asked(
        fields=fields,
        names=names,
        in_text=in_text,
        as_url=_as_url(own.get("response_format"), in_text),
        with_usage=_flag(own, "stream_options", "include_usage") or _flag(own, "usage", "include"),
        ignored=_ignored(own, strict=fields.get("strict") is True),
    )


def _wants_pictures(modalities: Any) -> bool:
    if modalities is None:
        return False
    if not isinstance(modalities, list) or not modalities or any(each not in MODALITIES for each in modalities):
        raise _wrong("modalities", 'must be a list of "image" and "text"', modalities)
    return "image" in modalities


def _as_url(response_format: Any, default: bool) -> bool:
    if isinstance(response_format, str):
        if response_format not in _AS_URL:
            raise _wrong("response_format", 'must be one of "b64_json", "url"', response_format)
        return _AS_URL[response_format]
    if response_format is not None and not isinstance(response_format, dict):
        raise _wrong("response_format", 'must be one of "b64_json", "url", or an object', response_format)
    return default


def _flag(own: Mapping[str, Any], name: str, key: str) -> bool:
    options = own.get(name, {})
    value = options.get(key) if isinstance(options, dict) else options
    if not isinstance(options, dict) or not isinstance(value, bool | None):
        raise _wrong(name, f"must be an object like `{{{key}: true}}`", options)
    return value is True


def _ignored(own: Mapping[str, Any], *, strict: bool) -> tuple[str, ...]:
    wanted = own.get("response_format")
    is_about_text = isinstance(wanted, dict) and wanted.get("type") != "text"
    ignored = [name for name in _UNSEEN if own.get(name)] + ["response_format"] * is_about_text
    if strict and ignored:
        raise UnknownParameterError(
            f"`{ignored[0]}` has no effect in a chat, and the request is strict", param=ignored[0]
        )
    return tuple(ignored)


def _wrong(param: str, reason: str, value: Any) -> InvalidParameterError:
    got = f', not "{shortened(value)}"' if isinstance(value, str) else ""
    return InvalidParameterError(f"`{param}` {reason}{got}", param=param)
