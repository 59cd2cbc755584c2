"""What a place for files has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

from imagerouter.errors import ImageRouterError


class StorageError(ImageRouterError):
    """Pictures can't be stored or read right now: the disk is full, the bucket can't be reached."""

    status = 503
    code: ClassVar[str | None] = "storage_unavailable"


class Store(Protocol):
    """Small files by name, in one flat folder or bucket that may hold other things, too.

    Every method raises `OSError` when the place fails, and `FileNotFoundError` for a file that isn't there.
    """

    async def write(self, name: str, data: bytes) -> None:
        """All of it or nothing: nobody ever reads half a file."""

    async def create(self, name: str, data: bytes) -> bytes:
        """What the file holds: ``data``, or what was there already."""

    async def size(self, name: str) -> int:
        """In bytes."""

    async def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """As slicing all of the file would give it; ``start`` is within the file."""

    async def names(self) -> list[str]:
        """Of all that is there, also of what isn't ours."""

    async def delete(self, names: Sequence[str]) -> None:
        """Files that are gone already are no error."""
