"""The automatic rule: what each parameter is written into."""

from __future__ import annotations

from tests.providers.comfyui.bind_graphs import (
    base_and_refiner,
    bound,
    classes,
    draw,
    flux_like,
    image_to_image,
    inpainting,
    node,
    places,
    sampler,
    spec,
    text_to_image,
    two_passes,
    value,
    with_controlnet,
)

from imagerouter import Operation
from imagerouter_comfyui.bind import resolve, table
from imagerouter_comfyui.nodes import parse


def test_the_parameters_of_a_plain_workflow_are_found() -> None:
    workflow = bound(text_to_image())
    assert places(workflow, "prompt") == ["6.text"]
    assert places(workflow, "negative_prompt") == ["7.text"]
    assert places(workflow, "width") == ["5.width"]
    assert [places(workflow, name) for name in ("seed", "steps", "cfg_scale", "sampler", "scheduler")] == [
        ["3.seed"],
        ["3.steps"],
        ["3.cfg"],
        ["3.sampler_name"],
        ["3.scheduler"],
    ]


def test_limits_come_from_the_node_classes_and_defaults_from_the_workflow() -> None:
    model = bound(text_to_image()).model
    steps, seed, sampler_names = (model.parameters[name] for name in ("steps", "seed", "sampler"))
    assert (steps.min, steps.max, steps.default) == (1, 10000, 20)
    assert (seed.min, seed.max) == (0, 2**32 - 1)
    assert sampler_names.default == "euler"
    assert "dpmpp_2m" in (sampler_names.values or ())
    assert (model.width, model.height, model.size_multiple) == (512, 768, 8)
    assert model.operations == {Operation.GENERATE}


def test_a_default_that_is_no_number_is_none() -> None:
    graph = text_to_image()
    graph["3"]["inputs"]["steps"] = graph["5"]["inputs"]["width"] = "20"
    model = bound(graph).model
    assert (model.parameters["steps"].default, model.width) == (None, 1024)


def test_values_are_written_where_they_are_used_even_over_links() -> None:
    workflow = bound(flux_like())
    built = draw(workflow, width=1024, height=512, steps=9, guidance=2.0)
    assert value(built, "46.width") == value(built, "48.width") == 1024
    assert value(built, "48.height") == 512
    assert (value(built, "44.steps"), value(built, "41.guidance"), value(built, "45.noise_seed")) == (9, 2.0, 5)


def test_a_size_that_is_computed_has_its_primitive_as_default() -> None:
    model = bound(flux_like()).model
    assert (model.width, model.height, model.size_multiple) == (768, 1024, 16)


def test_distilled_guidance_is_not_classifier_free_guidance() -> None:
    workflow = bound(flux_like())
    assert places(workflow, "guidance") == ["41.guidance"]
    assert "cfg_scale" in workflow.unbound


def test_what_can_not_be_bound_is_listed_with_the_reason() -> None:
    workflow = bound(flux_like() | {"42": node("BasicGuider", model=["48", 0], conditioning=["41", 0])})
    assert workflow.unbound["negative_prompt"] == "the sampler takes no negative conditioning"
    assert workflow.unbound["images"] == "no node loads a picture"
    zeroed = text_to_image() | {"7": node("ConditioningZeroOut", conditioning=["6", 0])}
    assert bound(zeroed).unbound["negative_prompt"] == "the negative conditioning is zeroed out"
    shared = text_to_image() | {"3": sampler("5", negative=["6", 0])}
    assert bound(shared).unbound["negative_prompt"] == "it shares its text with the prompt"


def test_a_guider_with_both_conditionings_has_a_negative_prompt_and_a_scale() -> None:
    graph = flux_like() | {
        "7": node("CLIPTextEncode", text="", clip=["2", 0]),
        "42": node("CFGGuider", model=["48", 0], positive=["41", 0], negative=["7", 0], cfg=4.0),
    }
    workflow = bound(graph)
    assert places(workflow, "negative_prompt") == ["7.text"]
    assert places(workflow, "cfg_scale") == ["42.cfg"]


def test_a_node_with_two_conditionings_is_passed_by_the_name_of_its_output() -> None:
    workflow = bound(with_controlnet())
    assert (places(workflow, "prompt"), places(workflow, "negative_prompt")) == (["6.text"], ["7.text"])


def test_every_text_of_an_encoder_gets_the_prompt() -> None:
    graph = flux_like() | {"6": node("CLIPTextEncodeFlux", clip=["2", 0], clip_l="a", t5xxl="b", guidance=3.0)}
    graph["42"] = node("BasicGuider", model=["48", 0], conditioning=["6", 0])
    workflow = bound(graph)
    assert places(workflow, "prompt") == ["6.clip_l", "6.t5xxl"]
    assert places(workflow, "guidance") == ["6.guidance"]


def test_the_second_of_two_passes_keeps_its_own_settings() -> None:
    built = draw(bound(two_passes()), steps=30, cfg_scale=5.0, seed=5)
    assert (value(built, "3.steps"), value(built, "21.steps")) == (30, 12)
    assert (value(built, "3.cfg"), value(built, "21.cfg")) == (5.0, 5.0)
    assert (value(built, "3.seed"), value(built, "21.seed")) == (5, 5)
    assert value(built, "21.denoise") == 0.5


def test_the_second_of_two_passes_keeps_its_ratio_to_the_first() -> None:
    built = draw(bound(two_passes()), width=256, height=384)
    assert (value(built, "5.width"), value(built, "20.width")) == (256, 512)
    assert (value(built, "5.height"), value(built, "20.height")) == (384, 768)


def test_a_picture_that_is_enlarged_later_is_not_cropped() -> None:
    built = draw(bound(two_passes()), width=250, height=384)
    assert "ImageCrop" not in {given["class_type"] for given in built.graph.values()}
    assert built.applied["width"] == 256


def test_a_refiner_draws_the_same_thing() -> None:
    workflow = bound(base_and_refiner())
    assert places(workflow, "prompt") == ["6.text", "15.text"]
    assert places(workflow, "negative_prompt") == ["7.text", "16.text"]


def test_samplers_that_share_a_schedule_share_new_steps_in_the_same_proportion() -> None:
    built = draw(bound(base_and_refiner()), steps=50)
    assert (value(built, "3.steps"), value(built, "30.steps")) == (50, 50)
    assert (value(built, "3.end_at_step"), value(built, "30.start_at_step")) == (40, 40)
    assert (value(built, "3.start_at_step"), value(built, "30.end_at_step")) == (0, 10000)


def test_a_split_schedule_is_split_in_the_same_proportion() -> None:
    graph = flux_like()
    graph["60"] = node("SplitSigmas", sigmas=["44", 0], step=1)
    graph["47"]["inputs"]["sigmas"] = ["60", 0]
    built = draw(bound(graph), steps=8)
    assert (value(built, "44.steps"), value(built, "60.step")) == (8, 2)


def test_a_sampler_that_only_draws_a_hint_keeps_its_settings_but_not_its_noise() -> None:
    hint = {
        "50": sampler("51", steps=1, positive=["52", 0], negative=["52", 0]),
        "51": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "52": node("CLIPTextEncode", text="depth map", clip=["4", 1]),
        "53": node("VAEDecode", samples=["50", 0], vae=["4", 2]),
    }
    graph = with_controlnet() | hint
    graph["32"]["inputs"]["image"] = ["53", 0]
    built = draw(bound(graph), steps=30)
    assert (value(built, "3.steps"), value(built, "50.steps")) == (30, 1)
    assert (value(built, "6.text"), value(built, "52.text")) == ("a lighthouse", "depth map")
    assert value(built, "50.seed") == 5


def test_the_side_of_a_switch_that_is_off_does_not_count() -> None:
    graph = text_to_image() | {
        "17": node("CLIPTextEncode", text="off", clip=["4", 1]),
        "18": node("ComfySwitchNode", switch=["19", 0], on_false=["6", 0], on_true=["17", 0]),
        "19": node("PrimitiveInt", value=0),
        "3": sampler("5", positive=["18", 0]),
    }
    assert places(bound(graph), "prompt") == ["6.text"]


def test_a_workflow_that_draws_over_a_picture_can_only_edit() -> None:
    workflow = bound(image_to_image())
    assert workflow.model.operations == {Operation.EDIT}
    assert (places(workflow, "images"), places(workflow, "strength")) == (["10.image"], ["3.denoise"])
    assert workflow.model.parameters["strength"].default == 0.6
    assert "width" not in workflow.model.parameters


def test_a_picture_that_is_only_a_hint_is_optional_if_the_server_has_it() -> None:
    workflow = bound(with_controlnet())
    assert workflow.model.operations == {Operation.GENERATE, Operation.EDIT}
    assert value(draw(workflow), "31.image") == "example.png"
    graph = with_controlnet() | {"31": node("LoadImage", image="gone.png")}
    assert bound(graph).model.operations == {Operation.EDIT}


def test_an_edit_model_needs_its_first_picture_and_strength_means_nothing_to_it() -> None:
    graph = text_to_image() | {
        "10": node("LoadImage", image="example.png"),
        "11": node("LoadImage", image="example.png"),
        "6": node(
            "TextEncodeQwenImageEditPlus", clip=["4", 1], prompt="make it red", image1=["10", 0], image2=["11", 0]
        ),
    }
    workflow = bound(graph)
    assert workflow.model.operations == {Operation.EDIT}
    assert (places(workflow, "images"), workflow.needed) == (["10.image", "11.image"], 1)
    assert places(workflow, "prompt") == ["6.prompt"]
    assert workflow.unbound["strength"] == "the base sampler starts from noise, not from a picture"


def test_a_mask_comes_as_a_picture_of_its_own_or_in_the_alpha_of_the_image() -> None:
    white, alpha = bound(inpainting(by_alpha=False)), bound(inpainting(by_alpha=True))
    assert white.model.operations == alpha.model.operations == {Operation.INPAINT}
    assert (white.mask_as, places(white, "mask")) == ("white", ["12.image"])
    assert alpha.mask_as == "alpha"
    built = draw(white, {"images": ("in/a.png",), "mask": "in/m.png"})
    assert (value(built, "10.image"), value(built, "12.image"), value(built, "12.channel")) == (
        "in/a.png",
        "in/m.png",
        "red",
    )
    assert value(draw(alpha, {"images": ("in/a.png",)}), "10.image") == "in/a.png"


def test_the_node_that_most_work_goes_into_is_the_output() -> None:
    graph = two_passes() | {
        "70": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "71": node("SaveImage", filename_prefix="first", images=["70", 0]),
    }
    workflow = bound(graph)
    assert workflow.outputs == ("9",)
    assert "71 (SaveImage)" in workflow.notes[0]


def test_a_preview_is_the_output_only_if_nothing_is_saved() -> None:
    graph = text_to_image()
    graph["10"] = node("PreviewImage", images=["8", 0])
    assert bound(graph).outputs == ("9",)
    del graph["9"]
    assert bound(graph).outputs == ("10",)


def test_only_what_the_output_needs_is_sent() -> None:
    graph = two_passes() | {"70": node("VAEDecode", samples=["3", 0], vae=["4", 2])}
    graph["71"] = node("PreviewImage", images=["70", 0])
    assert {"70", "71"} & set(draw(bound(graph)).graph) == set()


def test_the_files_that_have_to_be_resident_are_those_of_the_loaders() -> None:
    assert bound(base_and_refiner()).files == {"tiny_a.safetensors", "tiny_b.safetensors"}
    assert "tiny_unet.safetensors" in bound(flux_like()).files


def test_the_table_says_where_and_why() -> None:
    rows = {row.parameter: row for row in table(bound(text_to_image()))}
    assert rows["seed"].places == ("3.seed (KSampler)",)
    assert (rows["steps"].source, rows["steps"].detail) == ("automatic", "1 to 10000; default 20")
    assert rows["output"].places == ("9 (SaveImage)",)
    assert rows["loras"].places == ("behind 4 (CheckpointLoaderSimple)",)
    assert (rows["mask"].places, rows["mask"].detail[:17]) == ((), "no node loads a m")


def test_a_node_that_has_another_service_draw_takes_the_prompt_itself() -> None:
    required = {
        "prompt": ["STRING", {"multiline": True}],
        "seed": ["INT", {"min": 0, "max": 2147483647}],
        "width": ["INT", {"min": 256, "max": 2048, "step": 32}],
        "height": ["INT", {"min": 256, "max": 2048, "step": 32}],
    }
    remote = parse("RemoteImage", {"input": {"required": required}, "output": ["IMAGE"]})
    graph = {
        "1": node("RemoteImage", prompt="a fox", seed=1, width=1024, height=1024),
        "9": node("SaveImage", filename_prefix="x", images=["1", 0]),
    }
    workflow = resolve("mine", graph, {**classes(), "RemoteImage": remote}, spec())
    assert [places(workflow, name) for name in ("prompt", "seed", "width")] == [["1.prompt"], ["1.seed"], ["1.width"]]
    assert workflow.unbound["steps"] == "no sampler leads to the output"
    assert workflow.model.size_multiple == 32
    assert value(draw(workflow, {"seed": 2**32 - 1}), "1.seed") == 2**31 - 1


def test_a_later_change_of_size_is_noted() -> None:
    assert bound(text_to_image()).notes == ()
    assert bound(two_passes()).notes[0].startswith("`width` and `height` are the first latent's")


def test_a_sampler_that_draws_a_first_latent_from_no_text_is_not_the_base() -> None:
    graph = text_to_image() | {
        "50": sampler("5", steps=1, positive=["52", 0], negative=["52", 0]),
        "52": node("ConditioningZeroOut", conditioning=["6", 0]),
        "53": node("VAEDecode", samples=["50", 0], vae=["4", 2]),
        "54": node("VAEEncode", pixels=["53", 0], vae=["4", 2]),
        "3": sampler("54", steps=20),
    }
    assert places(bound(graph), "steps") == ["3.steps"]
