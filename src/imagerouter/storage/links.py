"""Names of stored files, and links to them that can't be guessed, changed or used too late."""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from imagerouter.errors import InvalidRequestError, PermissionDeniedError

_MEDIA_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
    "bin": "application/octet-stream",
}
"""Nothing that a browser would run: SVG is only ever handed out as bytes."""
_EXTENSIONS = {media_type: extension for extension, media_type in _MEDIA_TYPES.items()}
_KEY = re.compile(rf"([0-9]{{1,15}})-([0-9a-f]{{32}})\.({'|'.join(_MEDIA_TYPES)})", re.ASCII)

_LINK = re.compile(
    r"/files/(?P<name>[0-9a-f]{32}\.[a-z]{3,4})\?expires=(?P<expires>[0-9]{1,15})&signature=(?P<signature>[\w-]{43})\Z",
    re.ASCII,
)


class LinkExpiredError(InvalidRequestError):
    """The link was right, and its time is over."""

    status = 410
    code: ClassVar[str | None] = "link_expired"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One picture. When it may be deleted can be told from its key alone, whatever the clocks of the place say."""

    id: str
    """128 random bits in hexadecimal."""
    extension: str
    expires: int
    """Unix time in seconds."""

    @classmethod
    def parse(cls, key: str) -> Self | None:
        """The file of this key, or ``None`` if the key is none of ours."""
        match = _KEY.fullmatch(key)
        return cls(match[2], match[3], int(match[1])) if match else None

    @property
    def name(self) -> str:
        """What links and browsers call it."""
        return f"{self.id}.{self.extension}"

    @property
    def key(self) -> str:
        """What the place calls it."""
        return f"{self.expires}-{self.name}"

    @property
    def media_type(self) -> str:
        return _MEDIA_TYPES[self.extension]


def extension_of(media_type: str) -> str:
    return _EXTENSIONS.get(media_type, "bin")


def link(file: StoredFile, secret: bytes) -> str:
    """The path and query."""
    return f"/v1/files/{file.name}?expires={file.expires}&signature={_signature(file.key, secret)}"


def parts(address: str) -> tuple[str, str, str] | None:
    """Name, expiry and signature, if the address has the shape of a link; where it leads to doesn't matter."""
    match = _LINK.search(address)
    return None if match is None else (match["name"], match["expires"], match["signature"])


def verified(name: str, expires: str, signature: str, secret: bytes) -> StoredFile:
    """The file that a link names, expired or not; the parts are what anybody may have sent.

    Raises `PermissionDeniedError`, whatever is wrong: who made a link up learns nothing from the answer.
    """
    key = f"{expires}-{name}"
    right = hmac.compare_digest(_signature(key, secret).encode(), signature.encode(errors="replace"))
    file = StoredFile.parse(key)
    if not right or file is None:
        raise PermissionDeniedError("This link was not made here, or it was changed: its signature is wrong")
    return file


def _signature(key: str, secret: bytes) -> str:
    digest = hmac.digest(secret, key.encode(errors="replace"), sha256)
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
