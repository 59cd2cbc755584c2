"""Keeps pictures for a while, and makes and checks the links to them."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from imagerouter.config import Results
from imagerouter.errors import ConfigError, NotFoundError
from imagerouter.logs import get_logger
from imagerouter.storage.bucket import SCHEMES, Bucket
from imagerouter.storage.folder import Folder, automatic
from imagerouter.storage.links import LinkExpiredError, StoredFile, extension_of, link, verified
from imagerouter.storage.store import StorageError, Store
from imagerouter.types import Image

log = get_logger(__name__)

STORE_SECONDS = 30.0
"""For the place to store or read one picture."""
SWEEP_SECONDS = 300.0
"""Between two sweeps."""
SECRET = "secret"  # noqa: S105 - the name of its file
SHORTEST_SECRET = 16


class Storage:
    """Pictures in a `Store`. Several servers may share one: they share the secret beside the files, too."""

    def __init__(
        self, store: Store, *, ttl: float, secret: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        """:param ttl: seconds that links hold.
        :param secret: signs the links; by default a random one, made once and kept in the store.
        :param clock: Unix time in seconds.
        """
        self._store = store
        self._ttl = ttl
        self._secret = secret.encode() if secret else None
        self._clock = clock

    @classmethod
    def open(cls, results: Results) -> Storage:
        """The place is not looked at before it is used. Raises `ConfigError` if it can't be one."""
        return cls(_store(results.url), ttl=results.ttl, secret=results.secret)

    async def keep(self, image: Image) -> str:
        """The path and query of a link to the picture. Raises `StorageError`."""
        file = StoredFile(secrets.token_hex(16), extension_of(image.media_type), math.ceil(self._clock() + self._ttl))
        secret = await self._key()
        async with _failures("write"):
            await self._store.write(file.key, await asyncio.to_thread(lambda: image.data))
        return link(file, secret)

    async def find(self, name: str, expires: str, signature: str) -> StoredFile:
        """The file that a link names: ``/v1/files/{name}?expires={expires}&signature={signature}``.

        Raises `PermissionDeniedError`, `LinkExpiredError` and `StorageError`. The file may have been deleted.
        """
        file = verified(name, expires, signature, await self._key())
        if file.expires <= self._clock():
            raise LinkExpiredError("This link has expired, and its picture is deleted")
        return file

    def seconds_left(self, file: StoredFile) -> int:
        """Full seconds for which the link still holds."""
        return max(0, math.floor(file.expires - self._clock()))

    async def size(self, file: StoredFile) -> int:
        """Bytes. Raises `NotFoundError` and `StorageError`."""
        async with _failures("read"):
            return await self._store.size(file.key)

    async def read(self, file: StoredFile, start: int = 0, stop: int | None = None) -> bytes:
        """All of the picture, or the bytes from ``start`` up to ``stop``. Raises as `size` does."""
        async with _failures("read"):
            return await self._store.read(file.key, start, stop)

    async def sweep(self) -> int:
        """Delete what has expired, also what a crash has left half written; how many. Raises `StorageError`."""
        now = self._clock()
        async with _failures("sweep"):
            names = await self._store.names()
            over = [name for name in names if (file := _ours(name)) is not None and file.expires <= now]
            await self._store.delete(over)
        if over:
            log.info("storage.swept", deleted=len(over))
        return len(over)

    async def _key(self) -> bytes:
        if self._secret is None:
            async with _failures("secret"):
                secret = (await self._store.create(SECRET, secrets.token_hex(32).encode())).strip()
                if len(secret) < SHORTEST_SECRET:
                    raise OSError("the file `secret` is damaged; once it is deleted, a new one is made")
            self._secret = secret
        return self._secret


@asynccontextmanager
async def swept(current: Callable[[], Storage]) -> AsyncIterator[None]:
    """Sweeps now and every few minutes in the background.

    :param current: the storage of the moment, which a reload may replace.
    """
    task = asyncio.create_task(_sweeping(current), name="sweep of the storage")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _sweeping(current: Callable[[], Storage]) -> None:
    while True:
        with suppress(StorageError):  # which is logged
            await current().sweep()
        await asyncio.sleep(SWEEP_SECONDS)


def _ours(name: str) -> StoredFile | None:
    return StoredFile.parse(name.removesuffix(".part"))


def _store(url: str) -> Store:
    if url == "auto":
        return Folder(automatic())
    scheme, separator, _ = url.partition("://")
    if not separator:
        return Folder(Path(url).expanduser())
    if scheme not in SCHEMES:
        valid = ", ".join(f"`{known}://`" for known in SCHEMES)
        raise ConfigError([f"results.url: `{scheme}://` is unknown; valid are a folder, {valid}, and `auto`"])
    return Bucket.at(url)


@asynccontextmanager
async def _failures(action: str) -> AsyncIterator[None]:
    """What goes wrong in the place, in words for clients; the details are for the log."""
    try:
        async with asyncio.timeout(STORE_SECONDS):
            yield
    except (OSError, ValueError) as error:
        if action == "read" and isinstance(error, FileNotFoundError):
            raise NotFoundError("This picture has been deleted") from None
        log.warning("storage.failed", action=action, reason=str(error) or "no answer in time")
        raise StorageError("The storage for pictures does not work right now", retry_after=5) from None
