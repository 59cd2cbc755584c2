"""Requests on their way out, and the connections they share."""

import asyncio
import socket
import ssl

import httpx
import pytest
from tests.core.backends import LENGTH, answering, backend, in_pieces
from tests.core.test_fetching import certified, names  # noqa: F401 - fixtures

from imagerouter.http import make_client
from imagerouter.transport import Transport

OK = LENGTH % 2 + b"ok"
ENDLESS = 16 * 1024 * 1024


def client_of(found, **options):
    return make_client(found.url, **{"read_timeout": 5, **options})


async def of_pieces(*pieces):
    for piece in pieces:
        yield piece


# What is sent.


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({}, b""),
        ({"content": b"a picture"}, b"a picture"),
        ({"content": bytes(3_000_000)}, bytes(3_000_000)),
        ({"content": of_pieces}, b"onetwo"),
        ({"content": of_pieces, "headers": {"content-length": "6"}}, b"onetwo"),
    ],
    ids=["nothing", "bytes", "many bytes", "chunks", "pieces of a known length"],
)
async def test_a_request_arrives_whole(options, body):
    if options.get("content") is of_pieces:
        options = {**options, "content": of_pieces(b"", b"one", b"", b"two")}
    async with backend(answering(OK, OK)) as found, client_of(found) as client:
        assert (await client.post("draw", **options)).text == "ok"
        assert (await client.get("again")).text == "ok"
    (head, sent), _ = found.requests
    assert head.startswith(b"POST /draw HTTP/1.1\r\nHost: 127.0.0.1:")
    assert sent == body
    assert found.connections == 1


async def test_an_upload_of_a_form_arrives_whole(tmp_path):
    (tmp_path / "mask.png").write_bytes(bytes(range(256)) * 1000)
    async with backend(answering(OK)) as found, client_of(found) as client:
        with (tmp_path / "mask.png").open("rb") as file:
            await client.post("edits", data={"prompt": "a"}, files={"image": ("mask.png", file, "image/png")})
    assert bytes(range(256)) * 1000 in found.requests[0][1]


@pytest.mark.parametrize("header", ["a\r\nx: y", "a\nb", "a\0b"])
async def test_a_field_can_not_smuggle_in_another(header):
    async with backend(answering(OK)) as found, client_of(found) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.get("picture", headers={"x-prompt": header})
    assert found.requests == []


@pytest.mark.parametrize("length", ["5", "7"])
async def test_a_body_that_is_not_as_long_as_it_says_is_not_passed_off_as_one(length):
    async with backend(answering(OK)) as found, client_of(found) as client:
        with pytest.raises(httpx.LocalProtocolError):
            await client.post("draw", content=of_pieces(b"one", b"two"), headers={"content-length": length})
    assert found.requests == []


@pytest.mark.parametrize("interim", [b"", b"HTTP/1.1 100 Continue\r\n\r\n"], ids=["", "after an interim one"])
@pytest.mark.parametrize("streamed", [False, True], ids=["bytes", "chunks"])
async def test_a_refusal_is_heard_while_the_request_is_still_on_its_way(streamed, interim):
    refusal = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\n\r\nbig"
    answered = asyncio.Event()

    async def serve(found, reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # it takes no more, but stays
        await in_pieces(writer, [interim, refusal[:20], refusal[20:]])
        await answered.wait()
        writer.transport.abort()

    async def picture():
        while True:
            yield bytes(2**16)

    async with backend(serve) as found, client_of(found) as client:
        response = await client.post("draw", content=picture() if streamed else bytes(ENDLESS))
        answered.set()
    assert (response.status_code, response.text) == (413, "big")


async def test_after_an_early_success_the_rest_is_sent_all_the_same():
    async def serve(found, reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(OK[:10])
        found.requests.append((head, await reader.readexactly(ENDLESS)))
        writer.write(OK[10:])

    async with backend(serve) as found, client_of(found) as client:
        assert (await client.post("draw", content=bytes(ENDLESS))).text == "ok"


# Connections that are used again, and those that aren't.


@pytest.mark.parametrize(
    ("answer", "options"),
    [
        (OK, {"headers": {"connection": "close"}}),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\ncontent-length: 2\r\n\r\nok", {}),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", {}),
        (OK + b"HTTP/1.1 200 OK\r\n", {}),
    ],
    ids=["we end it", "they end it", "HTTP/1.0", "something came unasked"],
)
async def test_a_connection_that_ends_with_its_answer_is_not_used_again(answer, options):
    async with backend(answering(answer, OK)) as found, client_of(found) as client:
        for _ in range(2):
            assert (await client.get("picture", **options)).text == "ok"
    assert found.connections == 2


async def test_an_answer_that_nobody_reads_to_its_end_ends_its_connection():
    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(LENGTH % 900_000 + b"ok" if found.connections == 1 else OK)

    async with backend(serve) as found, client_of(found) as client:
        async with client.stream("GET", "picture") as response:
            assert response.status_code == 200
        assert (await client.get("picture")).text == "ok"
    assert found.connections == 2


async def test_a_connection_is_not_used_again_when_it_has_expired():
    transport = Transport(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), keepalive=0, idle=9)
    async with backend(answering(OK, OK)) as found, client_of(found, transport=transport) as client:
        for _ in range(2):
            assert (await client.get("picture")).text == "ok"
    assert found.connections == 2


async def test_no_more_connections_lie_idle_than_are_allowed():
    transport = Transport(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), keepalive=9, idle=1)
    async with backend(answering(OK, OK)) as found, client_of(found, transport=transport) as client:
        await asyncio.gather(*(client.get("picture") for _ in range(3)))
        await client.get("picture")
        assert found.connections == 3


async def test_a_job_is_not_sent_into_a_connection_that_the_backend_has_closed():
    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(OK)
        writer.close()

    async with backend(serve) as found, client_of(found) as client:
        for _ in range(3):
            assert (await client.post("draw", content=b"{}")).text == "ok"
            while found.ended < found.connections:
                await asyncio.sleep(0)
    assert len(found.requests) == found.connections == 3


@pytest.mark.parametrize(("method", "repeated"), [("GET", True), ("DELETE", True), ("POST", False)])
async def test_what_does_no_harm_twice_is_sent_again_when_a_used_connection_breaks(method, repeated):
    async def serve(found, reader, writer):
        await found.asked(reader)
        if found.connections == 1:
            writer.write(OK)
            await found.asked(reader)
            writer.write_eof()
        else:
            writer.write(OK)

    async with backend(serve) as found, client_of(found) as client:
        await client.get("first")
        if repeated:
            assert (await client.request(method, "second")).text == "ok"
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.request(method, "second")
    assert len(found.requests) == (3 if repeated else 2)


async def test_on_a_new_connection_nothing_is_sent_twice():
    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write_eof()

    async with backend(serve) as found, client_of(found) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("picture")
    assert len(found.requests) == 1


async def test_a_client_that_is_closed_leaves_nobody_waiting():
    async with backend(answering()) as found:
        client = client_of(found)
        waiting = asyncio.create_task(client.get("picture"))
        while not found.connections:
            await asyncio.sleep(0)
        await client.aclose()
        with pytest.raises(httpx.TransportError):
            await waiting


# Patience, and its end.


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", LENGTH % 99 + b"ok", LENGTH % 900_000 + b"ok"])
async def test_silence_is_a_read_timeout(answer):
    async with backend(answering(answer)) as found, client_of(found, read_timeout=0.02) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.get("picture")


async def test_a_request_that_nobody_takes_is_a_write_timeout():
    async def serve(found, reader, writer):
        reader._transport.pause_reading()
        await gone.wait()
        writer.transport.abort()

    gone = asyncio.Event()
    async with backend(serve) as found, client_of(found) as client:
        with pytest.raises(httpx.WriteTimeout):
            await client.post("draw", content=bytes(ENDLESS), timeout=httpx.Timeout(5, write=0.02))
        gone.set()


async def test_a_host_that_lets_nobody_finish_the_greeting_is_a_connect_timeout():
    patience = httpx.Timeout(5, connect=0.02)
    async with backend(answering()) as found, make_client("https" + found.url[4:], read_timeout=5) as client:
        with pytest.raises(httpx.ConnectTimeout):
            await client.get("picture", timeout=patience)


@pytest.mark.parametrize("point", ["connecting", "sending", "waiting", "reading", "reading much", "streaming"])
async def test_a_cancelled_request_leaves_nothing_behind(point, caplog):
    reached = asyncio.Event()
    answer = {"reading": LENGTH % 99, "reading much": LENGTH % 900_000, "streaming": LENGTH % 900_000}.get(point, b"")

    async def serve(found, reader, writer):
        if point == "sending":
            await reader.readuntil(b"\r\n\r\n")
            reached.set()
            return
        if point != "connecting":
            await found.asked(reader)
            await in_pieces(writer, [answer + b"ok"] * bool(answer))
        reached.set()

    async def endless():
        while True:
            yield b"x" if reached.is_set() else bytes(2**16)
            await asyncio.sleep(0)

    async def ask(client):
        if point == "streaming":
            async with client.stream("GET", "picture") as response:
                async for _ in response.aiter_raw():
                    pass
        await client.request("POST", "draw", content=endless() if point == "sending" else b"{}")

    async with backend(serve) as found:
        base = found.url.replace("http:", "https:") if point == "connecting" else found.url
        async with make_client(base, read_timeout=5) as client:
            task = asyncio.create_task(ask(client))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while found.ended < 1:  # although the client lives on
                await asyncio.sleep(0)
    assert [record for record in caplog.records if record.name == "asyncio"] == []


# Where connections lead.


@pytest.mark.parametrize("host", ["::1", "localhost"])
async def test_a_backend_is_reached_by_any_address_of_its_host(host):
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    async with backend(answering(OK), host="::1" if host == "::1" else "127.0.0.1") as found:
        base = found.url.replace("127.0.0.1", host)
        async with make_client(base, read_timeout=5) as client:
            assert (await client.get("picture")).text == "ok"


@pytest.mark.parametrize(
    "answer",
    [LENGTH % 2_000_000 + bytes(2_000_000), b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2_000_000)],
    ids=["length", "until closed"],
)
async def test_tls_carries_large_answers_for_the_right_name_only(certified, names, answer):  # noqa: F811
    names["pictures.example"] = names["other.example"] = [["127.0.0.1"]]

    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with backend(serve, tls=certified) as found:
        right = found.url.replace("127.0.0.1", "pictures.example")
        async with make_client(right, read_timeout=5, direct=True) as client:
            assert len((await client.get("picture")).content) == 2_000_000
            async with client.stream("GET", "picture") as response:
                assert sum([len(piece) async for piece in response.aiter_raw()]) == 2_000_000
            with pytest.raises(httpx.ConnectError):
                await client.get(right.replace("pictures", "other"))
