"""A bucket of S3, or of what speaks its language, of Google Cloud Storage or Azure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from imagerouter.errors import ConfigError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

SCHEMES = ("s3", "gs", "az")

# A picture waits for its bucket no longer than somebody would wait for the picture.
_CLIENT: ClientConfig = {
    "connect_timeout": timedelta(seconds=5),
    "timeout": timedelta(seconds=30),
    "allow_http": True,  # only an endpoint that is given as http:// is spoken to without TLS
}
_RETRY: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}


class Bucket:
    """A `Store`. Credentials and endpoint come from the environment, as each cloud's own tools read them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    @classmethod
    def at(cls, url: str) -> Bucket:
        """``scheme://bucket/prefix``, which is not looked at yet. Raises `ConfigError`."""
        try:
            from obstore.exceptions import BaseError
            from obstore.store import from_url
        except ImportError:
            raise ConfigError(["results.url: a bucket needs `pip install 'imagerouter[s3]'`"]) from None
        try:
            return cls(from_url(url, client_options=_CLIENT, retry_config=_RETRY))
        except (BaseError, ValueError) as error:
            raise ConfigError([f"results.url: {_plain(error)}"]) from None

    async def write(self, name: str, data: bytes) -> None:
        import obstore

        with _os_errors():
            # In one piece: what is left of an upload in parts when the process dies would never be deleted.
            await obstore.put_async(self._store, name, data, use_multipart=False)

    async def create(self, name: str, data: bytes) -> bytes:
        import obstore
        from obstore.exceptions import AlreadyExistsError

        try:
            return await self.read(name)
        except FileNotFoundError:
            pass
        with _os_errors():
            try:
                await obstore.put_async(self._store, name, data, mode="create", use_multipart=False)
            except AlreadyExistsError:
                return await self.read(name)
        return data

    async def size(self, name: str) -> int:
        import obstore

        with _os_errors():
            return (await obstore.head_async(self._store, name))["size"]

    async def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        import obstore

        with _os_errors():
            if stop is None and not start:
                return bytes(await (await obstore.get_async(self._store, name)).bytes_async())
            end = await self.size(name) if stop is None else stop
            return bytes(await obstore.get_range_async(self._store, name, start=start, end=end))

    async def names(self) -> list[str]:
        import obstore

        with _os_errors():
            return [meta["path"] async for page in obstore.list(self._store, chunk_size=1000) for meta in page]

    async def delete(self, names: Sequence[str]) -> None:
        import obstore

        with _os_errors():
            if names:
                await obstore.delete_async(self._store, names)


@contextmanager
def _os_errors() -> Iterator[None]:
    from obstore.exceptions import BaseError, NotFoundError

    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise FileNotFoundError(_plain(error)) from None
    except (BaseError, NotImplementedError) as error:
        raise OSError(_plain(error)) from None


def _plain(error: Exception) -> str:
    """On one line, and without the dump of obstore's own structures."""
    return " ".join(str(error).partition("\n\nDebug source")[0].split())[:500]
