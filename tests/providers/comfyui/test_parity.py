"""Same seed, same picture: what is declared of a server, and the graphs that make it so."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.providers.comfyui.replay import desk
from tests.providers.comfyui.shelf import ask, build, inventory, templates
from tests.providers.comfyui.tapes import TAPES, comfy_tape

from imagerouter import Operation, Parity, Reproducible, Tier
from imagerouter.testing import Response
from imagerouter_comfyui.parity import Host, host_of

SD15, XL = "v1-5-pruned-emaonly.safetensors", "XL/juggernautXL_v9.safetensors"
LINES = [json.loads(line) for line in (TAPES / "info.jsonl").read_text(encoding="utf-8").splitlines()]
STATS: dict[str, Any] = next(line["response"] for line in LINES if line["path"] == "/system_stats")
STATS_PATH = ("GET", "/system_stats")


def stats(device: str, *arguments: str) -> dict[str, Any]:
    """What the recorded server would have said on another machine."""
    return {"system": {**STATS["system"], "argv": ["main.py", *arguments]}, "devices": [{"type": device}]}


def declared(host: Host, **config: Any) -> dict[str, Reproducible | None]:
    shelf = templates(replace(inventory(), host=host), **config)
    return {name: template.model.parity for name, template in shelf.items()}


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (STATS, Host("cpu", "fp32")),
        (stats("cuda"), Host("cuda", "fp16")),
        (stats("cuda", "--force-fp32"), Host("cuda", "fp32")),
        (stats("cuda", "--listen", "--fp32-unet"), Host("cuda", "fp32")),
        (stats("cuda", "--bf16-unet"), Host("cuda", "bf16")),
        (stats("cuda", "--fp8_e4m3fn-unet"), Host("cuda", "")),
        (stats("xpu"), Host("xpu", "")),
        ({"devices": [{"type": "cuda"}]}, Host("cuda", "")),
        ({"system": {}, "devices": []}, Host()),
        (None, Host()),
    ],
)
def test_a_server_tells_what_it_computes_on_and_in(told, expected):
    assert host_of(told) == expected


@pytest.mark.parametrize(
    ("answer", "dtype", "tier"),
    [
        (STATS, "fp32", None),
        (stats("cuda"), "fp16", Tier.NONE),
        (Response(status=500), "", Tier.NONE),
    ],
)
async def test_noise_of_steps_is_anybodys_only_where_the_processor_draws(answer, dtype, tier):
    async with comfy_tape("txt2img_then_cached", answers={STATS_PATH: answer}) as tape, desk(tape) as provider:
        found = {model.id: model.parity for model in await provider.models()}
        assert found["tiny_inpaint.ckpt"] is None
        known = found["tiny_a.ckpt"]
        assert known is not None
        assert (known.profile, known.dtype) == ("sd1", dtype)
        assert known.tiers.get("sampler.euler_ancestral") == tier
        assert "sampler.dpmpp_sde" not in known.tiers


def test_checkpoints_of_the_compared_families_are_declared_and_nothing_else():
    found = declared(Host("cpu", "fp32"))
    assert {name: parity.profile for name, parity in found.items() if parity is not None} == {
        SD15: "sd1",
        "v2-1_768-ema-pruned.safetensors": "sd2",
        XL: "sdxl",
        "sd_xl_turbo_1.0_fp16.safetensors": "sdxl",
    }


def test_an_entry_with_its_own_vae_says_so_and_one_of_several_files_is_no_checkpoint():
    vae = "vae-ft-mse-840000-ema-pruned.safetensors"
    models = {"soft": {"checkpoint": SD15, "vae": vae}, "parts": {"diffusion_model": "sd15_unet.safetensors"}}
    found = declared(Host("cpu", "fp32"), models=models, checkpoints=False)
    assert found == {"soft": Reproducible(profile="sd1", dtype="fp32", vae=vae), "parts": None}


@pytest.mark.parametrize("parity", Parity)
def test_the_graph_is_the_same_whatever_is_asked_for(parity):
    """ComfyUI's own way is the canonical one: prompts go as they are, too, whatever they mean elsewhere."""
    template, prompt = templates()[SD15], r"a (red:1.2) \(fox\) [x] AND BREAK <lora:a:1>"
    graph = build(template, ask(template, prompt=prompt, parity=parity, clip_skip=2)).graph
    assert graph == build(template, ask(template, prompt=prompt, clip_skip=2)).graph
    assert graph["clip_skip"]["inputs"]["stop_at_clip_layer"] == -2
    assert graph["positive"]["inputs"]["text"] == prompt
    assert graph["start"]["inputs"]["batch_size"] == 1
    assert graph["sampler"]["inputs"]["denoise"] == 1.0


def test_a_strength_is_the_part_of_the_schedule_that_is_run():
    template = templates()[SD15]
    graph = build(template, ask(template, Operation.EDIT, strength=0.4, steps=8)).graph
    assert (graph["sampler"]["inputs"]["denoise"], graph["sampler"]["inputs"]["steps"]) == (0.4, 8)


def test_ddim_comes_with_its_own_schedule_unless_another_is_asked_for():
    template = templates()[SD15]
    for asked, expected in ((None, "ddim_uniform"), ("karras", "karras")):
        built = build(template, ask(template, sampler="ddim", scheduler=asked))
        assert built.applied["scheduler"] == built.graph["sampler"]["inputs"]["scheduler"] == expected
