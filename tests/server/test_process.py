"""Starting, stopping and serving, as a process manager sees it."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

PATH = "/v1/images/generations"
SLOW = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', step_seconds: 0.1}}"
GATED = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', gated: true}}"
STUBBORN = "providers: {fake: {type: 'stuck:Stubborn'}}"
FAST = "providers: {fake: {type: 'imagerouter.testing:FakeProvider'}}"


def test_sigterm_lets_a_running_request_finish_and_exits_cleanly(serve: Any) -> None:
    server = serve(SLOW)
    server.wait_for("provider.ready")
    url, body = f"{server.url}/v1/images/generations", {"prompt": "x", "steps": 40}
    streamed = {**body, "stream": True, "stream_progress": True}
    with httpx.stream("POST", url, json=streamed, timeout=30) as reply:
        lines = reply.iter_lines()
        assert next(lines) == "event: image_generation.progress"
        server.popen.send_signal(signal.SIGTERM)
        assert server.wait_for("server.draining")["running"] == 1
        refused = httpx.post(url, json=body, timeout=30)
        rest = list(lines)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
    assert "event: image_generation.completed" in rest
    server.wait_for("server.stopped")
    assert server.ended() == 0


def test_ctrl_c_stops_an_idle_server_at_once(serve: Any) -> None:
    server = serve(FAST)
    server.popen.send_signal(signal.SIGINT)
    server.wait_for("server.stopped")
    assert server.ended() == 0


def test_sighup_loads_the_file_again_and_a_wrong_one_changes_nothing(serve: Any, tmp_path: Path) -> None:
    server = serve(f"{FAST}\nserver: {{costs_file: state/costs.json}}")
    server.wait_for("provider.ready")
    path = tmp_path / "imagerouter-test.yaml"
    text = path.read_text()
    path.write_text(text.replace("fake:", "faker:"))
    server.popen.send_signal(signal.SIGHUP)
    reloaded = server.wait_for("config.reloaded")
    assert (reloaded["started"], reloaded["stopped"], reloaded["needs_restart"]) == (["faker"], ["fake"], [])
    path.write_text(text.replace("server:", "serer:"))
    server.popen.send_signal(signal.SIGHUP)
    assert f"{path}:2:1: serer: unknown key" in str(server.wait_for("config.not_reloaded")["reason"])
    answer = httpx.post(f"{server.url}{PATH}", json={"prompt": "x"}, timeout=30).json()
    assert answer["imagerouter"]["provider"] == "faker"
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("server.stopped")
    assert server.ended() == 0
    assert "faker" in json.loads((tmp_path / "state" / "costs.json").read_text())["models"]


def connected(server: Any, data: bytes, receive_buffer: int | None = None) -> socket.socket:
    client = socket.socket()
    if receive_buffer is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(60)
    client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    client.sendall(data)
    return client


def post(length: int | None = None, **body: Any) -> bytes:
    """A request; with a ``length`` that is more than it has it is never finished."""
    content = json.dumps({"prompt": "x", **body}).encode()
    head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {length or len(content)}\r\n\r\n"
    return head.encode() + content


def all_of(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


@pytest.mark.parametrize("drain", ["100ms", "1h"])
def test_a_job_that_outlasts_the_patience_is_answered_and_the_server_ends(serve: Any, drain: str) -> None:
    server = serve(f"{GATED}\nserver: {{drain: {drain}}}")
    server.wait_for("provider.ready")
    stream = connected(server, post(stream=True, stream_progress=True))
    assert stream.recv(1)
    plain, upload = connected(server, post()), connected(server, post(length=1000))
    # Connections are accepted in turn: with this one answered, the two before it have been taken in.
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("server.draining")
    if drain == "1h":
        server.popen.send_signal(signal.SIGINT)
    events = all_of(stream)
    assert b"event: error" in events
    assert b'"code":"shutting_down"' in events
    for client in (plain, upload):
        answer = all_of(client)
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b'"code":"shutting_down"' in answer
    server.wait_for("server.stopped")
    assert server.ended() == 0


def test_a_client_that_reads_slowly_does_not_outlast_the_patience(serve: Any, tmp_path: Path) -> None:
    server = serve(STUBBORN.replace("Stubborn", "Big"))
    server.wait_for("provider.ready")
    reader = connected(server, post(), receive_buffer=4096)
    assert reader.recv(15) == b"HTTP/1.1 200 OK"
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("server.draining")
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("server.connections_cut")
    server.wait_for("server.stopped")
    assert server.ended() == 0
    reader.close()


def test_large_pictures_go_through_two_servers_unharmed(serve: Any) -> None:
    first = serve("providers: {noise: {type: 'stuck:Noise', concurrency: 8}}")
    first.wait_for("provider.ready")
    second = serve(f"providers: {{first: {{type: openai, base_url: '{first.url}/v1'}}}}")
    second.wait_for("provider.ready")

    def draw(server: Any, seed: int) -> str:
        body = {"prompt": "x", "seed": seed}
        data = httpx.post(f"{server.url}{PATH}", json=body, timeout=60).json()["data"]
        return str(data[0]["b64_json"])

    with ThreadPoolExecutor(8) as pool:
        drawn = [pool.submit(draw, server, seed) for seed in range(8) for server in (first, second)]
    pictures = [each.result() for each in drawn]
    assert pictures[::2] == pictures[1::2]
    assert len({*pictures}) == 8
    # A client that reads little at a time gets it all the same, and its connection is good for the next request.
    with connected(second, post(seed=1) + post(seed=2), receive_buffer=4096) as reader:
        told = bytearray()
        while len(told) < 2 * len(pictures[0]) or not told.endswith(b"}"):
            piece = reader.recv(65536)
            assert piece, "the connection was closed before both answers were there"
            told += piece
    assert -1 < told.find(pictures[2].encode()) < told.find(pictures[4].encode())


def test_a_third_signal_ends_even_a_server_whose_provider_never_lets_go(serve: Any) -> None:
    server = serve(STUBBORN)
    server.wait_for("provider.ready")
    stream = connected(server, post(stream=True, stream_progress=True))
    assert stream.recv(1)
    for event in ("server.draining", "server.impatient", "server.killed"):
        server.popen.send_signal(signal.SIGINT)
        server.wait_for(event)
    assert server.ended() == 1
    stream.close()


def test_a_provider_that_never_lets_go_keeps_a_stopped_server_only_for_a_moment(serve: Any) -> None:
    server = serve(STUBBORN + "\nserver: {drain: 100ms}")
    server.wait_for("provider.ready")
    client = connected(server, post())
    assert httpx.get(f"{server.url}/health/live").status_code == 200
    server.popen.send_signal(signal.SIGTERM)
    assert b'"code":"shutting_down"' in all_of(client)
    server.wait_for("server.stopped")
    server.wait_for("server.killed")
    assert server.ended() == 1


def test_a_thread_that_never_ends_keeps_a_stopped_server_only_for_a_moment(serve: Any) -> None:
    server = serve(STUBBORN.replace("Stubborn", "Threaded"))
    server.wait_for("threaded.stuck")
    server.popen.send_signal(signal.SIGTERM)
    server.wait_for("server.stopped")
    assert server.wait_for("server.killed")["threads"]
    assert server.ended() == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
def test_a_host_that_does_not_exist_is_one_clear_line(tmp_path: Path, host: str) -> None:
    (tmp_path / "c.yaml").write_text(FAST)
    command = [sys.executable, "-m", "imagerouter", "serve", "--host", host, "--config", "c.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"can't listen on {host}: " in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(FAST)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [sys.executable, "-m", "imagerouter", "serve", "--port", port, "--config", "c.yaml"]
        ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"can't listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_uvicorn_serves_the_same_application(tmp_path: Path) -> None:
    (tmp_path / "imagerouter.yaml").write_text(FAST)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "--factory", "imagerouter.app:create_app", "--port", str(port)]
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        for line in server.stderr:
            if "Uvicorn running" in line:
                break
        url = f"http://127.0.0.1:{port}"
        while httpx.get(f"{url}/health/ready").status_code != 200:
            pass
        answer = httpx.post(f"{url}/v1/images/generations", json={"prompt": "x"}).json()
        assert base64.b64decode(answer["data"][0]["b64_json"]).startswith(b"\x89PNG")
    finally:
        server.terminate()
        server.communicate(timeout=30)
