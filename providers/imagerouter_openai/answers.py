"""What comes back: a list of pictures, or one event of a stream."""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from imagerouter import Image, ProviderResponseError, extraction
from imagerouter.parameters import DECLARABLE

_KEY = re.compile(rb'"b64_json"\s*:\s*"')


class Report(msgspec.Struct, frozen=True):
    """How the pictures came about, which only another imagerouter tells."""

    applied: dict[str, Any] = {}
    ignored: list[str] = []
    load_ms: float = 0.0

    @property
    def used(self) -> dict[str, Any]:
        return {name: value for name, value in self.applied.items() if name in DECLARABLE}


NOTHING = Report()


class Item(msgspec.Struct, frozen=True):
    """One picture of a list, in one of its two forms."""

    b64_json: str | None = None
    url: str | None = None


class PictureList(msgspec.Struct, frozen=True):
    """The answer to a request without ``stream``."""

    data: list[Item] | None = None
    error: Any = None
    imagerouter: Report = NOTHING

    @property
    def encoded(self) -> list[str]:
        return [item.b64_json for item in self.data or () if item.b64_json is not None]


class Event(msgspec.Struct, frozen=True):
    """The data of one server-sent event."""

    type: str = ""
    b64_json: str | None = None
    url: str | None = None
    image_index: int | None = None
    partial_image_index: int = 0
    stage: str = ""
    step: int = 0
    steps: int = 0
    queue_position: int | None = None
    error: Any = None
    imagerouter: Report = NOTHING

    @property
    def encoded(self) -> list[str]:
        return [] if self.b64_json is None else [self.b64_json]


A = TypeVar("A", PictureList, Event)


def read(body: bytes, kind: type[A]) -> tuple[A, list[Image]]:
    """An answer or event, and its pictures: see `imagerouter.extraction`."""
    return extraction.read(body, kind, _KEY)


def text_of(value: Any) -> str:
    """What a server says, if it is a text."""
    return value.strip() if isinstance(value, str) else ""


def proven(image: Image, provider: str) -> Image:
    """``image``, unless its first bytes say that it is none. Raises `ProviderResponseError`."""
    if not image.media_type.startswith("image/"):
        raise ProviderResponseError(f"provider `{provider}` sent something that isn't a picture")
    return image
