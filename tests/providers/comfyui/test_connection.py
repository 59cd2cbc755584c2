"""Messages of a websocket, in whatever pieces they arrive."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame, Opcode

from imagerouter_comfyui.connection import Connection


def wire(opcode, data, *, fin=True):
    return Frame(opcode, data, fin).serialize(mask=False)


@st.composite
def streams(draw):
    """Bytes from a server, and the messages that they hold."""
    told, sent = [], []
    for index in range(draw(st.integers(1, 6))):
        text = b"%d" % index * draw(st.sampled_from([1, 20, 9000]))
        match draw(st.sampled_from(["text", "binary", "fragments", "ping"])):
            case "text":
                sent.append(wire(Opcode.TEXT, text))
                told.append((text, True))
            case "binary":
                sent.append(wire(Opcode.BINARY, text))
                told.append((text, False))
            case "fragments":
                half = len(text) // 2
                sent += [
                    wire(Opcode.BINARY, text[:half], fin=False),
                    wire(Opcode.PING, b""),
                    wire(Opcode.CONT, text[half:]),
                ]
                told.append((text, False))
            case "ping":
                sent.append(wire(Opcode.PING, b"well?"))
    return b"".join(sent), told


async def idle(connection):
    await connection.wait_closed()


@settings(max_examples=25, deadline=None)
@given(stream=streams(), cuts=st.lists(st.floats(0, 1), max_size=8))
async def test_every_message_is_told_once_wherever_the_pieces_end(stream, cuts):
    data, told = stream
    places = [0, *sorted(int(cut * len(data)) for cut in cuts), len(data)]
    async with serve(idle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", create_connection=Connection, max_queue=None) as connection:
            heard = []
            connection.on_message = lambda message, is_text: heard.append((message, is_text))
            for start, end in pairwise(places):
                connection.data_received(data[start:end])
            # Fragments are put together by the library, and wait in its queue.
            queued = [(await connection.recv(), False) for _ in range(len(told) - len(heard))]
            assert heard == [one for one in told if one not in queued]
            assert queued == [one for one in told if one not in heard]


async def test_what_comes_with_the_handshake_waits_for_whoever_listens():
    async def greet(connection):
        await connection.send('{"type": "status"}')
        await connection.wait_closed()

    async with serve(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", create_connection=Connection) as connection:
            assert await connection.recv() == '{"type": "status"}'


async def test_a_refused_handshake_says_why():
    async with serve(
        idle, "127.0.0.1", 0, process_request=lambda connection, _: connection.respond(401, "no")
    ) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(InvalidStatus) as refused:
            await connect(f"ws://127.0.0.1:{port}", create_connection=Connection)
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize("broken", [b"\x81\x81\x00\x00\x00\x00a", b"\xf1\x01a"], ids=["masked", "reserved"])
async def test_frames_that_no_server_may_send_end_the_connection(broken):
    async with serve(idle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with connect(f"ws://127.0.0.1:{port}", create_connection=Connection) as connection:
            connection.on_message = lambda *_: pytest.fail("that is no message")
            connection.data_received(broken)
            await connection.wait_closed()
            assert connection.protocol.close_sent.code == 1002
