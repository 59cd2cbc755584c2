"""A folder on this machine."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from imagerouter.folders import user_folder


def automatic() -> Path:
    """In the user's cache folder."""
    return user_folder("cache") / "files"


class Folder:
    """A `Store`. The folder is made when the first file is written; only this user can read what is in it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, name: str, data: bytes) -> None:
        await asyncio.to_thread(self._write, name, data)

    async def create(self, name: str, data: bytes) -> bytes:
        return await asyncio.to_thread(self._create, name, data)

    async def size(self, name: str) -> int:
        return (await asyncio.to_thread((self._path / name).stat)).st_size

    async def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        return await asyncio.to_thread(self._read, name, start, stop)

    async def names(self) -> list[str]:
        try:
            return await asyncio.to_thread(os.listdir, self._path)
        except FileNotFoundError:
            return []

    async def delete(self, names: Sequence[str]) -> None:
        await asyncio.to_thread(self._delete, names)

    def _write(self, name: str, data: bytes) -> None:
        part = self._part(f"{name}.part", data)
        try:
            part.replace(self._path / name)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _create(self, name: str, data: bytes) -> bytes:
        path = self._path / name
        if not path.exists():
            part = self._part(f"{name}.{secrets.token_hex(8)}.part", data)
            try:
                os.link(part, path)  # which, unlike a rename, never replaces what another process has just made
            except FileExistsError:
                pass
            except OSError:  # FAT has no links
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path.read_bytes()

    def _part(self, name: str, data: bytes) -> Path:
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._path / name
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(data)
        except OSError:
            path.unlink(missing_ok=True)
            raise
        return path

    def _read(self, name: str, start: int, stop: int | None) -> bytes:
        with (self._path / name).open("rb") as file:
            file.seek(start)
            return file.read(-1 if stop is None else max(0, stop - start))

    def _delete(self, names: Sequence[str]) -> None:
        failures = list[OSError]()
        for name in names:
            try:
                (self._path / name).unlink(missing_ok=True)
            except OSError as error:  # somebody else's file must not keep ours from being deleted
                failures.append(error)
        if failures:
            raise failures[0]
