"""Graphs of our own: for every family and request one that ComfyUI takes, and that does what was asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.comfyui.shelf import FILES, ask, build, classes, complaints, node, templates

from imagerouter import Hires, Lora, Operation
from imagerouter_comfyui.families import FAMILIES

SHELF = templates()
SD15 = SHELF["v1-5-pruned-emaonly.safetensors"]
FLUX = SHELF["flux1-dev.safetensors"]
FLUX2 = SHELF["flux2_dev_fp8mixed.safetensors"]


def test_the_shelf_holds_every_family() -> None:
    assert {template.kit.traits.title for template in SHELF.values()} >= {
        family.traits.title for family in FAMILIES.values()
    }
    assert SHELF.keys() == {*FILES["checkpoints"], *FILES["diffusion_models"]}


@pytest.mark.parametrize("name", SHELF)
@pytest.mark.parametrize("operation", Operation)
def test_the_server_accepts_what_a_model_can_do(name: str, operation: Operation) -> None:
    template = SHELF[name]
    if operation in template.model.operations:
        assert complaints(build(template, ask(template, operation))) == []


@pytest.mark.parametrize("name", SHELF)
def test_declared_defaults_fit_and_are_what_is_applied(name: str) -> None:
    template = SHELF[name]
    parameters = template.model.parameters
    operation = next(operation for operation in Operation if operation in template.model.operations)
    applied = build(template, ask(template, operation), (template.kit.width, template.kit.height)).applied
    for parameter, limits in parameters.items():
        if limits.default is not None:
            assert limits.refusal(limits.default) is None, parameter
            if parameter in applied:
                assert applied[parameter] == limits.default, parameter
    assert {"width", "height", "steps", "sampler", "seed"} <= applied.keys() <= parameters.keys()


REQUESTS: dict[str, st.SearchStrategy[Any]] = {
    "width": st.none() | st.integers(16, 4096),
    "height": st.none() | st.integers(16, 4096),
    "steps": st.none() | st.integers(1, 200),
    "cfg_scale": st.none() | st.floats(0, 100),
    "guidance": st.none() | st.floats(0, 100),
    "strength": st.none() | st.floats(0, 1),
    "clip_skip": st.none() | st.integers(1, 12),
    "seed": st.integers(0, 2**32 - 1),
    "negative_prompt": st.none() | st.text(max_size=5),
    "sampler": st.sampled_from([None, "euler", "dpmpp_2m"]),
    "vae": st.sampled_from([None, "ae.safetensors"]),
    "loras": st.lists(st.builds(Lora, st.sampled_from(["ink", "style/oil", "detail"]), st.floats(-2, 2))).map(tuple),
    "hires": st.none()
    | st.builds(
        Hires,
        scale=st.floats(0.1, 4),
        steps=st.none() | st.integers(1, 99),
        strength=st.none() | st.floats(0, 1),
        upscaler=st.sampled_from([None, "Latent (bicubic)", "Lanczos", "4x-UltraSharp"]),
    ),
}


@settings(max_examples=150, deadline=None)
@given(
    name=st.sampled_from(sorted(SHELF)),
    operation=st.sampled_from(Operation),
    source=st.tuples(st.integers(1, 20000), st.integers(1, 20000)),
    values=st.fixed_dictionaries({}, optional=REQUESTS),
)
def test_whatever_is_asked_the_graph_is_valid_and_every_parameter_is_accounted_for(
    name: str, operation: Operation, source: tuple[int, int], values: dict[str, Any]
) -> None:
    template = SHELF[name]
    if operation not in template.model.operations:
        return
    request = ask(template, operation, **values)
    built = build(template, request, source)
    assert complaints(built) == []
    assert all(place[1] in built.graph[place[0]]["inputs"] for place in built.places)
    assert built.ignored <= request.parameters
    honoured = request.parameters - built.ignored
    assert honoured - {"images", "mask", "clip_skip", "negative_prompt"} <= built.applied.keys()
    assert honoured <= template.model.parameters.keys()


@settings(max_examples=60, deadline=None)
@given(width=st.integers(16, 2048), height=st.integers(16, 2048), name=st.sampled_from(sorted(SHELF)))
def test_exactly_the_asked_size_is_cut_out_of_a_canvas_that_the_model_can_draw(
    width: int, height: int, name: str
) -> None:
    template = SHELF[name]
    if Operation.GENERATE not in template.model.operations:
        return
    built = build(template, ask(template, width=width, height=height))
    canvas = built.graph["start"]["inputs"]
    multiple = template.model.size_multiple
    assert canvas["width"] % multiple == canvas["height"] % multiple == 0
    assert 0 <= canvas["width"] - width < multiple
    assert 0 <= canvas["height"] - height < multiple
    if "cropped" in built.graph:
        cut = node(built, "ImageCrop")
        assert (cut["width"], cut["height"]) == (width, height)
        assert cut["x"] + width <= canvas["width"]
    else:
        assert (canvas["width"], canvas["height"]) == (width, height)


def test_text_to_image_is_the_plain_graph() -> None:
    built = build(SD15, ask(SD15, negative_prompt="blurry", steps=12, cfg_scale=5.5, width=512, height=768))
    assert classes(built) == [
        "CheckpointLoaderSimple",
        "CLIPTextEncode",
        "CLIPTextEncode",
        "EmptyLatentImage",
        "KSampler",
        "VAEDecode",
        "SaveImage",
    ]
    assert built.graph["positive"]["inputs"]["text"] == "a fox"
    assert built.graph["negative"]["inputs"]["text"] == "blurry"
    sampler = node(built, "KSampler")
    assert (sampler["seed"], sampler["steps"], sampler["cfg"], sampler["denoise"]) == (7, 12, 5.5, 1.0)
    assert (sampler["sampler_name"], sampler["scheduler"]) == ("dpmpp_2m", "karras")
    assert node(built, "SaveImage")["filename_prefix"] == "imagerouter/abc_0"
    assert built.outputs == ("save",)


def test_the_servers_complaints_can_be_told_in_the_clients_words() -> None:
    places = build(SD15, ask(SD15, loras=(Lora("ink", 0.5),))).places
    assert places["sampler", "steps"] == "steps"
    assert places["sampler", "cfg"] == "cfg_scale"
    assert places["sampler", "sampler_name"] == "sampler"
    assert places["start", "width"] == "width"
    assert places["checkpoint", "ckpt_name"] == "model"
    assert places["lora_0", "lora_name"] == "loras[0].name"
    assert places["lora_0", "strength_clip"] == "loras[0].weight"


def test_a_negative_prompt_counts_for_nothing_where_nothing_is_guided() -> None:
    built = build(SD15, ask(SD15, negative_prompt="blurry", cfg_scale=1.0))
    assert built.ignored == {"negative_prompt"}
    assert "negative_prompt" not in built.applied


@pytest.mark.parametrize("name", ["flux1-dev.safetensors", "z_image_turbo_bf16.safetensors"])
def test_distilled_models_declare_no_classic_guidance(name: str) -> None:
    template = SHELF[name]
    assert not {"cfg_scale", "negative_prompt"} & template.model.parameters.keys()
    built = build(template, ask(template, cfg_scale=5.0, negative_prompt="blurry"))
    assert node(built, "KSampler")["cfg"] == 1.0
    assert built.ignored == {"cfg_scale", "negative_prompt"}


def test_flux_dev_has_distilled_guidance_and_schnell_has_none() -> None:
    assert node(build(FLUX, ask(FLUX, guidance=2.5)), "FluxGuidance")["guidance"] == 2.5
    schnell = SHELF["flux1-schnell.safetensors"]
    assert "guidance" not in schnell.model.parameters
    assert schnell.model.parameters["steps"].default == 4


def test_a_diffusion_model_gets_its_text_encoders_and_vae() -> None:
    built = build(FLUX, ask(FLUX))
    assert node(built, "DualCLIPLoader") == {
        "clip_name1": "clip_l.safetensors",
        "clip_name2": "t5xxl_fp16.safetensors",
        "type": "flux",
    }
    assert node(built, "VAELoader") == {"vae_name": "ae.safetensors"}
    assert FLUX.files == {
        "flux1-dev.safetensors",
        "clip_l.safetensors",
        "t5xxl_fp16.safetensors",
        "ae.safetensors",
    }


def test_flux_2_draws_on_its_own_schedule() -> None:
    built = build(FLUX2, ask(FLUX2, width=1000, height=600))
    schedule = node(built, "Flux2Scheduler")
    assert (schedule["width"], schedule["height"], schedule["steps"]) == (1008, 608, 20)
    assert "scheduler" not in FLUX2.model.parameters


def test_loras_are_put_on_one_after_the_other() -> None:
    built = build(SD15, ask(SD15, loras=(Lora("ink", 0.5), Lora("style\\oil.safetensors", -1.0))))
    first, second = built.graph["lora_0"]["inputs"], built.graph["lora_1"]["inputs"]
    assert (first["lora_name"], first["strength_model"]) == ("style/ink.safetensors", 0.5)
    assert (second["lora_name"], second["model"], second["clip"]) == (
        "style/oil.safetensors",
        ["lora_0", 0],
        ["lora_0", 1],
    )
    assert built.applied["loras"][0] == {"name": "style/ink.safetensors", "weight": 0.5}


def test_a_diffusion_model_takes_loras_without_its_text_encoders() -> None:
    assert "LoraLoaderModelOnly" in classes(build(FLUX, ask(FLUX, loras=(Lora("ink"),))))


def test_another_vae_replaces_the_models_own() -> None:
    built = build(FLUX, ask(FLUX, vae="sd3_vae"))
    assert node(built, "VAELoader") == {"vae_name": "sd3_vae.safetensors"}
    assert node(built, "VAEDecode")["vae"] == ["vae", 0]


def test_clip_skip_counts_from_the_last_layer() -> None:
    assert node(build(SD15, ask(SD15, clip_skip=2)), "CLIPSetLastLayer")["stop_at_clip_layer"] == -2
    assert "CLIPSetLastLayer" not in classes(build(SD15, ask(SD15, clip_skip=1)))
    assert build(FLUX, ask(FLUX, clip_skip=2)).ignored == {"clip_skip"}


def test_a_second_pass_enlarges_the_unfinished_picture() -> None:
    built = build(SD15, ask(SD15, width=500, height=400, hires=Hires(scale=1.5, steps=8)))
    enlarged = node(built, "LatentUpscale")
    assert (enlarged["width"], enlarged["height"]) == (752, 600)
    again = built.graph["hires_sampler"]["inputs"]
    assert (again["steps"], again["denoise"], again["seed"]) == (8, 0.5, 7)
    assert (built.applied["width"], built.applied["height"]) == (750, 600)
    assert built.applied["hires"] == {"scale": 1.5, "steps": 8, "strength": 0.5, "upscaler": "latent"}


def test_a_second_pass_can_use_an_upscale_model() -> None:
    built = build(SD15, ask(SD15, hires=Hires(scale=2, upscaler="4x-ultrasharp")))
    assert node(built, "UpscaleModelLoader") == {"model_name": "4x-UltraSharp.pth"}
    scaled = built.graph["hires_scaled"]["inputs"]
    assert (scaled["width"], scaled["height"]) == (1024, 1024)


def test_a_second_pass_is_for_pictures_from_text() -> None:
    assert build(SD15, ask(SD15, Operation.EDIT, hires=Hires())).ignored == {"hires"}


def test_controlnets_are_applied_in_their_order() -> None:
    wanted = [{"name": "canny", "image": "…", "strength": 0.6, "end": 0.5}, {"name": "depth", "image": "…"}]
    built = build(SD15, ask(SD15, options={"controlnet": wanted}))
    assert complaints(built) == []
    first, second = built.graph["control_0_applied"]["inputs"], built.graph["control_1_applied"]["inputs"]
    assert (first["strength"], first["start_percent"], first["end_percent"]) == (0.6, 0.0, 0.5)
    assert (second["positive"], second["negative"]) == (["control_0_applied", 0], ["control_0_applied", 1])
    assert node(built, "KSampler")["positive"] == ["control_1_applied", 0]


def test_the_inputs_of_a_controlnet_are_told_in_the_clients_words() -> None:
    item = {"name": "depth", "image": "…", "strength": 0.5, "start": 0.1, "end": 0.9}
    places = build(SD15, ask(SD15, options={"controlnet": [item, item]})).places
    for index in (0, 1):
        told = {parameter for (node_id, _), parameter in places.items() if node_id.startswith(f"control_{index}")}
        assert told == {f"provider.options.controlnet[{index}].{key}" for key in item}


@pytest.mark.parametrize("name", SHELF)
def test_what_counts_steps_are_the_samplers_that_a_latent_is_linked_to(name: str) -> None:
    """`KSamplerSelect` and its like are called samplers too, and take no step."""
    template = SHELF[name]
    for operation in template.model.operations:
        hires = Hires() if operation is Operation.GENERATE and template.kit.has_hires else None
        graph = build(template, ask(template, operation, hires=hires)).graph
        linked = [node for node in graph.values() if isinstance(node["inputs"].get("latent_image"), list)]
        assert len(linked) == (2 if hires else 1)
        assert all("Sampler" in node["class_type"] for node in linked)


@pytest.mark.parametrize("name", SHELF)
def test_previews_are_declared_and_never_called_ignored(name: str) -> None:
    template = SHELF[name]
    previews = template.model.parameters["partial_images"]
    assert (previews.min, previews.max, previews.default) == (0, 3, 0)
    for operation in template.model.operations:
        assert "partial_images" not in build(template, ask(template, operation, partial_images=2)).ignored
