"""What ``/v1/chat/completions`` answers, as types."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from imagerouter.app.answers import ErrorObject, Report, Usage

_Created = Annotated[int, Meta(description="Unix time in seconds")]
_Content = Annotated[str, Meta(description="Markdown with a link to the picture, unless `modalities` has `image`")]


class ChatAddress(TypedDict):
    """A data URL, or with ``response_format: url`` a link."""

    url: str


class ChatImage(TypedDict):
    """The picture, for clients whose ``modalities`` have ``image``."""

    type: Literal["image_url"]
    index: int
    image_url: ChatAddress


class ChatMessage(TypedDict):
    """An answer."""

    role: Literal["assistant"]
    content: _Content
    refusal: None
    images: NotRequired[list[ChatImage]]


class ChatChoice(TypedDict):
    """One of the ``n`` pictures."""

    index: int
    message: ChatMessage
    finish_reason: Literal["stop"]
    logprobs: None
    seed: int


class ChatCompletion(TypedDict):
    """The answer to a request without ``stream``."""

    id: str
    object: Literal["chat.completion"]
    created: _Created
    model: str
    system_fingerprint: None
    choices: list[ChatChoice]
    usage: Usage
    imagerouter: Report


class ChatDelta(TypedDict, total=False):
    """What a chunk adds to a message."""

    role: Literal["assistant"]
    content: _Content
    images: list[ChatImage]


class ChatChunkChoice(TypedDict):
    """What a chunk adds to one of the ``n`` pictures."""

    index: int
    delta: ChatDelta
    finish_reason: Literal["stop"] | None
    logprobs: None
    seed: NotRequired[int]


class ChatChunk(TypedDict):
    """``usage`` is in the last one; ``stream_options: {include_usage: true}`` has it there without choices."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: _Created
    model: str
    choices: list[ChatChunkChoice]
    usage: NotRequired[Usage]
    imagerouter: NotRequired[Report]


class ChatError(TypedDict):
    """What went wrong after the first byte."""

    error: ErrorObject


CHUNKS = (ChatChunk, ChatError)
