"""Backends that are told byte by byte what to send."""

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LENGTH = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n"


@dataclass
class Backend:
    """A listening server, and what came in so far."""

    url: str = ""
    requests: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Head and body of each that was read with `asked`."""
    connections: int = 0
    ended: int = 0
    """Connections that the client has closed, or that ended with it."""

    async def asked(self, reader):
        """One whole request; ``None`` where the client hangs up instead."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            self.requests.append((head, await _body(head.lower(), reader)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return self.requests[-1]


async def _body(head, reader):
    if b"transfer-encoding: chunked" in head:
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body
    _, _, length = head.partition(b"content-length: ")
    return await reader.readexactly(int(length.partition(b"\r\n")[0] or b"0"))


@asynccontextmanager
async def backend(serve, *, host="127.0.0.1", tls=None):
    """Run ``serve(backend, reader, writer)`` for every connection; afterwards none may be open any more."""
    found, tasks = Backend(), set()

    async def connected(reader, writer):
        tasks.add(asyncio.current_task())
        found.connections += 1
        with contextlib.suppress(ConnectionError):
            await serve(found, reader, writer)
            await writer.drain()
            while await reader.read(2**16):
                pass
        found.ended += 1
        writer.close()

    server = await asyncio.start_server(connected, host, 0, ssl=tls)
    name = f"[{host}]" if ":" in host else host
    found.url = f"http{'s' if tls else ''}://{name}:{server.sockets[0].getsockname()[1]}/"
    try:
        yield found
        async with asyncio.timeout(5):
            await asyncio.gather(*tasks)
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def answering(*answers):
    """One answer after the other on each connection, each after a request."""

    async def serve(found, reader, writer):
        for answer in answers:
            if await found.asked(reader) is None:
                return
            writer.write(answer)
            await writer.drain()

    return serve


async def in_pieces(writer, pieces):
    """Send each so that it arrives by itself: the event loop, which both sides share, turns in between."""
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        for _ in range(4):
            await asyncio.sleep(0)
