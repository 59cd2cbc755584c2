"""API keys: who sends a request, and what of it rules and shares may depend on.

Without ``keys`` in the configuration anybody may do everything but what takes ``server.admin_key``.
"""

from __future__ import annotations

import hmac
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


def identify(config: Config, headers: Mapping[str, str]) -> Origin:
    """Who sends a request with these headers, by lower-case name.

    Raises `AuthenticationError` if a key is needed and none, or an unknown one, was sent.
    """
    harmless = {name: value for name, value in headers.items() if name not in CREDENTIALS}
    if not config.keys:
        return Origin(headers=harmless)
    name = _owner(config, headers)
    if name is None:
        raise _unknown(headers)
    # The admin's requests are nobody's favourites: only reloading needs that key.
    priority = config.keys[name].priority if name in config.keys else 0
    return Origin(key=name, headers=harmless, priority=priority)


def require_admin(config: Config, headers: Mapping[str, str]) -> None:
    """Raise `AuthenticationError` or `PermissionDeniedError` unless ``server.admin_key`` was sent."""
    if config.server.admin_key is None:
        raise PermissionDeniedError(
            "This needs an admin key, and the server has none: set `server.admin_key` in its configuration"
        )
    name = _owner(config, headers)
    if name is None:
        raise _unknown(headers)
    if name != ADMIN:
        raise PermissionDeniedError(f"This needs the admin key (`server.admin_key`), not the API key {quote(name)}")


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


def _owner(config: Config, headers: Mapping[str, str]) -> str | None:
    """Name of the key that was sent. Takes equally long whichever it is, and if it is none of them."""
    sent = [_hashed(secret) for secret in _sent(headers)]
    known = [(name, key.secret) for name, key in config.keys.items()]
    if config.server.admin_key is not None:
        known.append((ADMIN, config.server.admin_key))
    hashed = [(name, _hashed(secret)) for name, secret in known]
    matches = [name for one in sent for name, secret in hashed if hmac.compare_digest(secret, one)]
    return matches[0] if matches else None


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


def _unknown(headers: Mapping[str, str]) -> AuthenticationError:
    if not _sent(headers):
        return AuthenticationError(f"No API key provided. Send one as {SENT_AS}")
    return AuthenticationError("Incorrect API key provided. Ask whoever runs this server for a key of yours")
