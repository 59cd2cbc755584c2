import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from imagerouter import cli

CONFIG = """
providers:
  desk: {type: "imagerouter.testing:FakeProvider", models: [alpha, beta]}
models:
  alpha: {aliases: [dall-e-3]}
server: {port: 0, log_format: json}
"""

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


def environment(home: Path) -> dict[str, str]:
    """No configuration or server of the person who runs the tests takes part."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("IMAGEROUTER_")}
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home), "XDG_STATE_HOME": str(home)}


@pytest.fixture
def process(tmp_path: Path) -> Run:
    """Run ``imagerouter`` with these arguments in an empty folder that holds ``imagerouter.yaml``."""
    (tmp_path / "imagerouter.yaml").write_text(CONFIG)

    def _run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
        return subprocess.run(
            [sys.executable, "-m", "imagerouter", *arguments],
            cwd=tmp_path,
            env={**environment(tmp_path), **variables},
            capture_output=True,
            check=False,
            timeout=120,
        )

    return _run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The same without a process of its own, whose imports would take longer than what the command does."""
    (tmp_path / "imagerouter.yaml").write_text(CONFIG)

    def _run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[bytes]":
        cleared = dict.fromkeys(name for name in os.environ if name.startswith("IMAGEROUTER_"))
        logging = structlog.get_config()
        with (
            chdir(tmp_path),
            CliRunner().isolation(env={**cleared, **environment(tmp_path), **variables}) as (out, err, _),
            pytest.MonkeyPatch.context() as patched,
        ):
            patched.setattr(sys, "argv", ["imagerouter", *arguments])
            try:
                code = cli._run()
            finally:
                structlog.configure(**logging)
            return subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue())

    return _run


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of ``imagerouter serve`` in a process of its own."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "imagerouter.yaml").write_text(CONFIG)
    with serving(folder) as url:
        yield url


@pytest.fixture
def administered(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of such a process that can be reloaded, and its file."""
    path = tmp_path / "imagerouter.yaml"
    path.write_text(CONFIG.replace("port: 0", "port: 0, admin_key: root-secret"))
    with serving(tmp_path) as url:
        yield url, path


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "imagerouter", "serve", "--log-level", "info"]
    with subprocess.Popen(command, cwd=folder, env=environment(folder), stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            event = json.loads(line)
            if event["event"] == "server.listening":
                yield event["url"]
                break
        process.send_signal(signal.SIGTERM)
        *_, last = process.stderr
        assert json.loads(last)["event"] == "server.stopped"
    assert process.returncode == 0
