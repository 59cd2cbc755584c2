"""Bindings by configuration and by title, and what is said of those that lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from tests.providers.comfyui.bind_graphs import (
    bound,
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
)

from imagerouter import Hires, InvalidParameterError
from imagerouter_comfyui.bind import check, table
from imagerouter_comfyui.graph import Graph, WorkflowError


def titled(graph: Graph, **titles: str) -> Graph:
    return {key: {**given, "_meta": {"title": titles.get(f"n{key}", "")}} for key, given in graph.items()}


def refused(graph: Graph, **keys: Any) -> list[str]:
    with pytest.raises(WorkflowError) as caught:
        bound(graph, **keys)
    return caught.value.problems


def test_the_configuration_comes_before_titles_and_titles_before_the_rule() -> None:
    graph = titled(two_passes(), n21="second @steps @seed")
    workflow = bound(graph, bindings={"steps": "3.steps"})
    assert (places(workflow, "steps"), places(workflow, "seed")) == (["3.steps"], ["21.seed"])
    assert places(workflow, "cfg_scale") == ["3.cfg", "21.cfg"]
    sources = {row.parameter: row.source for row in table(workflow)}
    assert (sources["steps"], sources["seed"], sources["prompt"]) == ("configuration", "title", "automatic")


def test_one_parameter_may_be_written_into_several_inputs() -> None:
    built = draw(bound(two_passes(), bindings={"steps": ["3.steps", {"to": "21.steps", "max": 10}]}), steps=30)
    assert (value(built, "3.steps"), value(built, "21.steps"), built.applied["steps"]) == (30, 10, 30)


def test_numbers_are_raised_lowered_and_rounded_as_configured() -> None:
    rule = {"to": "5.width", "min": 256, "max": 1000, "round_to": 64}
    workflow = bound(text_to_image(), bindings={"width": rule})
    assert workflow.model.size_multiple == 64
    assert [value(draw(workflow, width=asked), "5.width") for asked in (100, 300, 2000)] == [256, 320, 1000]


def test_words_are_mapped_and_the_map_is_what_clients_may_say() -> None:
    workflow = bound(text_to_image(), bindings={"quality": {"to": "3.steps", "map": {"low": 8, "high": 40}}})
    assert workflow.model.parameters["quality"].values == ("low", "high")
    built = draw(workflow, quality="high")
    assert (value(built, "3.steps"), built.ignored, built.applied["steps"]) == (40, frozenset(), 40)


def test_a_parameter_that_says_one_thing_comes_before_one_that_says_more() -> None:
    workflow = bound(text_to_image(), bindings={"quality": {"to": "3.steps", "map": {"low": 8, "high": 40}}})
    built = draw(workflow, quality="high", steps=12)
    assert (value(built, "3.steps"), built.applied["steps"]) == (12, 12)


def test_a_configured_size_is_cropped_to_what_was_asked_but_never_across_a_limit() -> None:
    rule = {"round_to": 64, "min": 256}
    sides = {"width": {"to": "5.width", **rule}, "height": {"to": "5.height", **rule}}
    workflow = bound(text_to_image(), bindings=sides)
    built = draw(workflow, width=300, height=310)
    assert (value(built, "5.width"), value(built, "crop.width"), value(built, "crop.height")) == (320, 300, 310)
    assert built.applied["width"] == 300
    small = draw(workflow, width=100, height=310)
    assert ("crop" in small.graph, small.applied["width"]) == (False, 256)


def test_a_sampler_may_be_mapped_to_the_name_of_another() -> None:
    workflow = bound(text_to_image(), bindings={"sampler": {"to": "3.sampler_name", "map": {"euler a": "heun"}}})
    assert value(draw(workflow, sampler="euler a"), "3.sampler_name") == "heun"
    assert {"euler a", "heun"} <= set(workflow.model.parameters["sampler"].values or ())


def test_any_other_word_is_an_option_of_the_client() -> None:
    workflow = bound(text_to_image(), bindings={"tail": "3.denoise"})
    assert value(draw(workflow, options={"tail": 0.25}), "3.denoise") == 0.25
    assert value(draw(workflow), "3.denoise") == 1.0
    for wrong in ("much", True, float("nan"), 7):
        with pytest.raises(InvalidParameterError) as caught:
            draw(workflow, options={"tail": wrong})
        assert caught.value.param == "provider.options.tail"


def test_a_second_pass_is_bound_by_its_parts() -> None:
    workflow = bound(two_passes(), bindings={"hires.strength": "21.denoise", "hires.steps": "21.steps"})
    built = draw(workflow, hires=Hires(steps=3, strength=0.7))
    assert (value(built, "21.steps"), value(built, "21.denoise")) == (3, 0.7)
    assert "hires" in workflow.model.parameters
    assert "hires" not in built.ignored
    assert "hires" in draw(bound(two_passes()), hires=Hires()).ignored


def test_an_input_that_exists_only_with_some_settings_can_be_bound() -> None:
    graph = text_to_image()
    graph["9"] = node("SaveImageAdvanced", images=["8", 0], filename_prefix="x", format="png")
    graph["9"]["inputs"]["format.bit_depth"] = "8-bit"
    workflow = bound(graph, bindings={"depth": "9.format.bit_depth"})
    assert value(draw(workflow, options={"depth": "16-bit"}), "9.format.bit_depth") == "16-bit"


def test_markers_in_titles_name_parameters() -> None:
    graph = titled(
        two_passes(),
        n6="what to draw @prompt",
        n7="@negative",
        n5="@size",
        n21="@strength and @cfg_scale:cfg",
    )
    workflow = bound(graph)
    assert places(workflow, "strength") == ["21.denoise"]
    assert places(workflow, "cfg_scale") == ["21.cfg"]
    assert (places(workflow, "width"), places(workflow, "height")) == (["5.width"], ["5.height"])


def test_a_marker_finds_the_value_of_a_primitive_node() -> None:
    graph = flux_like() | {"70": node("PrimitiveStringMultiline", value="a fox", title="@prompt:value")}
    graph["6"]["inputs"]["text"] = ["70", 0]
    graph["50"]["_meta"] = {"title": "@width"}
    workflow = bound(graph)
    assert (places(workflow, "prompt"), places(workflow, "width")) == (["70.value"], ["50.value"])


def test_images_are_ordered_by_the_numbers_of_their_markers() -> None:
    graph = text_to_image() | {
        "10": node("LoadImage", image="example.png", title="@image2"),
        "11": node("LoadImage", image="example.png", title="@image1"),
    }
    graph["6"] = node("TextEncodeQwenImageEditPlus", clip=["4", 1], prompt="", image1=["10", 0], image2=["11", 0])
    assert places(bound(graph), "images") == ["11.image", "10.image"]


def test_a_marked_mask_is_told_from_a_picture_by_how_it_is_used() -> None:
    graph = titled(inpainting(by_alpha=True), n10="@image @mask")
    workflow = bound(graph)
    assert (workflow.mask_as, places(workflow, "images"), places(workflow, "mask")) == (
        "alpha",
        ["10.image"],
        ["10.image"],
    )


def test_the_output_can_be_marked_or_configured() -> None:
    graph = two_passes() | {
        "70": node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "71": node("SaveImage", filename_prefix="first", images=["70", 0], title="@output"),
    }
    assert bound(graph).outputs == ("71",)
    assert bound(graph, outputs=["9"]).outputs == ("9",)


def test_an_address_in_a_title_is_no_marker() -> None:
    assert places(bound(titled(text_to_image(), n6="by me@prompt.example")), "prompt") == ["6.text"]


@pytest.mark.parametrize(
    ("bindings", "said"),
    [
        ({"steps": "33.steps"}, "`bindings.steps`: there is no node `33` on the way to the output; did you mean `3`?"),
        ({"steps": "3.step"}, "node 3 (KSampler) has no input `step`; did you mean `steps`?"),
        ({"steps": "3.model"}, "`3.model` takes a link (MODEL), not a value"),
        ({"steps": "6.text"}, "`6.text` is STRING, and `steps` is a number"),
        ({"prompt": "3.steps"}, "`3.steps` is INT, and `prompt` is text"),
        ({"images": "3.steps"}, "`3.steps` is INT, and `images` is the name of a file"),
        ({"sampler": "3.steps"}, "`3.steps` is INT, and `sampler` is a word"),
        ({"cfg": "3.cfg"}, "`cfg` is called `cfg_scale` here"),
        ({"size": "5.width"}, "`size` is bound as `width` and `height`"),
        ({"n": "5.batch_size"}, "n images are n jobs"),
        ({"loras": "3.model"}, "they take no binding"),
        ({"hires": "3.steps"}, "`hires` is bound by its parts"),
        ({"output_format": "9.filename_prefix"}, "`output_format` takes no binding"),
    ],
)
def test_a_configured_binding_that_leads_nowhere_is_a_problem(bindings: dict[str, str], said: str) -> None:
    (problem,) = refused(text_to_image(), bindings=bindings)
    assert said in problem


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("@promt", "`@promt` in the title of node 3 (KSampler) is no parameter; did you mean `prompt`?"),
        ("@vae", "no input of it is meant for that; name one, as in `@vae:value`"),
        ("@size", "node 3 (KSampler) has no input `width`"),
        ("@steps:step", "has no input `step`; did you mean `steps`?"),
        ("@hires", "`hires` is bound by its parts"),
    ],
)
def test_a_marker_that_leads_nowhere_is_a_problem(title: str, said: str) -> None:
    assert said in refused(titled(text_to_image(), n3=title))[0]


def test_a_marker_on_a_node_that_no_output_needs_is_a_problem() -> None:
    graph = text_to_image() | {"70": node("CLIPTextEncode", text="", clip=["4", 1], title="@prompt")}
    assert "there is no node `70` on the way to the output" in refused(graph)[0]


def test_all_problems_are_told_at_once() -> None:
    graph = text_to_image()
    graph["4"]["inputs"]["ckpt_name"] = "tiny_q.safetensors"
    graph["3"]["inputs"]["sampler_name"] = "eular"
    del graph["3"]["inputs"]["positive"]
    graph["8"]["class_type"] = "VAEDecodes"
    lines = refused(graph, bindings={"steps": "3.step"})
    assert [line for line in lines if line.startswith("`bindings.steps`")]
    said = "node 8: the server has no node class `VAEDecodes`; did you mean `VAEDecode`"
    assert [line for line in lines if line.startswith(said)]


def test_files_and_inputs_that_the_server_lacks_are_problems() -> None:
    graph = text_to_image()
    graph["4"]["inputs"]["ckpt_name"] = "tiny_q.safetensors"
    graph["3"]["inputs"]["scheduler"] = "zzz"
    del graph["3"]["inputs"]["denoise"]
    problems = refused(graph)
    said = "`4.ckpt_name` (CheckpointLoaderSimple): the server has no `tiny_q.safetensors`; did you mean `tiny_"
    assert [line for line in problems if line.startswith(said)]
    assert "`3.scheduler` (KSampler): the server has no `zzz`; there is simple, " in "\n".join(problems)
    assert "node 3 (KSampler) lacks its input `denoise`" in problems


def test_links_that_lead_nowhere_or_round_are_problems() -> None:
    graph = text_to_image() | {"3": sampler("55")}
    assert refused(graph) == ["`3.latent_image` (KSampler) is linked to node `55`, which isn't there"]
    circle = two_passes()
    circle["3"]["inputs"]["latent_image"] = ["20", 0]
    assert refused(circle)[0].endswith("feed each other in a circle")


def test_a_workflow_without_an_output_or_a_prompt_can_not_be_used() -> None:
    graph = text_to_image()
    del graph["9"]
    assert refused(graph) == ["no node saves a picture; add a `SaveImage`, or name the node in `outputs`"]
    assert refused(text_to_image(), outputs=["99"]) == ["`outputs`: there is no node `99`; did you mean `9`?"]
    silent = text_to_image() | {"6": node("ConditioningZeroOut", conditioning=["7", 0])}
    silent["7"] = node("ConditioningZeroOut", conditioning=["6", 0])
    silent["7"]["inputs"]["conditioning"] = ["17", 0]
    silent["17"] = node("CLIPTextEncode", text="", clip=["4", 1])
    assert "nothing takes the prompt (the positive conditioning is zeroed out)" in refused(silent)[0]


def test_configured_bindings_are_checked_without_a_server() -> None:
    wrong = spec(bindings={"steps": "3.step", "seed": "31.seed", "cfg": "3.cfg"}, outputs=["99"])
    assert check(text_to_image(), wrong) == {
        "outputs": ["`outputs`: there is no node `99`; did you mean `9`?"],
        "bindings": [
            "`bindings.steps`: node 3 (KSampler) has no input `step`; did you mean `steps`?",
            "`bindings.seed`: there is no node `31`; did you mean `3`?",
            "`bindings`: `cfg` is called `cfg_scale` here",
        ],
    }
    assert check(image_to_image(), spec(bindings={"steps": "3.steps", "extra": "10.image"}, outputs=["9"])) == {}
