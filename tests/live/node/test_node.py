"""Clients of Node against imagerouter: `make test-node`, or IMAGEROUTER_LIVE_NODE=node, which names Node itself."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from imagerouter.app.server import listening
from imagerouter.config.loader import load_text
from imagerouter.testing import FakeProvider

HERE = Path(__file__).parent
NEEDED = 22
"""What the clients need; npm silently installs older ones on an older Node."""
INSTALL_SECONDS, RUN_SECONDS = 300, 120
PATIENCE = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=1000")
FAKE = "type: 'imagerouter.testing:FakeProvider'"
CONFIG = f"""
server: {{port: 0}}
results: {{url: FOLDER}}
providers:
  fake: {{{FAKE}, models: [sdxl, org/flux.1]}}
  out_of_order: {{{FAKE}, models: [broken], fail: GenerationError}}
"""

pytestmark = pytest.mark.skipif("IMAGEROUTER_LIVE_NODE" not in os.environ, reason="IMAGEROUTER_LIVE_NODE names no Node")


@pytest.fixture
def node() -> str:
    """The path of a Node that is new enough."""
    name = os.environ["IMAGEROUTER_LIVE_NODE"]
    path = shutil.which(name)
    if path is None:
        pytest.skip("there is no Node here")
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").partition(".")[0]) < NEEDED:
        pytest.skip(f"Node is {version}, and the clients need {NEEDED} or newer")
    return path


@pytest.fixture
def installed(node: str, tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A folder with the clients and their test, and the environment in which ``npm`` runs on that Node."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("there is no npm here")
    for name in ("package.json", "clients.test.js"):
        shutil.copy(HERE / name, tmp_path)
    environment = {**os.environ, "PATH": os.pathsep.join([str(Path(node).parent), os.environ["PATH"]])}
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock", *PATIENCE]
    try:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm has not installed the clients within {INSTALL_SECONDS} seconds")
    if done.returncode:
        code = re.search(r"code (E\w+)", done.stderr)
        pytest.skip(f"npm can't install the clients: {code[1] if code else f'exit code {done.returncode}'}")
    return tmp_path, environment


async def test_clients_of_node_draw(node: str, installed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, environment = installed
    async with listening(load_text(CONFIG.replace("FOLDER", json.dumps(str(tmp_path / "pictures"))))) as server:
        await server.engine.fleet.settled()
        running = await asyncio.create_subprocess_exec(
            *(node, "--test", "--test-reporter=spec", "clients.test.js"),
            cwd=folder,
            env={**environment, "IMAGEROUTER_URL": server.url},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(RUN_SECONDS):
                told, _ = await running.communicate()
        finally:
            if running.returncode is None:
                running.kill()
        print(told.decode())
        assert running.returncode == 0
        fake = server.engine.fleet.members["fake"].provider
        assert isinstance(fake, FakeProvider)
        assert {request.model for request in fake.requests} == {"sdxl", "org/flux.1"}
