"""The server as people run it: a process of its own, started by the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from openai import OpenAI

Serve = Callable[..., "Process"]


STUCK = Path(__file__).with_name("stuck.py")


class Process:
    """A running ``imagerouter serve`` that has said where it listens."""

    def __init__(self, command: list[str], home: Path) -> None:
        environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "OMP_NUM_THREADS": "1"}
        self.popen = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=home, env=environment)
        self.log: list[dict[str, object]] = []
        self.url = str(self.wait_for("server.listening")["url"])
        self.sdk = OpenAI(base_url=f"{self.url}/v1", api_key="any", max_retries=0, timeout=120)

    def wait_for(self, event: str) -> dict[str, object]:
        """The log's entry of ``event``, which may have come already; fails if the process ends before."""
        for entry in self.log:
            if entry["event"] == event:
                return entry
        assert self.popen.stderr is not None
        for line in self.popen.stderr:
            self.log.append(json.loads(line) if line.startswith("{") else {"event": line})
            if self.log[-1]["event"] == event:
                return self.log[-1]
        raise AssertionError(f"the server ended without {event}: {self.log}")

    def ended(self) -> int:
        """The exit code, once the process has ended by itself."""
        self.popen.communicate(timeout=60)
        return self.popen.returncode

    def stop(self) -> None:
        self.sdk.close()
        self.popen.terminate()
        self.ended()


@contextmanager
def process(home: Path, config: str | None = None, *options: str) -> Iterator[Process]:
    command = [sys.executable, "-m", "imagerouter", "serve", "--port", "0", *options]
    # Importable there as `stuck`, as a user's own provider would be.
    (home / STUCK.name).write_text(STUCK.read_text())
    if config is not None:
        path = home / "imagerouter-test.yaml"
        path.write_text(config)
        command += ["--config", str(path)]
    running = Process(command, home)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """``serve("YAML")`` gives a `Process`."""
    with ExitStack() as stack:
        yield lambda config=None, *options: stack.enter_context(process(tmp_path, config, *options))


@pytest.fixture(scope="session")
def builtin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """The server as a newcomer gets it: no configuration, the real built-in model."""
    with process(tmp_path_factory.mktemp("home")) as running:
        running.wait_for("provider.ready")
        yield running
