"""One socket to a backend: bytes in, bytes out, and waiting for either."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import select
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

import httpx

SCRATCH = 64 * 1024
"""Bytes that are read from a socket at a time without knowing what they are."""
_FIRST = 8 * 1024
"""Bytes that are read of an answer's beginning: its head, and no more than is cheap to move to where the body stays."""
_TLS_RECORD = 32 * 1024
"""More than the plain bytes of a TLS record that OpenSSL may have decrypted already."""
_ENOUGH = SCRATCH
"""Bytes that wait to be read before the socket is left alone: what comes then may go where it stays at once."""
_NEXT_ADDRESS = 0.25
"""Seconds until the next address of a host is tried beside the first: RFC 8305, section 8."""


class Origin(NamedTuple):
    """Where connections lead to, and under what name their certificates are checked."""

    host: str
    port: int
    name: str | None
    """``None`` without TLS."""


class Connection(asyncio.BufferedProtocol):
    """What arrives is kept in ``received``, or goes straight to where `aim` was told to put it.

    One task at a time waits on it. How long that may take (``patience``, in seconds) counts anew from every byte that
    moves.
    """

    _transport: asyncio.Transport

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.received = bytearray()
        self.ended = False
        """Nothing comes any more, and nothing can be sent."""
        self.on_arrival: Callable[[], None] | None = None
        """Told that there is more in ``received``; it may say by `aim` where the rest goes before that is read."""
        self.error: Exception | None = None
        """Why, where it wasn't the backend's decision."""
        self.expires = 0.0
        """By the loop's clock: when not to be used again."""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._loop = self.closed.get_loop()
        self._scratch = memoryview(bytearray(SCRATCH))
        self._arrivals = 0
        self._target: memoryview | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._late = False
        self._moved = 0.0
        self._unsent = 0
        self._full = False
        self._paused = False
        self._poll: select.poll | None = None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # by what it can do: uvloop's isn't derived from it

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._target is not None:
            return self._target
        if self.on_arrival is not None and self.origin.name is None:
            return self._scratch[:_FIRST]
        # What asyncio's TLS has in store when the backend hangs up is lost unless it fits.
        if sizehint + _TLS_RECORD > len(self._scratch):
            self._scratch = memoryview(bytearray(sizehint + _TLS_RECORD))
        return self._scratch

    def buffer_updated(self, nbytes: int) -> None:
        self._moved = self._loop.time()
        if self._target is None:
            self.received += self._scratch[:nbytes]
            self._arrivals += 1
            if self.on_arrival is not None:
                self.on_arrival()
            if (self._target is not None or len(self.received) >= _ENOUGH) and not self._paused:
                self._paused = True
                self._transport.pause_reading()
        elif nbytes < len(self._target):
            self._target = self._target[nbytes:]
            return
        else:
            self._target = None
        self._wake()

    def eof_received(self) -> None:
        self.ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended = True
        self.error = exc
        if not self.closed.done():
            self.closed.set_result(None)
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    # What a request needs.

    async def secure(self, tls: ssl.SSLContext, name: str) -> None:
        """Go on with TLS. Done by itself because asyncio, cancelled while it connects with TLS, may go on alone."""
        plain = self._transport
        try:
            secured = await self._loop.start_tls(plain, self, tls, server_hostname=name)
        except BaseException:
            plain.abort()
            raise
        self._transport = cast(asyncio.Transport, secured)

    @property
    def is_full(self) -> bool:
        """Whether what was written last still waits for the backend to take it."""
        return self._full and not self.ended

    def write(self, *pieces: bytes) -> None:
        self._transport.writelines(pieces)

    async def more(self, patience: float | None) -> bool:
        """Wait for something to arrive; whether it did, and not the end of the connection.

        :param patience: seconds in which nothing moves.
        """
        known = self._arrivals
        self._resume()
        while self._arrivals == known and not self.ended:
            await self._wait(patience, httpx.ReadTimeout)
        return self._arrivals > known

    async def room(self, patience: float | None) -> None:
        """Wait until something was taken, or something else happened."""
        await self._wait(patience, httpx.WriteTimeout)

    def take(self, count: int) -> bytes:
        """Up to so many bytes of those that have arrived."""
        if count >= len(self.received):
            piece = bytes(self.received)
            self.received.clear()
            return piece
        with memoryview(self.received) as view, view[:count] as wanted:
            piece = wanted.tobytes()
        del self.received[:count]
        return piece

    def aim(self, target: memoryview) -> None:
        """Put what has arrived there; what is missing is received without a detour, once somebody waits for it."""
        known = self.take(len(target))
        target[: len(known)] = known
        self._target = target[len(known) :] or None

    async def filled(self, patience: float | None) -> bool:
        """Wait until the target is full; ``False`` if the backend hung up before that.

        What is there by now is read at once. The loop would read from all connections before any task goes on, and a
        picture be out of the processor's cache when it is looked at and sent.
        """
        try:
            self._pull()
            self._resume()
            while self._target is not None and not self.ended:
                await self._wait(patience, httpx.ReadTimeout)
            return self._target is None
        finally:
            self._target = None

    def _pull(self) -> None:
        """Read what the kernel has for the target. Of errors, and of the end, the loop tells afterwards."""
        if self.origin.name is not None or self._transport.is_closing() or not hasattr(os, "readv"):
            return
        with suppress(OSError):
            while self._target is not None and (count := os.readv(self._socket, [self._target])):
                self._target = self._target[count:] or None

    def abort(self) -> None:
        """Close at once: nothing more arrives or is sent."""
        self.ended = True
        self._target = None
        self._transport.abort()

    def expire_after(self, seconds: float) -> float:
        """Not to be used again later than that; the time by the loop's clock."""
        now = self._loop.time()
        self.expires = now + seconds
        return now

    def is_stale(self) -> bool:
        """Whether it can't take another request: it is old, or closed, or something came unasked.

        The kernel is asked as well, because what it knows may not have reached us yet.
        """
        if self.ended or self.received or self._loop.time() >= self.expires:
            return True
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self._socket, select.POLLIN)
        return bool(self._poll.poll(0))

    @property
    def _socket(self) -> int:
        """What the kernel knows it by."""
        return int(self._transport.get_extra_info("socket").fileno())

    def _resume(self) -> None:
        if self._paused and not self.ended:
            self._paused = False
            self._transport.resume_reading()

    async def _wait(self, patience: float | None, late: type[httpx.TimeoutException]) -> None:
        self._waiter = self._loop.create_future()
        if patience is not None:
            self._moved = self._loop.time()
            self._timer = self._loop.call_at(self._moved + patience, self._expire, patience)
        try:
            await self._waiter
        finally:
            self._waiter = None
            if self._timer is not None:
                self._timer.cancel()
        if self._late:
            raise late("nothing moved for too long")

    def _expire(self, patience: float) -> None:
        unsent = self._transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._moved = unsent, self._loop.time()
        due = self._moved + patience
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._expire, patience)
        else:
            self._late = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


async def connect(origin: Origin, tls: ssl.SSLContext, patience: float | None) -> Connection:
    """A new connection.

    :param patience: seconds until it can take a request, TLS included.
    :raises httpx.ConnectError: there is nobody, or not who it should be.
    :raises httpx.ConnectTimeout: nobody says anything.
    """
    try:
        async with asyncio.timeout(patience):
            connection = await _connected(origin)
            if origin.name is not None:
                await connection.secure(tls, origin.name)
            return connection
    except TimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except (OSError, UnicodeError, OverflowError) as error:
        raise httpx.ConnectError(str(error)) from error


async def _connected(origin: Origin) -> Connection:
    loop = asyncio.get_running_loop()
    # Only where there is more than one to try: asyncio, cancelled at the wrong moment of that, forgets a socket until
    # garbage is collected. uvloop doesn't know how to.
    several = isinstance(loop, asyncio.BaseEventLoop) and _is_name(origin.host)
    options: dict[str, Any] = {"happy_eyeballs_delay": _NEXT_ADDRESS} if several else {}
    _, connection = await loop.create_connection(lambda: Connection(origin), origin.host, origin.port, **options)
    return connection


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False
