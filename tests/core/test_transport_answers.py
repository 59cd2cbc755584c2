"""What becomes of an answer, in whatever pieces it comes, and of what is none."""

import asyncio
import socket
import struct
import tracemalloc

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.core.backends import LENGTH, answering, backend, in_pieces

from imagerouter.http import make_client

BODYLESS = (204, 304)


def client_of(found, **options):
    return make_client(found.url, **{"read_timeout": 5, **options})


async def got(answer, method="GET"):
    async with backend(answering(answer)) as found, client_of(found) as client:
        return await client.request(method, "picture")


# Any answer in any pieces.


@st.composite
def answers(draw):
    """Bytes of an answer, and how it ends: by itself, or with the connection."""
    status = draw(st.sampled_from([200, 200, 200, 201, 404, 500, *BODYLESS]))
    body = draw(st.binary(max_size=300)) * draw(st.sampled_from([1, 1, 1, 400]))
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    head = [
        f"HTTP/1.{draw(st.sampled_from('10'))} {status}{draw(st.sampled_from([' OK', ' ', '', ' Naß']))}".encode(
            "latin-1"
        )
    ]
    values = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8).map(str.encode)
    head += [
        b"x-%d:%b%b" % (i, draw(st.sampled_from([b"", b" ", b"\t "])), draw(values))
        for i in range(draw(st.integers(0, 3)))
    ]
    head += draw(st.sampled_from([[], [b"connection: close"], [b"Folded: a", b"  b"]]))
    interim = draw(
        st.sampled_from([b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n"])
    )
    if framing == "length":
        head.append(b"Content-Length: %d" % len(body))
    if framing == "chunked":
        head.append(b"Transfer-Encoding: chunked")
        cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3)))
        parts = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True) if a < b]
        extension = draw(st.sampled_from([b"", b";a=b", b" "]))
        trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n"]))
        body = (
            b"".join(b"%X%b\r\n%b\r\n" % (len(part), extension, part) for part in parts) + b"0\r\n" + trailer + b"\r\n"
        )
    if status in BODYLESS:
        body = b""
    end = draw(st.sampled_from([b"\r\n", b"\r\n", b"\n"]))
    return interim + end.join(head) + end * 2 + body


@st.composite
def pieces_of_answers(draw):
    answer = draw(answers())
    cuts = sorted(draw(st.lists(st.integers(0, len(answer)), max_size=6)))
    return [answer[a:b] for a, b in zip([0, *cuts], [*cuts, len(answer)], strict=True)]


async def asked_with(transport, pieces, method, door):
    async def serve(found, reader, writer):
        await found.asked(reader)
        await in_pieces(writer, pieces)
        writer.write_eof()

    async with backend(serve) as found, client_of(found, transport=transport) as client:
        if door == "ask":
            answer = await client.ask(method, "picture")
            return answer.status_code, answer.headers.raw, answer.content
        async with client.stream(method, "picture") as response:
            pieces = [await response.aread()] if door == "whole" else [piece async for piece in response.aiter_raw()]
        return response.status_code, response.reason_phrase, response.headers.raw, b"".join(pieces)


@pytest.mark.parametrize("door", ["whole", "stream", "ask"])
@settings(max_examples=50)
@given(pieces=pieces_of_answers(), method=st.sampled_from(["GET", "POST"]))
@example(
    pieces=[bytes([byte]) for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"],
    method="GET",
)
def test_any_answer_in_any_pieces_is_read_as_httpx_reads_it(door, pieces, method):
    async def both():
        theirs = httpx.AsyncHTTPTransport(verify=False)
        expected = await asked_with(theirs, [b"".join(pieces)], method, door)
        assert await asked_with(None, pieces, method, door) == expected

    asyncio.run(both())


async def test_an_answer_to_head_has_no_body_whatever_its_length_says():
    async with backend(answering(LENGTH % 99, LENGTH % 2 + b"ok")) as found, client_of(found) as client:
        assert (await client.head("picture")).headers["content-length"] == "99"
        assert (await client.get("picture")).text == "ok"
    assert found.connections == 1


async def test_a_large_body_is_held_once():
    piece, count = bytes(range(256)) * 256, 256

    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(LENGTH % (count * len(piece)))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()

    async with backend(serve) as found, client_of(found) as client, client.stream("GET", "picture") as response:
        tracemalloc.start()
        content = await response.aread()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert content == count * piece
    assert peak < 1.1 * len(content)


async def test_large_chunks_are_put_together():
    parts = [bytes([number]) * 300_000 for number in range(4)]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    response = await got(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    assert response.content == b"".join(parts)


async def test_nobody_sends_faster_than_a_stream_is_read():
    piece, count = bytes(2**16), 1024
    sent = 0

    async def serve(found, reader, writer):
        nonlocal sent
        await found.asked(reader)
        writer.write(LENGTH % (count * len(piece)))
        for _ in range(count):
            writer.write(piece)
            await writer.drain()
            sent += 1

    async with backend(serve) as found, client_of(found) as client, client.stream("GET", "picture") as response:
        pieces = response.aiter_raw()
        seen = len(await anext(pieces))
        for _ in range(8 * count):
            await asyncio.sleep(0)
        assert sent < count
        async for each in pieces:
            seen += len(each)
    assert seen == count * len(piece)


# What is no answer.


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n a: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad name: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: x\0y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: x\ry\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1, 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\na: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2" + b";" * 200_000,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nno trailer\r\n\r\n",
    ],
    ids=lambda answer: str(answer[-24:])[2:-1],
)
async def test_what_is_no_answer_is_refused_and_the_connection_closed(answer):
    with pytest.raises(httpx.RemoteProtocolError):
        await got(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        LENGTH % 9 + b"four",
        LENGTH % 900_000 + b"four",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfour",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\nx: y\r\n",
    ],
    ids=lambda answer: str(answer[-24:])[2:-1],
)
async def test_an_answer_that_ends_too_early_is_refused(answer):
    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(answer)
        writer.write_eof()

    async with backend(serve) as found, client_of(found) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("picture")


@pytest.mark.parametrize(
    "answer", [LENGTH % 900_000 + b"four", b"HTTP/1.0 200 OK\r\n\r\nfour"], ids=["length", "until closed"]
)
async def test_a_reset_connection_is_not_the_end_of_a_body(answer):
    heard = asyncio.Event()

    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(answer)
        await heard.wait()
        linger = struct.pack("ii", 1, 0)  # closed with a reset
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    async with backend(serve) as found, client_of(found) as client, client.stream("GET", "picture") as response:
        with pytest.raises(httpx.ReadError):  # noqa: PT012 - the loop is what fails
            async for _ in response.aiter_raw():
                heard.set()
