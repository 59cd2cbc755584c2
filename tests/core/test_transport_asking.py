"""The short way of a client: what is sent and heard is what httpx would send and hear."""

import asyncio
import gzip

import httpx
import pytest
from tests.core.backends import LENGTH, answering, backend

from imagerouter.http import make_client

OK = LENGTH % 2 + b"ok"


def client_of(found, **options):
    return make_client(found.url, **{"read_timeout": 5, **options})


def told(request):
    """A request as it arrived, without regard to the order of its fields and the letters of their names."""
    head, body = request
    start, *fields = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    return start, sorted((name.lower(), value) for name, _, value in (field.partition(b": ") for field in fields)), body


@pytest.mark.parametrize(
    ("method", "options", "theirs"),
    [
        ("GET", {}, {}),
        ("GET", {"query": {"filename": "a b&c=ß.png", "type": "output"}}, {}),
        ("POST", {}, {}),
        ("POST", {"content": b'{"prompt": "a fox"}'}, {"headers": {"content-type": "application/json"}}),
        ("POST", {"content": b"{}", "alone": True, "query": {"a": "1"}}, {}),
    ],
    ids=["nothing", "a query", "an empty body", "JSON", "the last one"],
)
async def test_what_is_sent_is_what_httpx_sends(method, options, theirs):
    if options.get("alone"):
        theirs = {"headers": {"content-type": "application/json", "connection": "close"}}
    known = {"content": options.get("content"), "params": options.get("query"), **theirs}
    headers = {"authorization": "Bearer sk-secret"}
    async with backend(answering(OK, OK, OK)) as found, client_of(found, headers=headers) as client:
        await client.request(method, "some/where", **known)
        for _ in range(2):
            assert (await client.ask(method, "some/where", **options)).content == b"ok"
    expected, *asked = map(told, found.requests)
    assert asked == [expected, expected]
    assert found.connections == (3 if options.get("alone") else 1)


@pytest.mark.parametrize("body", [b"{}", bytes(100_000)], ids=["small", "large"])
async def test_an_answer_that_was_compressed_unasked_is_read_all_the_same(body):
    packed = gzip.compress(body)
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
    spoilt = answer.replace(packed, bytes(len(packed)))
    async with backend(answering(answer, spoilt)) as found, client_of(found) as client:
        assert (await client.ask("GET", "models")).content == body
        with pytest.raises(httpx.DecodingError):
            await client.ask("GET", "models")


@pytest.mark.parametrize(
    "options",
    [{"auth": ("me", "secret")}, {"transport": httpx.AsyncHTTPTransport()}],
    ids=["signed", "their transport"],
)
async def test_where_something_is_in_between_it_goes_the_long_way(options):
    async with backend(answering(OK)) as found, client_of(found, **options) as client:
        answer = await client.ask("POST", "draw", b"{}", query={"a": "1"})
    assert (answer.status_code, answer.content, answer.is_success) == (200, b"ok", True)
    assert answer.headers["content-length"] == "2"
    ((head, body),) = found.requests
    assert (head.split(b"\r\n")[0], body) == (b"POST /draw?a=1 HTTP/1.1", b"{}")
    assert (b"\r\nauthorization: basic " in head.lower()) == ("auth" in options)


@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("POST", False)])
async def test_only_what_does_no_harm_twice_is_sent_again_when_a_used_connection_breaks(method, is_repeated):
    async def serve(found, reader, writer):
        await found.asked(reader)
        writer.write(OK)
        if found.connections == 1:
            await found.asked(reader)
            writer.write_eof()

    async with backend(serve) as found, client_of(found) as client:
        await client.ask("GET", "first")
        if is_repeated:
            assert (await client.ask(method, "second")).content == b"ok"
        else:
            with pytest.raises(httpx.RemoteProtocolError):
                await client.ask(method, "second")
    assert len(found.requests) == (3 if is_repeated else 2)


@pytest.mark.parametrize("length", [99, 900_000], ids=["small", "large"])
async def test_silence_in_an_answer_is_a_timeout_and_a_cancellation_closes_the_connection(length):
    async with backend(answering(LENGTH % length + b"ok")) as found, client_of(found) as client:
        with pytest.raises(httpx.ReadTimeout):
            await client.ask("GET", "picture", patience=httpx.Timeout(5, read=0.02))
        waiting = asyncio.create_task(client.ask("GET", "picture"))
        while len(found.requests) < 2:
            await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        while found.ended < 2:  # although the client lives on
            await asyncio.sleep(0)


async def test_a_client_that_is_closed_asks_nobody():
    async with backend(answering(OK)) as found:
        client = client_of(found)
        await client.aclose()
        with pytest.raises(RuntimeError):
            await client.ask("GET", "picture")
    assert found.connections == 0
