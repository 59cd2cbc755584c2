"""Over real sockets on loopback: what a backend can do to a connection, and what becomes of it."""

import asyncio
import socket
from contextlib import asynccontextmanager

import httpx
import msgspec
import pytest

from imagerouter import errors
from imagerouter.http import (
    is_local,
    make_client,
    map_http_errors,
    raise_for_status,
)

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@asynccontextmanager
async def backend(answer, *, then="close"):
    """A server that reads one request, sends ``answer`` and closes, aborts or hangs."""
    over = asyncio.Event()
    seen = []

    async def serve(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await writer.drain()
        if then == "hang":
            await over.wait()
        if then == "abort":
            writer.transport.abort()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", seen
    finally:
        over.set()
        server.close()
        await server.wait_closed()


async def unused_address():
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return f"http://127.0.0.1:{port}"


async def ask(address, *, read_timeout=30.0, **options):
    async with make_client(address, read_timeout=read_timeout, **options) as client:
        with map_http_errors("attic"):
            response = await client.get("/models")
            raise_for_status(response, "attic")
            return response.json()


async def failure(address, **options):
    with pytest.raises(errors.ProviderError) as raised:
        await ask(address, **options)
    message = raised.value.message
    assert message.startswith("provider `attic` ")
    assert "127.0.0.1" not in message
    assert "/models" not in message
    return raised.value


async def test_an_answer_comes_through():
    async with backend(HEAD + b"content-length: 7\r\n\r\n[1,2,3]") as (address, _):
        assert await ask(address) == [1, 2, 3]


async def test_a_refused_connection_is_unavailable_and_may_be_tried_again():
    error = await failure(await unused_address())
    assert type(error) is errors.ProviderUnavailableError
    assert error.retry_same
    assert isinstance(error.__cause__, httpx.ConnectError)


async def test_a_backend_that_says_nothing_is_a_timeout_and_is_not_tried_again():
    async with backend(b"", then="hang") as (address, _):
        error = await failure(address, read_timeout=0.05)
    assert type(error) is errors.ProviderTimeoutError
    assert not error.retry_same


async def test_a_backend_that_stops_in_the_middle_of_a_body_is_a_timeout():
    async with backend(HEAD + b"content-length: 99\r\n\r\n[1,", then="hang") as (address, _):
        assert type(await failure(address, read_timeout=0.05)) is errors.ProviderTimeoutError


@pytest.mark.parametrize("then", ["close", "abort"])
@pytest.mark.parametrize("answer", [b"", HEAD + b"content-length: 99\r\n\r\n[1,"], ids=["nothing", "half"])
async def test_a_lost_connection_is_a_bad_response_and_is_not_tried_again(answer, then):
    async with backend(answer, then=then) as (address, _):
        error = await failure(address)
    assert type(error) is errors.ProviderResponseError
    assert not error.retry_same


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH\r\n\r\n",
        HEAD + b"content-length: 6\r\n\r\n<html>",
        HEAD + b"content-length: 3\r\n\r\n\xff\xfe\xfd",
        HEAD + b"content-encoding: gzip\r\ncontent-length: 5\r\n\r\nhello",
    ],
    ids=["no HTTP", "no JSON", "no text", "no gzip"],
)
async def test_nonsense_is_a_bad_response(answer):
    async with backend(answer) as (address, _):
        assert type(await failure(address)) is errors.ProviderResponseError


async def test_bodies_are_asked_for_uncompressed_and_own_headers_are_kept():
    async with backend(HEAD + b"content-length: 2\r\n\r\n[]") as (address, seen):
        await ask(address, headers={"x-own": "1"}, auth=("user", "word"))
    head = seen[0].lower()
    assert b"accept-encoding: identity" in head
    assert b"x-own: 1" in head
    assert b"authorization: basic" in head


async def test_a_redirect_is_not_followed_but_explained():
    answer = b"HTTP/1.1 302 Found\r\nlocation: http://elsewhere.example/\r\ncontent-length: 0\r\n\r\n"
    async with backend(answer) as (address, _):
        error = await failure(address)
    assert type(error) is errors.ProviderResponseError
    assert "base_url" in error.message
    assert "elsewhere" not in error.message


@pytest.mark.parametrize("base_url", ["ftp://attic", "http://attic:port", "attic:7860"])
async def test_an_address_that_can_not_be_used_is_unavailable(base_url):
    with pytest.raises(errors.ProviderUnavailableError), map_http_errors("attic"):
        await make_client(base_url, read_timeout=1).get("/")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (ConnectionRefusedError(), errors.ProviderUnavailableError),
        (ConnectionResetError(), errors.ProviderResponseError),
        (socket.gaierror(), errors.ProviderUnavailableError),
        (OSError("Multiple exceptions"), errors.ProviderUnavailableError),
        (TimeoutError(), errors.ProviderTimeoutError),
        (httpx.ConnectTimeout(""), errors.ProviderUnavailableError),
        (httpx.WriteTimeout(""), errors.ProviderTimeoutError),
        (httpx.PoolTimeout(""), errors.ProviderBusyError),
        (httpx.WriteError(""), errors.ProviderResponseError),
        (httpx.ProxyError(""), errors.ProviderUnavailableError),
        (httpx.StreamClosed(), errors.ProviderResponseError),
        (httpx.TooManyRedirects(""), errors.ProviderResponseError),
        (msgspec.DecodeError(""), errors.ProviderResponseError),
        (msgspec.ValidationError(""), errors.ProviderResponseError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_failures_that_are_hard_to_provoke_are_translated(raised, expected):
    with pytest.raises(errors.ImageRouterError) as translated, map_http_errors("attic"):
        raise raised
    assert type(translated.value) is expected
    assert translated.value.__cause__ is raised


@pytest.mark.parametrize(
    "own", [errors.OutOfMemoryError("full"), KeyError("x"), FileNotFoundError("x"), asyncio.CancelledError()]
)
def test_our_own_errors_defects_and_cancellation_pass_untouched(own):
    with pytest.raises(type(own)) as raised, map_http_errors("attic"):
        raise own
    assert raised.value is own


def test_no_exception_of_httpx_is_forgotten():
    for name in httpx.__all__:
        kind = getattr(httpx, name)
        if isinstance(kind, type) and issubclass(kind, Exception) and kind is not httpx.HTTPStatusError:
            if kind is httpx.CookieConflict:
                continue
            with pytest.raises(errors.ImageRouterError), map_http_errors("attic"):
                raise kind.__new__(kind)


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.7", True),
        ("192.168.1.20", True),
        ("100.64.0.9", True),
        ("localhost", True),
        ("comfyui", True),
        ("attic.local", True),
        ("gpu.home.arpa", True),
        ("api.openai.com", False),
        ("8.8.8.8", False),
        ("2606:4700::1111", False),
    ],
)
def test_what_counts_as_a_machine_on_this_network(host, local):
    assert is_local(host) is local


async def test_a_proxy_of_the_environment_is_used_for_other_peoples_machines_only(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", await unused_address())
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with backend(HEAD + b"content-length: 2\r\n\r\n[]") as (address, _):
        assert await ask(address) == []
    assert type(await failure("http://images.example.com")) is errors.ProviderUnavailableError
