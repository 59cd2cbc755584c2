"""The commands on a stand-in for a server, as processes."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from tests.providers.a1111.fake import FakeA1111

from imagerouter.config.loader import discover
from imagerouter_a1111 import A1111Provider

Configured = Callable[..., Path]


@pytest.fixture
def configured(a1111: FakeA1111, tmp_path: Path) -> Configured:
    def write(models: str = "{}") -> Path:
        path = tmp_path / "imagerouter.yaml"
        path.write_text(f"providers: {{webui: {{type: a1111, base_url: '{a1111.url}'}}}}\nmodels: {models}\n")
        return path

    return write


async def start(folder: Path, *arguments: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "imagerouter",
        *map(str, arguments),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(folder: Path, *arguments: Any) -> tuple[int | None, str, str]:
    process = await start(folder, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_check_lists_the_checkpoints_that_the_server_has(configured: Configured, tmp_path: Path) -> None:
    code, out, err = await run(tmp_path, "check", configured())
    assert (code, err) == (0, "")
    (row,) = (line.split(maxsplit=4) for line in out.splitlines() if line.startswith("webui"))
    assert row[:4] == ["webui", "a1111", "yes", "3"]
    assert row[4].split(", ")[0] == "tinyA.safetensors"


WRONG = """\
providers:
  webui:
    type: a1111
    base_url: 127.0.0.1:7860
    dialect: froge
    keep_setings: false
    batch_size: 0
    models:
      fox: {checkpoint: tinyA.safetensors, module: [ae]}
"""


async def test_every_mistake_in_a_file_is_told_with_its_place_and_what_was_meant(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text(WRONG)
    code, out, err = await run(tmp_path, "check", "wrong.yaml")
    assert (code, out) == (2, "")
    told = dict(line.split(": ", 1) for line in err.splitlines())
    assert set(told) == {f"wrong.yaml:{place}" for place in ("4:15", "5:14", "6:5", "7:17", "9:44")}
    assert "dialect" in told["wrong.yaml:5:14"]
    assert "did you mean `forge`?" in told["wrong.yaml:5:14"]
    assert told["wrong.yaml:6:5"].endswith("keep_setings: unknown key; did you mean `keep_settings`?")
    assert told["wrong.yaml:9:44"].endswith("models.fox.module: unknown key; did you mean `modules`?")


async def test_check_tells_that_a_server_has_no_such_modules(configured: Configured, tmp_path: Path) -> None:
    target = "{provider: webui, checkpoint: tinyA.safetensors, modules: [ae.safetensors]}"
    code, _, err = await run(tmp_path, "check", configured(f"{{flux: {{targets: [{target}]}}}}"))
    assert code == 1
    assert err.startswith("models.flux: `webui` can't use `flux`: ")
    assert "ae.safetensors" in err


async def test_models_says_which_checkpoint_is_loaded(configured: Configured, tmp_path: Path) -> None:
    code, out, err = await run(tmp_path, "models", "-c", configured())
    assert (code, err) == (0, "")
    _, *rows = (line.split() for line in out.splitlines())
    assert [row[0] for row in rows] == ["tinyA", "tinyB", "tinyC"]
    assert [row[0] for row in rows if row[-1] == "webui"] == ["tinyA"]


async def test_pictures_are_drawn_from_the_command_line(
    configured: Configured, a1111: FakeA1111, tmp_path: Path
) -> None:
    asked = ["-m", "tinyB", "-n", "2", "--seed", "7", "--size", "72x64", "--steps", "2", "-o", "fox.png"]
    code, out, err = await run(tmp_path, "generate", "a fox", *asked, "-c", configured())
    assert (code, err) == (0, "")
    assert [line.split()[:4] for line in out.splitlines()] == [
        ["fox-1.png", "72x64", "seed", "7"],
        ["fox-2.png", "72x64", "seed", "8"],
    ]
    first, second = (Pillow.open(tmp_path / f"fox-{number}.png") for number in (1, 2))
    assert first.size == second.size == (72, 64)
    assert first.tobytes() != second.tobytes()
    assert first.info == {}
    (job,) = a1111.jobs
    assert (job.body["seed"], job.body["steps"]) == (7, 2)
    assert a1111.resident is not None
    assert a1111.resident.name == "tinyB"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
async def test_a_command_that_is_ended_interrupts_its_job(
    configured: Configured, a1111: FakeA1111, tmp_path: Path
) -> None:
    a1111.hold()
    process = await start(tmp_path, "generate", "a fox", "-m", "tinyA", "-c", configured())
    job = await a1111.held()
    process.send_signal(signal.SIGTERM)
    await process.communicate()
    assert process.returncode == 143
    assert a1111.interrupted == [job]


async def test_without_configuration_the_server_on_gradios_port_is_found(
    a1111: FakeA1111, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", a1111.url.rpartition(":")[2])
    found = (await discover()).providers["a1111"]
    assert (found.type, found.config.base_url) == ("a1111", a1111.url)
    assert await A1111Provider.discover() == {"a1111": {"base_url": a1111.url}}


async def test_no_server_is_looked_for_at_the_usual_ports_when_gradio_is_told_another(
    launch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = await launch()
    monkeypatch.setattr("imagerouter_a1111.provider.LOCAL_PORTS", (fake.url.rpartition(":")[2],))
    assert await A1111Provider.discover() == {}
    monkeypatch.delenv("GRADIO_SERVER_PORT")
    assert await A1111Provider.discover() == {"a1111": {"base_url": fake.url}}
