"""Stored pictures as inputs: a link that an answer gave is good for the next request, too."""

from __future__ import annotations

from imagerouter.errors import InvalidParameterError, NotFoundError, PermissionDeniedError
from imagerouter.storage import LinkExpiredError, Storage
from imagerouter.storage.links import parts
from imagerouter.types import Image


async def find_stored(storage: Storage, address: str, param: str) -> Image | None:
    """The picture behind a link, or ``None`` if this server hasn't signed it.

    Whether it is ours the signature tells, not the host: the same server may go by many names.

    Raises `InvalidParameterError` for a picture that is gone, and `StorageError`.
    """
    link = parts(address)
    if link is None:
        return None
    try:
        return Image(data=await storage.read(await storage.find(*link)))
    except PermissionDeniedError:
        return None
    except (LinkExpiredError, NotFoundError):
        reason = "is a link that has expired, and its picture is deleted; send the picture as base64 or data URL"
        raise InvalidParameterError(f"`{param}` {reason}", param=param) from None
