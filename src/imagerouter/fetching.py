"""Input pictures that are given by address: fetched only from allowed hosts, and never from behind our own walls.

A server that fetches what strangers name is a way into its network (server-side request forgery). So a host must be
allowed by name, each of its addresses must be a public one, and the connection goes to an address that was checked
rather than to a name that could mean another the next time.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from weakref import WeakKeyDictionary

import httpx

from imagerouter.config import Inputs
from imagerouter.errors import InvalidParameterError
from imagerouter.http import make_client
from imagerouter.logs import get_logger
from imagerouter.routing.patterns import is_like
from imagerouter.sources import KINDS, is_picture
from imagerouter.types import Image

log = get_logger(__name__)

AT_ONCE = 16
"""Pictures that this process fetches at the same time."""
_HOPS = 4
"""Addresses that are asked for one picture: the first, and where it redirects to."""
_UNICAST = IPv6Network("2000::/3")
"""RFC 4291, section 2.4: all that is handed out for the public so far."""
_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052, section 2.1."""
_HEAD = 16
"""Bytes that tell a picture from anything else."""
_PORTS = {"http": 80, "https": 443}

Address = IPv4Address | IPv6Address


Find = Callable[[str, str], Awaitable[Image | None]]
"""``(address, parameter)`` → the picture, where it is at hand. Raises `InvalidParameterError`."""


async def fetch_all(urls: Mapping[str, str], settings: Inputs, find: Find | None = None) -> dict[str, Image]:
    """The pictures at the addresses, each fetched once.

    :param urls: parameter → address; an address may repeat.
    :param find: is asked before anything is fetched.
    :returns: address → picture; that it is one, its first bytes say and no more.
    :raises InvalidParameterError: naming the parameter, and nothing about the network.
    """
    here = await _at_hand(urls, find) if find else {}
    return here | await _fetched({param: url for param, url in urls.items() if url not in here}, settings)


async def _at_hand(urls: Mapping[str, str], find: Find) -> dict[str, Image]:
    found: dict[str, Image] = {}
    for param, url in urls.items():
        if url not in found and (image := await find(url, param)) is not None:
            found[url] = image
    return found


async def _fetched(urls: Mapping[str, str], settings: Inputs) -> dict[str, Image]:
    params: dict[str, str] = {}
    for param, url in urls.items():
        params.setdefault(url, param)
        _checked(url, param, settings)  # all of them, before the first one is fetched
    allowance = _Allowance(settings.max_bytes)
    errands = [_Errand(url, param, settings, allowance) for url, param in params.items()]
    tasks = [asyncio.create_task(errand.run()) for errand in errands]
    try:
        return dict(zip(params, await asyncio.gather(*tasks), strict=True))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def is_allowed(address: Address, *, private: bool) -> bool:
    """Whether a picture may be fetched from there.

    :param private: also from networks and machines of one's own. What hands out credentials to virtual machines
        (169.254.169.254), and whatever else is link-local or no single machine's, stays out of reach.
    """
    inner = _embedded(address)
    if inner is not None:
        return is_allowed(inner, private=private)
    if address.is_multicast or address.is_link_local or address.is_unspecified:
        return False
    if private:
        return address.is_loopback or not address.is_reserved
    return address.is_global and (address in _UNICAST if isinstance(address, IPv6Address) else not address.is_reserved)


def _embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 one end up at."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


@dataclass(slots=True)
class _Allowance:
    """What the pictures of one request may have together."""

    limit: int
    used: int = 0

    def use(self, count: int, param: str) -> None:
        self.used += count
        if self.used > self.limit:
            raise _wrong(param, f"goes beyond the {self.limit} bytes that are fetched (`inputs.max_bytes`)")


def _wrong(param: str, reason: str) -> InvalidParameterError:
    return InvalidParameterError(f"`{param}` {reason}", param=param)


def _checked(address: str, param: str, settings: Inputs) -> httpx.URL:
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:
        raise _wrong(param, "is not a valid address") from None
    if url.scheme not in _PORTS or not url.raw_host or not 0 < _port(url) < 65536:
        raise _wrong(param, "must be an `http://` or `https://` address")
    if url.userinfo:
        raise _wrong(param, "must be an address without a user name or password")
    if not any(is_like(_place(url), pattern.lower()) for pattern in settings.allow_hosts):
        reason = "leads to a host that pictures are not fetched from (`inputs.allow_hosts`); send base64 or a data URL"
        raise _wrong(param, reason)
    return url


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii").lower().rstrip(".")


def _port(url: httpx.URL) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port


def _place(url: httpx.URL) -> str:
    """What a pattern has to be like: the host, with its port where that isn't the usual one."""
    host = f"[{_host(url)}]" if ":" in _host(url) else _host(url)
    return host if _port(url) == _PORTS[url.scheme] else f"{host}:{url.port}"


_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True)
class _Errand:
    """One picture on its way here."""

    url: str
    param: str
    settings: Inputs
    allowance: _Allowance

    async def run(self) -> Image:
        async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)):
            try:
                async with asyncio.timeout(self.settings.timeout):
                    return Image(data=await self._follow())
            except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
                log.warning("input.not_fetched", host=_host(httpx.URL(self.url)), reason=repr(error))
                # Refused, silent, unknown, private: whoever names a host must not learn from us which of these it is.
                reason = f"can't be fetched, or not within {self.settings.timeout:g} seconds (`inputs.timeout`)"
                raise _wrong(self.param, reason) from None

    async def _follow(self) -> bytes:
        address = self.url
        for _ in range(_HOPS):
            url = _checked(address, self.param, self.settings)
            found = await self._ask(url)
            if isinstance(found, bytes):
                return found
            address = str(url.join(found))
        raise _wrong(self.param, f"can't be fetched: it is redirected more than {_HOPS - 1} times")

    async def _ask(self, url: httpx.URL) -> bytes | str:
        """The file, or where it is said to be."""
        failure: Exception = OSError("the host has no address")
        for address in await _addresses(url, private=self.settings.allow_private):
            try:
                return await self._ask_at(address, url)
            except (httpx.ConnectError, httpx.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _ask_at(self, address: str, url: httpx.URL) -> bytes | str:
        there = url.copy_with(host=address)
        base = f"{there.scheme}://{there.netloc.decode('ascii')}"
        headers = {"host": url.netloc.decode("ascii"), "accept": "image/*"}
        async with (
            make_client(base, read_timeout=self.settings.timeout, direct=True) as client,
            client.stream("GET", there, headers=headers, extensions={"sni_hostname": _host(url)}) as response,
        ):
            if response.has_redirect_location:
                return str(response.headers["location"])
            if response.status_code != 200:
                raise _wrong(self.param, f"can't be fetched: its host answers with HTTP {response.status_code}")
            return await self._read(response)

    async def _read(self, response: httpx.Response) -> bytes:
        """The body as it is sent: what is compressed although nobody asked for that is no picture."""
        buffer = BytesIO()
        async for piece in response.aiter_raw():
            self.allowance.use(len(piece), self.param)
            buffer.write(piece)
            if buffer.tell() >= _HEAD:
                self._check_head(buffer)
        self._check_head(buffer)
        return buffer.getvalue()

    def _check_head(self, buffer: BytesIO) -> None:
        if not is_picture(bytes(buffer.getbuffer()[:_HEAD])):
            raise _wrong(self.param, f"leads to something that is not a {KINDS} picture")


async def _addresses(url: httpx.URL, *, private: bool) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(_host(url), _port(url), type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
    if not all(is_allowed(ip_address(address), private=private) for address in addresses):
        raise OSError("an address of the host is not public (inputs.allow_private)")
    return addresses
