"""A third party's adapter is built, installed and served, as a stranger would do it."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from imagerouter import Image
from imagerouter.testing import decode

EXAMPLE = Path(__file__).parents[1] / "examples" / "custom_provider"
READ_REGISTRY = """
import json
from imagerouter.registry import installed
found = installed().provider_class("gradient")
print(json.dumps([installed().names_from("imagerouter-gradient"), found.__name__, found.__module__]))
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of a process in which the example is installed."""
    pytest.importorskip("hatchling", reason="building the example needs hatchling")
    folder = tmp_path_factory.mktemp("custom_provider")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=EXAMPLE, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "installed")
    return os.environ | {"PYTHONPATH": str(folder / "installed"), "PYTHONDONTWRITEBYTECODE": "1"}


def run(environment, *arguments):
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd="/", check=True, capture_output=True, text=True
    ).stdout


def test_it_is_found_by_its_entry_point(environment):
    found = json.loads(run(environment, "-c", READ_REGISTRY))
    assert found == [["gradient"], "GradientProvider", "imagerouter_gradient"]


def test_its_own_tests_pass_and_they_are_the_contract(environment):
    said = run(environment, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE))
    assert " passed" in said
    assert "failed" not in said


@pytest.fixture
def address(environment, tmp_path):
    """The address of a server, in a process of its own, that has the example as its only provider."""
    config = tmp_path / "gradients.yaml"
    yaml = (EXAMPLE / "README.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0]
    config.write_text(yaml + "server: {port: 0, log_format: json}\n", encoding="utf-8")
    command = [sys.executable, "-m", "imagerouter", "serve", "--config", str(config)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            seen = {}
            while not seen.keys() >= {"server.listening", "provider.ready"}:
                event = json.loads(process.stderr.readline())
                seen[event["event"]] = event
            yield seen["server.listening"]["url"]
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def test_it_is_served(address):
    body = {"model": "gradient", "prompt": "dawn", "size": "96x64", "seed": 7, "steps": 5}
    reply = httpx.post(f"{address}/v1/images/generations", json=body, timeout=60)
    assert reply.status_code == 200, reply.text
    answer = reply.json()
    assert decode(Image(b64=answer["data"][0]["b64_json"].encode())).size == (96, 64)
    assert answer["imagerouter"]["provider"] == "gradients"
    assert answer["imagerouter"]["ignored"] == ["steps"]
    assert [model["id"] for model in httpx.get(f"{address}/v1/models").json()["data"]] == ["gradient"]
