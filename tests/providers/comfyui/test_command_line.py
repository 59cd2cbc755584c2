"""The commands on a stand-in for a server, as processes."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

GRAPH = {
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny_a.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a fox", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 1,
            "steps": 2,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}},
}


@pytest.fixture
def configured(comfy, tmp_path):
    def write(models: str = "{}") -> Path:
        path = tmp_path / "imagerouter.yaml"
        path.write_text(f"providers: {{desk: {{type: comfyui, base_url: '{comfy.url}'}}}}\nmodels: {models}\n")
        (tmp_path / "portrait.json").write_text(json.dumps(GRAPH))
        return path

    return write


async def start(tmp_path, *arguments):
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "imagerouter",
        *map(str, arguments),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # A shell starts what runs in its background with SIGINT ignored, and the tests may run there.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


async def run(tmp_path, *arguments):
    process = await start(tmp_path, *arguments)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_inspect_shows_what_goes_where(configured, tmp_path):
    code, out, err = await run(tmp_path, "workflow", "inspect", "portrait.json", "-c", configured())
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "6.text (CLIPTextEncode)" in rows["prompt"]
    assert "3.steps (KSampler)" in rows["steps"]
    assert "1 to 10000; default 2" in rows["steps"]
    assert "no node loads a picture" in rows["images"]


async def test_inspect_speaks_json_too(configured, tmp_path):
    code, out, _ = await run(tmp_path, "workflow", "inspect", "portrait.json", "--json", "-c", configured())
    assert code == 0
    places = {row["parameter"]: row["places"] for row in json.loads(out)}
    assert places["seed"] == ["3.seed (KSampler)"]


async def test_inspect_says_what_is_wrong_with_a_file(configured, tmp_path):
    config = configured()
    broken = {**GRAPH, "8": {"class_type": "NoSuchNode", "inputs": {"samples": ["3", 0]}}}
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    _, out, _ = await run(tmp_path, "workflow", "inspect", "broken.json", "-c", config)
    assert "NoSuchNode" in out
    (tmp_path / "text.json").write_text("no json")
    code, _, err = await run(tmp_path, "workflow", "inspect", "text.json", "-c", config)
    assert code == 1
    assert "text.json can't be used: not JSON" in err


async def test_a_workflow_is_drawn_from_the_command_line(configured, tmp_path):
    config = configured("{portrait: {targets: [{provider: desk, workflow: portrait.json}]}}")
    code, out, err = await run(tmp_path, "generate", "a lighthouse", "-m", "portrait", "-o", "out.png", "-c", config)
    assert code == 0, err
    assert "64x64" in out
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


async def test_check_tells_what_keeps_a_workflow_from_being_used(configured, comfy, tmp_path):
    del comfy.classes["VAEDecode"]
    config = configured("{portrait: {targets: [{provider: desk, workflow: portrait.json}]}}")
    code, _, err = await run(tmp_path, "check", config)
    assert code == 1
    assert "models.portrait: `desk` can't use `portrait`" in err
    assert "VAEDecode" in err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
async def test_a_command_that_is_ended_stops_its_jobs(configured, comfy, tmp_path, sent, code):
    comfy.hold()
    process = await start(tmp_path, "generate", "a fox", "-m", "tiny_a", "-n", "2", "-c", configured())
    await comfy.running()
    await comfy.until(lambda: len(comfy.submitted) == 2)
    process.send_signal(sent)
    await process.communicate()
    assert process.returncode == code
    assert sorted(comfy.cancelled) == sorted(body["prompt_id"] for body in comfy.submitted)
