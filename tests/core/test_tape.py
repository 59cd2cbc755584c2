"""The test server and the tapes that third parties test their adapters with."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from imagerouter.testing import Dialect, Request, Response, Socket, Tape, WireServer


async def echo(request: Request) -> Response | None:
    match request.path:
        case "/cut":
            return Response(body=b"x" * 1000, cut_after=10)
        case "/hang-up":
            return None
        case "/bug":
            raise KeyError("bug")
    return Response(json={"path": request.path, "query": dict(request.query), "length": len(request.body)})


async def parrot(socket: Socket) -> None:
    async for message in socket:
        await (socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message))


def ws(url: str) -> str:
    return url.replace("http", "ws", 1)


@pytest.fixture
async def server() -> AsyncIterator[WireServer]:
    async with WireServer(echo, parrot) as server:
        yield server


@pytest.fixture
async def client(server: WireServer) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, verify=False) as client:
        yield client


class TestWireServer:
    async def test_large_and_chunked_bodies_arrive_on_one_connection(self, server, client):
        async def chunks():
            for _ in range(40):
                yield b"x" * 100_000

        large = await client.post("/a%20b", params={"c": "1", "d": ""}, content=b"x" * 5_000_000)
        chunked = await client.post("/chunked", content=chunks())
        assert large.json() == {"path": "/a b", "query": {"c": "1", "d": ""}, "length": 5_000_000}
        assert chunked.json()["length"] == 4_000_000
        assert server.connections_made == 1

    @pytest.mark.parametrize("path", ["/cut", "/hang-up"])
    async def test_a_handler_can_cut_the_connection(self, client, path):
        with pytest.raises(httpx.TransportError):
            await client.get(path)

    async def test_a_cut_body_begins_as_promised(self, client):
        async with client.stream("GET", "/cut") as response:
            chunks = response.aiter_raw()
            assert (response.headers["content-length"], await anext(chunks)) == ("1000", b"x" * 10)
            with pytest.raises(httpx.ReadError):
                await anext(chunks)

    async def test_a_websocket_carries_texts_bytes_and_fragments_of_any_size(self, server):
        async with connect(ws(server.url), max_size=None) as socket:
            for message in ("tea", b"x" * 3_000_000, ["frag", "ments"]):
                await socket.send(message)
                assert await socket.recv() == ("".join(message) if isinstance(message, list) else message)
            await (await socket.ping())

    async def test_a_killed_server_resets_everything_and_comes_back_on_the_same_port(self, server, client):
        socket = await connect(ws(server.url))
        await server.abort()
        with pytest.raises(ConnectionClosedError):
            await socket.recv()
        assert socket.close_code == 1006
        with pytest.raises(httpx.ConnectError):
            await client.get("/")
        await server.start()
        assert (await client.get("/")).status_code == 200

    async def test_behind_a_proxy_it_wants_prefix_and_headers_on_every_door(self):
        headers = {"authorization": "Bearer sesame"}
        async with (
            WireServer(echo, parrot, prefix="/comfy", required_headers=headers) as server,
            httpx.AsyncClient(verify=False) as client,
        ):
            assert (await client.get(f"{server.url}/models")).status_code == 401
            assert (await client.get(f"{server.url}/models", headers=headers)).json()["path"] == "/models"
            outside = server.url.removesuffix("/comfy")
            assert (await client.get(f"{outside}/models", headers=headers)).status_code == 404
            with pytest.raises(InvalidStatus):
                await connect(ws(f"{server.url}/ws"))
            async with connect(ws(f"{server.url}/ws"), additional_headers=headers) as socket:
                await socket.send("in")
                assert await socket.recv() == "in"

    async def test_a_bug_in_a_handler_fails_the_test(self):
        with pytest.raises(KeyError, match="bug"):
            async with WireServer(echo) as server, httpx.AsyncClient(verify=False) as client:
                assert (await client.get(f"{server.url}/bug")).status_code == 500


class Kitchen(Dialect):
    """Orders are submissions: ``POST /order {"id", "guest", "pot"}``; ``DELETE /order/{id}`` takes one back."""

    def effect(self, request: Request) -> str | None:
        return {"POST": "submit", "DELETE": "cancel"}.get(request.method)

    def subject(self, request: Request, answer: Any = None) -> str | None:
        if matched := re.fullmatch("/order/(.+)", request.path):
            return matched[1]
        return answer["id"] if isinstance(answer, dict) else None

    def names(self, recorded: Request, answer: Any, live: Request) -> Mapping[str, str]:
        return {answer["id"]: live.json()["id"], recorded.json()["pot"]: live.json()["pot"]}

    def owner(self, request: Request) -> str | None:
        return request.json()["guest"]

    def client(self, handshake: Request) -> str | None:
        return handshake.query.get("guest")


def opened(label: str, guest: str) -> dict[str, Any]:
    return {"kind": "ws_open", "ws": label, "clientId": guest}


def said(label: str, **message: Any) -> dict[str, Any]:
    return {"kind": "ws_text", "ws": label, "message": message}


def note(text: str) -> dict[str, Any]:
    return {"kind": "note", "text": text}


def asked(method: str, path: str, response: Any, request: Any = None, status: int = 200) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    line = {"kind": "http", "method": method, "path": path, "request": request}
    return line | {"status": status, "headers": headers, "response": response}


def ordered(number: str, guest: str = "anna", pot: str = "1") -> dict[str, Any]:
    return asked("POST", "/order", {"id": number}, {"guest": guest, "pot": pot})


class Guest:
    """A client of the kitchen."""

    def __init__(self, http: httpx.AsyncClient, socket: ClientConnection) -> None:
        self.http = http
        self.socket = socket

    async def order(self, number: str, pot: str = "9") -> Any:
        return (await self.http.post("/order", json={"id": number, "guest": "me", "pot": pot})).json()

    async def hears(self) -> Any:
        return json.loads(await self.socket.recv())


class Served:
    """A tape that is played, and a guest."""

    def __init__(self, *lines: dict[str, Any], **options: Any) -> None:
        self.tape = Tape(list(lines), Kitchen(), **options)

    async def __aenter__(self) -> tuple[Tape, Guest]:
        await self.tape.__aenter__()
        self.http = httpx.AsyncClient(base_url=self.tape.url, verify=False)
        return self.tape, Guest(self.http, await connect(ws(f"{self.tape.url}/?guest=me")))

    async def __aexit__(self, *raised: Any) -> None:
        await self.http.aclose()
        await self.tape.__aexit__(*raised)


class TestTape:
    async def test_a_message_waits_until_the_client_did_what_the_recorder_had_done(self):
        lines = [opened("A", "anna"), said("A", hello="anna"), ordered("o1"), said("A", done="o1")]
        async with Served(*lines, ordered("o2"), said("A", done="o2")) as (tape, guest):
            assert await guest.hears() == {"hello": "me"}
            assert await guest.order("mine") == {"id": "mine"}
            assert await guest.hears() == {"done": "mine"}
            assert not tape.finished
            await guest.order("mine too")
            assert await guest.hears() == {"done": "mine too"}
            await tape.end()
            assert tape.unanswered == []

    async def test_a_message_about_an_order_is_never_ahead_of_it(self):
        lines = [opened("A", "anna"), said("A", early="o1"), ordered("o1"), said("A", done="o1")]
        async with Served(*lines) as (_, guest):
            await guest.order("mine")
            assert [await guest.hears(), await guest.hears()] == [{"early": "mine"}, {"done": "mine"}]

    async def test_names_of_one_job_do_not_leak_into_the_other(self):
        jobs = [ordered("o1", pot="1"), ordered("o2", pot="1")]
        told = [said("A", order="o2", pot="1"), said("A", order="o1", pot="1", note="1st")]
        async with Served(opened("A", "anna"), *jobs, *told) as (_, guest):
            await guest.order("x", pot="7")
            await guest.order("y", pot="8")
            assert await guest.hears() == {"order": "y", "pot": "8"}
            assert await guest.hears() == {"order": "x", "pot": "7", "note": "1st"}

    async def test_questions_are_answered_as_of_where_the_tape_is(self):
        states = [asked("GET", "/state?of=o1&more=", {"o1": state}) for state in ("cooking", "eaten")]
        lines = [opened("A", "anna"), ordered("o1"), states[0], asked("DELETE", "/order/o1", {}), states[1]]
        async with Served(*lines) as (tape, guest):
            await guest.order("mine")
            assert (await guest.http.get("/state", params={"of": "mine"})).json() == {"mine": "cooking"}
            await guest.http.delete("/order/mine")
            await tape.end()
            assert (await guest.http.get("/state", params={"of": "mine"})).json() == {"mine": "eaten"}

    async def test_what_is_not_on_the_tape_is_a_default_or_501_and_noted(self):
        answers = {("GET", "/menu"): ["tea"], ("GET", "/pots/*"): lambda request: {"pot": request.path}}
        async with Served(opened("A", "anna"), ordered("o1"), answers=answers) as (tape, guest):
            await guest.order("mine")
            assert (await guest.http.get("/menu")).json() == ["tea"]
            assert (await guest.http.get("/pots/3")).json() == {"pot": "/pots/3"}
            assert tape.unanswered == []
            assert "error" in await guest.order("one more than was recorded")
            assert (await guest.http.get("/bill")).status_code == 501
            assert tape.unanswered == ["POST /order", "GET /bill"]

    async def test_what_other_clients_did_is_taken_as_done(self):
        lines = [opened("A", "anna"), opened("B", "bert"), ordered("o1", "bert"), said("B", done="o1")]
        async with Served(*lines, said("A", queue=1), ordered("o2"), said("A", done="o2")) as (_, guest):
            assert await guest.hears() == {"queue": 1}
            await guest.order("mine")
            assert await guest.hears() == {"done": "mine"}

    async def test_a_socket_that_was_opened_again_is_one_that_the_client_loses(self):
        lines = [opened("A", "anna"), said("A", hello=1), {"kind": "ws_closed", "ws": "A", "code": None}]
        async with Served(*lines, opened("A2", "anna"), said("A2", hello=2)) as (tape, guest):
            assert await guest.hears() == {"hello": 1}
            with pytest.raises(ConnectionClosedError):
                await guest.hears()
            async with connect(ws(f"{tape.url}/?guest=me")) as again:
                assert json.loads(await again.recv()) == {"hello": 2}

    async def test_a_gate_can_be_passed_by_somebody_else(self):
        lines = [opened("A", "anna"), ordered("o1"), asked("DELETE", "/order/o1", {}), said("A", gone="o1")]
        async with Served(*lines) as (tape, guest):
            await guest.order("mine")
            tape.pass_gate()
            assert await guest.hears() == {"gone": "mine"}

    async def test_a_section_brings_along_the_sockets_that_were_open(self, tmp_path):
        lines = [opened("A", "anna"), said("A", hello="anna"), note("soup"), ordered("o1"), said("A", done="o1")]
        lines += [note("fish"), ordered("o2"), said("A", done="o2"), note("tea"), ordered("o3")]
        path = tmp_path / "kitchen.jsonl"
        path.write_text("\n".join(map(json.dumps, lines)))
        for section in ("fish", 1):
            tape = Tape.load(path, Kitchen(), section=section)
            async with tape, connect(ws(f"{tape.url}/?guest=me")) as socket, httpx.AsyncClient(verify=False) as http:
                assert json.loads(await socket.recv()) == {"hello": "me"}
                await http.post(f"{tape.url}/order", json={"id": "mine", "guest": "me", "pot": "2"})
                assert json.loads(await socket.recv()) == {"done": "mine"}
                await tape.end()

    async def test_bytes_that_were_left_out_are_stood_in_for_by_a_picture_of_their_kind(self):
        line = asked("GET", "/photo", "<29012 bytes, starts 89504e470d0a1a0a>")
        line["headers"] = {"Content-Type": "image/png"}
        async with Served(opened("A", "anna"), line) as (_, guest):
            photo = await guest.http.get("/photo")
            assert photo.headers["content-type"] == "image/png"
            assert photo.content.startswith(bytes.fromhex("89504e470d0a1a0a"))
