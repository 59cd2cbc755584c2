"""Schemathesis against the server as people run it: no defect, no undocumented answer, no hang.

    IMAGEROUTER_LIVE_SCHEMATHESIS=…/bin/schemathesis   where it is, if not on the PATH; best in a venv of its own
    IMAGEROUTER_LIVE_EXAMPLES=200                      for each operation; by default 20

Two of its checks are left out. A body may be right in each field and still be refused, for a picture that is none or a
size that no model draws (`positive_data_acceptance`). And more is taken than is described: other dialects' shapes, and
in forms every text that can be read as what is meant (`negative_data_rejection`).
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

SCHEMATHESIS = shutil.which(os.environ.get("IMAGEROUTER_LIVE_SCHEMATHESIS", "schemathesis"))
EXAMPLES = os.environ.get("IMAGEROUTER_LIVE_EXAMPLES", "20")
pytestmark = pytest.mark.skipif(SCHEMATHESIS is None, reason="schemathesis is not installed")

FAKE = "type: 'imagerouter.testing:FakeProvider', steps: 1"
FLEET = f"""
providers:
  steady: {{{FAKE}}}
  shaky: {{{FAKE}, fail: GenerationError, fail_times: 20}}
limits: {{max_body: 2MB, max_n: 4, max_side: 2048, queue_timeout: 5}}
results: {{url: results}}
"""
GUARDED = FLEET + "keys: {alice: {secret: secret-of-alice}}\nserver: {admin_key: admins-secret}\n"

SETTINGS = """
hooks = "hooks.py"
request-timeout = 10

[checks]
positive_data_acceptance.enabled = false
negative_data_rejection.enabled = false
# A request may insist on the provider that fails: these tell so, and any other is a defect.
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 502, 503, 504]
"""
HOOKS = """
import schemathesis
from hypothesis import strategies as st

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000"
    "000c49444154789c63f8dfa00000042101a04dbf32900000000049454e44ae426082"
)
schemathesis.openapi.format("binary", st.just(PIXEL) | st.binary(max_size=200))
"""


@contextmanager
def serving(home: Path, config: str) -> Iterator[str]:
    """The address of a server, a process of its own whose log is a file: nobody reads a pipe meanwhile."""
    (home / "imagerouter.yaml").write_text(config)
    command = [sys.executable, "-m", "imagerouter", "serve", "--port", "0", "--config", "imagerouter.yaml"]
    with (home / "log").open("w") as log, subprocess.Popen(command, stderr=log, cwd=home) as server:
        try:
            while (found := re.search(r'"url": "(http[^"]+)"', (home / "log").read_text())) is None:
                assert server.poll() is None, (home / "log").read_text()
                time.sleep(0.1)
            yield found[1]
        finally:
            server.terminate()


@pytest.fixture
def schemathesis(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """``schemathesis("YAML", *options)`` runs it against such a server."""
    (tmp_path / "schemathesis.toml").write_text(SETTINGS)
    (tmp_path / "hooks.py").write_text(HOOKS)
    with ExitStack() as stack:

        def run(config: str, *options: str) -> None:
            document = f"{stack.enter_context(serving(tmp_path, config))}/docs/openapi.json"
            command = [str(SCHEMATHESIS), "--no-color", "run", document, "-n", EXAMPLES, "--seed", "1", *options]
            ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            print(ran.stdout[-20_000:], ran.stderr)
            assert ran.returncode == 0

        yield run


def test_every_answer_is_one_that_the_document_describes(schemathesis: Callable[..., None]) -> None:
    schemathesis(FLEET, "--max-response-time", "8")


def test_so_is_every_answer_to_the_admin(schemathesis: Callable[..., None]) -> None:
    schemathesis(GUARDED, "-H", "authorization: Bearer admins-secret", "--max-response-time", "8")


def test_so_is_every_answer_to_those_without_a_key(schemathesis: Callable[..., None]) -> None:
    schemathesis(GUARDED, "--phases", "examples,coverage")
