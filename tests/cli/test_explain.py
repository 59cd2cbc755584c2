import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from imagerouter.cli.tables import lasting

CONFIG = """
providers:
  desk: {type: "imagerouter.testing:FakeProvider", models: [sdxl], parameters: [width, height, steps]}
  cloud: {type: "imagerouter.testing:FakeProvider", models: [sdxl], price: 0.04}
  attic: {type: "imagerouter.testing:FakeProvider", models: [sdxl], operations: [edit]}
rules:
  - {name: save money, avoid: cloud}
"""


def lines(output: bytes) -> list[str]:
    return [" ".join(line.split()) for line in output.decode().splitlines()]


def test_people_are_told_who_would_draw_it_and_why_others_cannot(run: Any, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(CONFIG)
    done = run("explain", "--model", "sdxl", "--size", "1536x1024", "-P", "cfg_scale=4.5", "--config", "fleet.yaml")
    assert (done.returncode, done.stderr) == (0, b"")
    assert lines(done.stdout) == [
        "sdxl",
        "target in all waiting loading drawing remarks",
        "1 desk/sdxl 17 s 0 s 15 s 1.8 s ignores cfg_scale; by save money",
        "2 cloud/sdxl 17 s 0 s 15 s 1.8 s only if none before it can; $0.04; by save money",
        "can't because",
        "attic/sdxl `sdxl` can't do text to image",
    ]


def test_what_nothing_can_serve_is_exit_code_1_with_the_answer_that_drawing_gets(run: Any, server: str) -> None:
    options = ("--steps", "160", "--provider-only", "desk", "-P", "provider.sort=latency", "-n", "2", "--json")
    done = run("explain", *options, "--server", server)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["model"], answer["n"], answer["targets"]) == (1, "alpha", 2, [])
    assert answer["refusals"][0]["param"] == "steps"
    assert lines(done.stderr) == [f"Nothing can serve it, the answer is HTTP 400: {answer['would_answer']['message']}"]


def test_top_prints_every_provider_once_where_nobody_watches(run: Any, server: str) -> None:
    done = run("top", "--once", "--server", server)
    assert (done.returncode, done.stderr) == (0, b"")
    head, desk, totals = lines(done.stdout)
    assert head == "provider state loaded running waiting others drawing loading remarks"
    assert desk.startswith("desk ready ")
    assert totals == "1 of 1 ready, 0 running, 0 of 200 waiting"


@pytest.mark.skipif(sys.platform == "win32", reason="has no pseudo-terminals")
@pytest.mark.parametrize("ending", ["q", "Ctrl-C"])
def test_top_goes_on_until_it_is_ended_by_a_key(server: str, tmp_path: Path, ending: str) -> None:
    import pty

    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "imagerouter", "top", "--server", server, "--interval", "0.1"]
    variables = {**os.environ, "HOME": str(tmp_path), "TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    with (
        FileIO(ours, "r+") as terminal,
        subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=variables) as process,
    ):
        os.close(theirs)
        seen = b""
        while seen.count(b"desk") < 2:
            seen += terminal.read(4096)
        if ending == "q":
            terminal.write(b"q")
        else:
            process.send_signal(signal.SIGINT)
        with suppress(OSError):  # Linux's way to say that the other end is closed
            while terminal.read(4096):
                pass
        assert process.stderr is not None
        assert (process.wait(timeout=60), process.stderr.read()) == (0, b"")
    assert b"1 of 1 ready" in seen


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.05, "0.05 s"),
        (1.76, "1.8 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.9, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3780, "1 h 3 min"),
    ],
)
def test_durations_are_written_for_people(seconds: float, words: str) -> None:
    assert lasting(seconds) == words
