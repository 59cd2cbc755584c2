"""What providers have in common whose backend is a server of its own: its address, and the way in."""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator

from imagerouter.provider import ProviderConfig

PASSED = "x-imagerouter-passed"
"""The header that names the imagerouters which a request has passed."""
passed: ContextVar[str] = ContextVar("passed", default="")
"""Its value for the request that is being drawn, to be sent to a backend that may be an imagerouter, too."""

BaseUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+\S*$")]
"""The type of an adapter's own ``base_url``, whose default and description differ from one to the next."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD = re.compile(r"[!-~]([\t -~]*[!-~])?")
"""RFC 9110, section 5: what the name and the value of a header may consist of."""


def _as_header_name(name: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ValueError("a header's name is letters, digits and hyphens")
    return name


def _as_header_value(value: SecretStr) -> SecretStr:
    if not _FIELD.fullmatch(value.get_secret_value()):
        raise ValueError("a header's value is one line of printable ASCII, without spaces around it")
    return value


def _as_nothing(value: Any) -> Any:
    """``${env.TOKEN:-}`` is empty where there is no token."""
    return None if value == "" else value


HeaderName = Annotated[str, AfterValidator(_as_header_name)]
HeaderValue = Annotated[SecretStr, AfterValidator(_as_header_value)]


class RemoteConfig(ProviderConfig):
    """Keys of every provider that talks to a server; an adapter adds its ``base_url``, see `BaseUrl`."""

    token: Annotated[HeaderValue | None, BeforeValidator(_as_nothing)] = Field(
        default=None, description="Sent as `authorization: Bearer …`."
    )
    username: str | None = Field(default=None, description="For basic authentication, with `password`.")
    password: SecretStr | None = Field(default=None, description="For basic authentication, with `username`.")
    headers: dict[HeaderName, HeaderValue] = Field(default={}, description="Further headers for every request.")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` need each other")
        if self.token is not None and self.username is not None:
            raise ValueError("`token` and `username` exclude each other")
        if ":" in (self.username or ""):
            raise ValueError("`username` can't hold a `:`, which ends it")  # RFC 7617, section 2
        return self


def headers_of(config: RemoteConfig) -> dict[str, str]:
    """What every request, and a websocket's handshake, carries, credentials included."""
    # In small letters, as all that may replace each other: two of one name would both be sent.
    headers = {name.lower(): value.get_secret_value() for name, value in config.headers.items()}
    if config.token is not None:
        headers["authorization"] = f"Bearer {config.token.get_secret_value()}"
    if config.username is not None and config.password is not None:
        pair = f"{config.username}:{config.password.get_secret_value()}".encode()
        headers["authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return headers


async def local_servers(
    kind: str, usual: Sequence[str], variable: str, is_one: Callable[[str], Awaitable[bool]]
) -> dict[str, dict[str, Any]]:
    """What `Provider.discover` is to find: provider name → YAML keys of each server on this machine.

    :param usual: ports, unless the environment's ``variable`` names one.
    :param is_one: whether a server of this kind is behind an address; mustn't raise.
    """
    ports = [port] if (port := os.environ.get(variable)) else usual
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    found = await asyncio.gather(*(is_one(url) for url in urls))
    here = [url for url, is_here in zip(urls, found, strict=True) if is_here]
    return {kind if i == 0 else f"{kind}-{i + 1}": {"base_url": url} for i, url in enumerate(here)}
