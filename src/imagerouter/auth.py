"""API keys: who sends a request, and what of it rules and shares may depend on.

Without ``keys`` in the configuration anybody may do everything but what takes ``server.admin_key``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping
from hashlib import sha256

from imagerouter.config import Config
from imagerouter.config.positions import Document, Path
from imagerouter.errors import AuthenticationError, PermissionDeniedError
from imagerouter.jobs import Origin
from imagerouter.wording import quote

ADMIN = "admin"
"""The name under which requests with ``server.admin_key`` count."""
CREDENTIALS = frozenset({"authorization", "cookie", "proxy-authorization", "x-api-key"})
"""Headers that nothing behind this room gets to see."""
SENT_AS = "`authorization: Bearer KEY`, `x-api-key: KEY` or, with HTTP Basic, as the password"

_SENDABLE = re.compile(r"[!-~]+")


class Keyring:
    """The keys of one configuration, each of them hashed once."""

    def __init__(self, config: Config) -> None:
        owners = {key.secret: Origin(key=name, priority=key.priority) for name, key in config.keys.items()}
        admin = config.server.admin_key
        self._has_admin = admin is not None
        if admin is not None:
            # The admin's requests are nobody's favourites: only reloading needs that key.
            owners.setdefault(admin, Origin(key=ADMIN))
        self._is_open = not config.keys
        self._owners = {_hashed(secret): origin for secret, origin in owners.items()}

    def origin(self, headers: Mapping[str, str]) -> Origin:
        """Who sends a request with these headers, by lower-case name.

        Raises `AuthenticationError` if a key is needed and none, or an unknown one, was sent.
        """
        harmless = {name: value for name, value in headers.items() if name not in CREDENTIALS}
        if self._is_open:
            return Origin(headers=harmless)
        owner = self._owner(headers)
        return Origin(key=owner.key, headers=harmless, priority=owner.priority)

    def require_admin(self, headers: Mapping[str, str]) -> None:
        """Raise `AuthenticationError` or `PermissionDeniedError` unless ``server.admin_key`` was sent."""
        if not self._has_admin:
            raise PermissionDeniedError(
                "This needs an admin key, and the server has none: set `server.admin_key` in its configuration"
            )
        name = self._owner(headers).key
        if name != ADMIN:
            raise PermissionDeniedError(f"This needs the admin key (`server.admin_key`), not the API key {quote(name)}")

    def _owner(self, headers: Mapping[str, str]) -> Origin:
        """Whose key was sent. How long it takes tells something of hashes at most, and of no secret."""
        sent = _sent(headers)
        for secret in sent:
            if (owner := self._owners.get(_hashed(secret))) is not None:
                return owner
        if not sent:
            raise AuthenticationError(f"No API key provided. Send one as {SENT_AS}")
        raise AuthenticationError("Incorrect API key provided. Ask whoever runs this server for a key of yours")


def check_keys(document: Document, config: Config) -> None:
    """Report secrets that can't be sent in a header or belong to two keys, and names that mean something else."""
    owners: dict[str, str] = {}
    for path, name, secret in _secrets(config):
        if not _SENDABLE.fullmatch(secret):
            document.report(path, "must be printable ASCII without spaces: it is sent in a header")
        other = owners.setdefault(secret, name)
        if other != name:
            document.report(path, f"is the same as {other}; each needs its own")
    for name in config.keys:
        if not name.strip() or not name.isprintable():
            document.report(("keys", name), "a key's name can't be empty or hold control characters", at_key=True)
        elif name == ADMIN:
            document.report(("keys", name), f"{quote(ADMIN)} is how `server.admin_key` is called", at_key=True)


def _secrets(config: Config) -> Iterator[tuple[Path, str, str]]:
    """Every secret with its place in the file and a name for messages."""
    for name, key in config.keys.items():
        yield ("keys", name, "secret"), f"the secret of the key {quote(name)}", key.secret
    if config.server.admin_key is not None:
        yield ("server", "admin_key"), "`server.admin_key`", config.server.admin_key


def _hashed(secret: str) -> bytes:
    return sha256(secret.encode()).digest()


def _sent(headers: Mapping[str, str]) -> list[str]:
    """What may be the key, by preference; more than one only with HTTP Basic."""
    scheme, _, credentials = headers.get("authorization", "").strip().partition(" ")
    bearer = credentials.strip() if scheme.lower() == "bearer" else ""
    if bearer:
        return [bearer]
    basic = _basic(credentials) if scheme.lower() == "basic" else []
    return [secret for secret in (headers.get("x-api-key", "").strip(), *basic) if secret]


def _basic(credentials: str) -> list[str]:
    """Password and user of HTTP Basic: clients that know nothing else put a key into either.

    What can't be read may be for a proxy in front of us, as every other scheme is. A name beside the key may be in
    any encoding: Python's ``requests`` sends Latin-1, browsers UTF-8.
    """
    try:
        user, _, password = b64decode(credentials.strip(), validate=True).decode(errors="replace").partition(":")
    except ValueError:
        return []
    return [password.strip(), user.strip()]
