"""What the data of each server-sent event is, as types: the OpenAPI document is made from them.

The word before the dot of a ``type`` is the route's: ``image_generation``, ``image_edit`` or ``image_variation``.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from msgspec import Meta

from imagerouter.app.answers import ErrorObject, Report, Usage

_Type = Annotated[str, Meta(pattern=r"^image_(generation|edit|variation)\.")]


class _Drawn(TypedDict):
    type: _Type
    image_index: int
    b64_json: str
    media_type: str
    created_at: Annotated[int, Meta(description="Unix time in seconds")]
    created: Annotated[int, Meta(description="The same")]
    background: str
    quality: str
    output_format: str
    size: str


class PartialImageEvent(_Drawn):
    """``….partial_image``: a preview."""

    partial_image_index: int


class CompletedEvent(_Drawn):
    """``….completed``: a finished picture."""

    seed: int
    usage: Usage
    imagerouter: Report


class ProgressEvent(TypedDict):
    """``….queued`` and ``….progress``, with ``stream_progress: true`` only."""

    type: _Type
    provider: str | None
    stage: str
    step: int
    steps: int
    image_index: int | None
    queue_position: int | None
    eta: Annotated[float | None, Meta(description="Seconds until the job is done, as far as can be told")]


class ErrorEvent(TypedDict):
    """``error``: what went wrong after the first byte. Nothing follows."""

    type: Literal["error"]
    error: ErrorObject


EVENTS = (PartialImageEvent, ProgressEvent, CompletedEvent, ErrorEvent)
