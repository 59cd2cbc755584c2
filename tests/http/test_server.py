"""What happens around a request: bodies that are too large or no JSON, odd headers, hanging up, shutting down."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest

from imagerouter.app.server import listening
from imagerouter.config.loader import load_text
from imagerouter.testing import FakeProvider

GATED = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}\n"
PATH = "/v1/images/generations"


class Chunked(httpx.AsyncHTTPTransport):
    """Sends every body in pieces and without its length."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()

        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(body), 1_000_000):
                yield body[start : start + 1_000_000]

        headers = [pair for pair in request.headers.raw if pair[0].lower() != b"content-length"]
        sent = httpx.Request(request.method, request.url, headers=headers, content=pieces())
        sent.extensions = request.extensions
        return await super().handle_async_request(sent)


async def raw(running: Any, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = running.server.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    await writer.drain()
    return reader, writer


async def idle(running: Any) -> None:
    while running.server.app.state.in_flight.count:
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", [httpx.AsyncHTTPTransport, Chunked], ids=["content-length", "chunked"])
async def test_the_sdk_gets_to_see_that_its_body_is_too_large(running: Any, transport: Any) -> None:
    async with httpx.AsyncClient(transport=transport()) as client:
        sdk = openai.AsyncOpenAI(
            base_url=f"{running.server.url}/v1", api_key="any", max_retries=0, http_client=client, timeout=60
        )
        with pytest.raises(openai.APIStatusError) as caught:
            await sdk.images.generate(prompt="x" * 50_000_000)
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


async def test_a_body_without_end_is_not_read_for_ever(start: Any) -> None:
    running = await start("limits: {max_body: 10kB}")
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000000\r\n\r\n".encode()
    reader, writer = await raw(running, head + b"x" * 100_000)
    assert b" 413 " in await reader.readline()
    writer.close()


@pytest.mark.parametrize("line", ["GET /nothing", "GET /v1/models", f"DELETE {PATH}", f"POST {PATH}"])
async def test_a_host_header_that_is_no_ascii_is_a_400_like_any_other(running: Any, line: str) -> None:
    head = f"{line} HTTP/1.1\r\nhost: caf\u00e9\r\nconnection: close\r\ncontent-length: 1\r\n\r\n{{"
    reader, writer = await raw(running, head.encode("latin-1"))
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {"message", "type", "param", "code"}


async def test_a_body_that_is_neither_json_nor_a_form_is_answered_with_what_is_expected_instead(running: Any) -> None:
    reply = await running.http.post(PATH, content=b"prompt=x", headers={"content-type": "text/plain"})
    assert reply.status_code == 400
    assert "JSON or a form (`multipart/form-data`) is expected" in reply.json()["error"]["message"]
    assert "`text/plain`" in reply.json()["error"]["message"]


async def test_a_compressed_body_is_refused_by_name(running: Any) -> None:
    body = gzip.compress(b'{"prompt": "x"}')
    reply = await running.http.post(PATH, content=body, headers={"content-encoding": "gzip"})
    assert reply.status_code == 415
    assert "`content-encoding: gzip`" in reply.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain; charset=utf-8", "nonsense"])
async def test_good_json_is_taken_whatever_it_is_called(running: Any, kind: str) -> None:
    headers = {"content-type": kind, "content-encoding": "identity"}
    assert (await running.http.post(PATH, content=b'{"prompt": "x"}', headers=headers)).status_code == 200
    wrong = await running.http.post(PATH, content=b'{"prompt": "x", "steps": "y"}', headers=headers)
    assert wrong.json()["error"]["param"] == "steps"


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_a_refusal_names_the_job(running: Any, stream: bool) -> None:
    reply = await running.draw(model="nobody", stream=stream)
    assert reply.status_code == 404
    assert reply.headers["x-imagerouter-job"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_hanging_up_while_providers_are_starting_ends_the_request(
    start: Any, monkeypatch: Any, stream: bool
) -> None:
    monkeypatch.setattr(FakeProvider, "start", lambda self: asyncio.Event().wait())
    running = await start(settle=False)
    body = json.dumps({"prompt": "x", "stream": stream})
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n{body}"
    _, writer = await raw(running, head.encode())
    while not running.server.app.state.in_flight.count:
        await asyncio.sleep(0.01)
    writer.close()
    async with asyncio.timeout(20):
        await idle(running)


async def test_a_server_that_is_closed_answers_what_it_can_no_longer_finish() -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        async with listening(load_text(f"{GATED}server: {{port: 0}}")) as server:
            await server.engine.fleet.settled()
            fake = server.engine.fleet.members["fake"].provider
            waiting = asyncio.create_task(client.post(f"{server.url}{PATH}", json={"prompt": "x"}))
            await fake.held()  # type: ignore[attr-defined]
        reply = await waiting
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "shutting_down")
    assert reply.headers["x-imagerouter-job"]
    assert fake.outcomes == ["cancelled"]  # type: ignore[attr-defined]


async def test_a_host_may_be_a_name(start: Any) -> None:
    running = await start("server: {host: localhost, port: 0}")
    assert running.server.url.startswith("http://localhost:")
    assert (await running.draw()).status_code == 200


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        (b"GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: " + b"a" * 70_000 + b"\r\n\r\n", b"431", "larger than 65536"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400", "not HTTP/1.1"),
    ],
    ids=["too large", "TLS"],
)
async def test_a_head_that_cant_be_read_is_told_so(running: Any, sent: bytes, status: bytes, said: str) -> None:
    reader, writer = await raw(running, sent)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert head.split()[1] == status
    error = json.loads(body)["error"]
    assert said in error["message"]
    assert error["type"] == "invalid_request_error"


async def test_requests_that_are_sent_at_once_are_answered_one_after_the_other(running: Any) -> None:
    asked = (b"/v1/models", b""), (b"/health/l%69ve?x=1", b"connection: close\r\n")
    reader, writer = await raw(running, b"".join(b"GET %b HTTP/1.1\r\nhost: x\r\n%b\r\n" % each for each in asked))
    answers = (await reader.read()).split(b"HTTP/1.1 ")[1:]
    writer.close()
    assert [answer[:3] for answer in answers] == [b"200", b"200"]
    assert [b"connection: close\r\n" in answer for answer in answers] == [False, True]
    assert json.loads(answers[0].partition(b"\r\n\r\n")[2])["object"] == "list"


@pytest.mark.parametrize("sent", [b"", b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_client_that_never_says_what_it_wants_is_hung_up_on(
    running: Any, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr("imagerouter.app.protocol.HEAD_SECONDS", 0.05)
    reader, writer = await raw(running, sent)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()
    assert (await running.draw()).status_code == 200
