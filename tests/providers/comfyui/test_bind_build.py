"""What a bound workflow makes of a request."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.providers.comfyui.bind_graphs import (
    bound,
    classes,
    dangling,
    draw,
    flux_like,
    image_to_image,
    node,
    spec,
    text_to_image,
    value,
    with_controlnet,
)

from imagerouter import Image, InvalidParameterError, Lora, ProviderRejectedError
from imagerouter_comfyui.bind import resolve
from imagerouter_comfyui.nodes import NodeClass

PIXEL = Image(data=b"\x89PNG\r\n\x1a\n")


def of_class(built: Any, name: str) -> list[str]:
    return [key for key, given in built.graph.items() if given["class_type"] == name]


def test_the_request_is_written_into_the_graph() -> None:
    built = draw(
        bound(text_to_image()), negative_prompt="fog", steps=9, cfg_scale=3.5, sampler="dpmpp_2m", scheduler="karras"
    )
    assert (
        built.graph["3"]["inputs"] | {"steps": 9, "cfg": 3.5, "sampler_name": "dpmpp_2m", "scheduler": "karras"}
        == (built.graph["3"]["inputs"])
    )
    assert (value(built, "6.text"), value(built, "7.text"), value(built, "3.seed")) == ("a lighthouse", "fog", 5)
    assert built.ignored == frozenset()


def test_what_the_request_leaves_open_stays_as_the_workflow_has_it() -> None:
    built = draw(bound(text_to_image()))
    assert (value(built, "7.text"), value(built, "3.steps"), value(built, "5.width")) == ("blurry", 20, 512)
    assert built.applied == {
        "steps": 20,
        "cfg_scale": 7.0,
        "sampler": "euler",
        "scheduler": "normal",
        "width": 512,
        "height": 768,
    }


def test_one_job_draws_one_image_under_a_name_of_its_own() -> None:
    built = draw(bound(text_to_image()), {"prefix": "imagerouter/abc_0"})
    assert value(built, "5.batch_size") == 1
    assert value(built, "9.filename_prefix") == "imagerouter/abc_0"
    assert built.outputs == ("9",)


def test_the_workflow_itself_is_never_changed() -> None:
    graph = text_to_image()
    workflow = bound(graph)
    before = {key: dict(given["inputs"]) for key, given in workflow.graph.items()}
    draw(workflow, steps=2, width=100, loras=(Lora("tiny_lora"),), clip_skip=2)
    assert {key: given["inputs"] for key, given in workflow.graph.items()} == before
    assert graph == text_to_image()


def test_a_size_that_can_not_be_drawn_is_cut_out_of_the_middle_of_a_larger_one() -> None:
    built = draw(bound(text_to_image()), width=500, height=510)
    assert (value(built, "5.width"), value(built, "5.height")) == (504, 512)
    (crop,) = of_class(built, "ImageCrop")
    assert built.graph[crop]["inputs"] == {"image": ["8", 0], "width": 500, "height": 510, "x": 2, "y": 1}
    assert value(built, "9.images") == [crop, 0]
    assert (built.applied["width"], built.applied["height"]) == (500, 510)


def test_a_server_that_can_not_crop_draws_the_larger_size_and_says_so() -> None:
    known: dict[str, NodeClass] = {name: given for name, given in classes().items() if name != "ImageCrop"}
    built = draw(resolve("mine", text_to_image(), known, spec()), width=500)
    assert value(built, "9.images") == ["8", 0]
    assert built.applied["width"] == 504


def test_the_native_size_of_the_configuration_replaces_the_workflows() -> None:
    workflow = bound(text_to_image(), width=640, height=None)
    assert (workflow.model.width, workflow.model.height) == (640, 768)
    assert value(draw(workflow), "5.width") == 640


def test_loras_are_chained_behind_the_model_and_its_text_encoder() -> None:
    loras = (Lora("tiny_lora", 0.5), Lora("styles/tiny_style.safetensors", -1.0))
    built = draw(bound(text_to_image()), loras=loras)
    first, second = sorted(of_class(built, "LoraLoader"))
    assert built.graph[first]["inputs"] == {
        "model": ["4", 0],
        "clip": ["4", 1],
        "lora_name": "tiny_lora.safetensors",
        "strength_model": 0.5,
        "strength_clip": 0.5,
    }
    assert (value(built, f"{second}.model"), value(built, f"{second}.clip")) == ([first, 0], [first, 1])
    assert (value(built, "3.model"), value(built, "6.clip"), value(built, "7.clip")) == (
        [second, 0],
        [second, 1],
        [second, 1],
    )
    assert value(built, "8.vae") == ["4", 2]
    assert built.places[second, "lora_name"] == "loras[1].name"


def test_a_model_that_is_loaded_alone_gets_loras_alone() -> None:
    built = draw(bound(flux_like()), loras=(Lora("tiny_style"),))
    (lora,) = of_class(built, "LoraLoaderModelOnly")
    assert value(built, f"{lora}.lora_name") == "styles/tiny_style.safetensors"
    assert value(built, "48.model") == [lora, 0]
    assert value(built, "6.clip") == ["2", 0]


def test_an_unknown_lora_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(ProviderRejectedError, match=r"no LoRA `none` here; there is tiny_lora\.safetensors") as caught:
        draw(bound(text_to_image()), loras=(Lora("tiny_lora"), Lora("none")))
    assert caught.value.param == "loras[1].name"


def test_clip_skip_comes_between_the_loras_and_the_texts() -> None:
    built = draw(bound(text_to_image()), clip_skip=2, loras=(Lora("tiny_lora"),))
    (skip,), (lora,) = of_class(built, "CLIPSetLastLayer"), of_class(built, "LoraLoader")
    assert built.graph[skip]["inputs"] == {"clip": [lora, 1], "stop_at_clip_layer": -2}
    assert value(built, "6.clip") == value(built, "7.clip") == [skip, 0]


def test_clip_skip_of_the_workflow_itself_is_set_in_place() -> None:
    graph = text_to_image() | {"60": node("CLIPSetLastLayer", clip=["4", 1], stop_at_clip_layer=-2)}
    graph["6"]["inputs"]["clip"] = graph["7"]["inputs"]["clip"] = ["60", 0]
    workflow = bound(graph)
    clip_skip = workflow.model.parameters["clip_skip"]
    assert (clip_skip.min, clip_skip.max, clip_skip.default) == (1, 24, 2)
    built = draw(workflow, clip_skip=3)
    assert value(built, "60.stop_at_clip_layer") == -3
    assert (of_class(built, "CLIPSetLastLayer"), built.applied["clip_skip"]) == (["60"], 3)


def test_another_vae_replaces_the_checkpoints() -> None:
    built = draw(bound(text_to_image()), vae="tiny_vae")
    (vae,) = of_class(built, "VAELoader")
    assert value(built, "8.vae") == [vae, 0]
    assert built.applied["vae"] == "tiny_vae.safetensors"


def test_another_vae_is_loaded_by_the_loader_that_is_there() -> None:
    built = draw(bound(flux_like()), vae="Tiny_VAE.safetensors")
    assert value(built, "3.vae_name") == "tiny_vae.safetensors"
    assert of_class(built, "VAELoader") == ["3"]
    with pytest.raises(ProviderRejectedError, match="`vae`: there is no `other` here"):
        draw(bound(flux_like()), vae="other")


def test_files_of_a_windows_server_are_found_by_either_slash() -> None:
    known = dict(classes())
    for name in ("CheckpointLoaderSimple", "LoraLoader"):
        given = known[name].inputs
        key = "ckpt_name" if "ckpt_name" in given else "lora_name"
        combo = msgspec.structs.replace(given[key], options=("sub\\one.safetensors",))
        known[name] = msgspec.structs.replace(known[name], inputs={**given, key: combo})
    graph = text_to_image()
    graph["4"]["inputs"]["ckpt_name"] = "sub/one.safetensors"
    built = draw(resolve("mine", graph, known, spec()), loras=(Lora("sub/one.safetensors"),))
    assert value(built, "4.ckpt_name") == "sub\\one.safetensors"
    assert value(built, "lora1.lora_name") == "sub\\one.safetensors"


def test_a_lora_in_another_folder_is_not_taken_for_the_one_that_was_named() -> None:
    known = dict(classes())
    files = ("sd15/detail.safetensors", "sd15/ink.safetensors", "sdxl/ink.safetensors")
    for name in ("LoraLoader", "LoraLoaderModelOnly"):
        given = known[name].inputs
        combo = msgspec.structs.replace(given["lora_name"], options=files)
        known[name] = msgspec.structs.replace(known[name], inputs={**given, "lora_name": combo})
    workflow = resolve("mine", text_to_image(), known, spec())
    with pytest.raises(ProviderRejectedError, match=r"no LoRA `sdxl/detail\.safetensors` here"):
        draw(workflow, loras=(Lora("sdxl/detail.safetensors"),))
    both = r"no LoRA `ink` here; did you mean `sd15/ink\.safetensors` or `sdxl/ink\.safetensors`\?"
    with pytest.raises(ProviderRejectedError, match=both):
        draw(workflow, loras=(Lora("ink"),))
    assert value(draw(workflow, loras=(Lora("detail"),)), "lora1.lora_name") == "sd15/detail.safetensors"


def test_previews_are_declared_and_never_called_ignored() -> None:
    workflow = bound(text_to_image())
    previews = workflow.model.parameters["partial_images"]
    assert (previews.min, previews.max, previews.default) == (0, 3, 0)
    assert draw(workflow, partial_images=2).ignored == frozenset()


def test_an_unknown_sampler_is_refused_with_some_that_there_are() -> None:
    with pytest.raises(ProviderRejectedError, match="`sampler`: there is no `nope` here; there is euler, ") as caught:
        draw(bound(text_to_image()), sampler="nope")
    assert caught.value.param == "sampler"


def test_a_number_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidParameterError, match="`steps` must be between 1 and 10000"):
        draw(bound(text_to_image()), steps=0)


def test_images_go_to_the_loaders_in_order_and_the_others_keep_their_own() -> None:
    graph = with_controlnet() | {
        "10": node("LoadImage", image="example.png"),
        "11": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
    }
    graph["3"]["inputs"]["latent_image"] = ["11", 0]
    workflow = bound(graph)
    one = draw(workflow, {"images": ("in/a.png",)}, images=(PIXEL,))
    assert (value(one, "10.image"), value(one, "31.image")) == ("in/a.png", "example.png")
    two = draw(workflow, {"images": ("in/a.png", "in/b.png")}, images=(PIXEL, PIXEL))
    assert (value(two, "10.image"), value(two, "31.image")) == ("in/a.png", "in/b.png")
    assert "images" not in one.ignored | two.ignored


def test_a_second_picture_that_the_server_lacks_is_left_out_if_it_can_be() -> None:
    graph = text_to_image() | {
        "10": node("LoadImage", image="gone.png"),
        "11": node("LoadImage", image="gone.png"),
        "12": node("ImageScaleBy", image=["11", 0], upscale_method="area", scale_by=0.5),
    }
    graph["6"] = node("TextEncodeQwenImageEditPlus", clip=["4", 1], prompt="", image1=["10", 0], image2=["12", 0])
    workflow = bound(graph)
    one = draw(workflow, {"images": ("in/a.png",)}, images=(PIXEL,))
    assert (workflow.needed, "image2" in one.graph["6"]["inputs"]) == (1, False)
    two = draw(workflow, {"images": ("in/a.png", "in/b.png")}, images=(PIXEL, PIXEL))
    assert value(two, "6.image2") == ["12", 0]


def test_a_second_picture_that_nothing_can_do_without_has_to_come() -> None:
    graph = with_controlnet() | {
        "10": node("LoadImage", image="cat.png"),
        "11": node("VAEEncode", pixels=["10", 0], vae=["4", 2]),
    }
    graph["3"]["inputs"]["latent_image"] = ["11", 0]
    graph["31"]["inputs"]["image"] = "gone.png"
    with pytest.raises(InvalidParameterError, match="`mine` needs 2 input images"):
        draw(bound(graph), {"images": ("in/a.png",)}, images=(PIXEL,))


def test_more_images_than_loaders_are_reported() -> None:
    built = draw(bound(image_to_image()), {"images": ("a.png", "b.png")}, images=(PIXEL, PIXEL))
    assert "images" in built.ignored


def test_a_missing_input_image_is_the_clients_mistake() -> None:
    with pytest.raises(InvalidParameterError, match="`mine` needs an input image") as caught:
        draw(bound(image_to_image()))
    assert caught.value.param == "images"


def test_what_has_no_effect_is_reported() -> None:
    built = draw(bound(text_to_image()), strength=0.5, guidance=3.0, quality="hd")
    assert built.ignored == {"strength", "guidance", "quality"}


def test_every_input_that_was_set_knows_its_parameter() -> None:
    built = draw(bound(text_to_image()), negative_prompt="x", width=256, cfg_scale=2.0)
    assert built.places == {
        ("6", "text"): "prompt",
        ("7", "text"): "negative_prompt",
        ("3", "seed"): "seed",
        ("3", "cfg"): "cfg_scale",
        ("5", "width"): "width",
        ("5", "height"): "height",
    }


def test_nothing_dangles_after_nodes_were_added() -> None:
    built = draw(bound(flux_like()), loras=(Lora("tiny_lora"), Lora("tiny_style")), width=99, height=77)
    assert dangling(built.graph) == []
