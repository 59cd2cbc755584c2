"""Starting, stopping and serving, as a process manager sees it."""

import base64
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

SLOW = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', step_seconds: 0.1}}"
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
