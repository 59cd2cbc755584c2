"""Workflows in ComfyUI's editor format become what its editor would queue."""

from contextlib import suppress
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.comfyui.drawings import (
    BYPASSED,
    CHAIN,
    CLASSES,
    MUTED,
    SQUARE,
    drawing,
    host,
    inputs,
    load,
    node,
    save,
    saved,
    scale,
    subgraph,
    wire,
)

from imagerouter_comfyui.convert import class_names, convert
from imagerouter_comfyui.graph import WorkflowError
from imagerouter_comfyui.nodes import parse


def test_a_saved_workflow_becomes_what_the_editor_would_queue() -> None:
    assert convert(saved("txt2img_ui.json"), CLASSES) == {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "tiny_a.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 384, "batch_size": 1}},
        "6": {
            "class_type": "CLIPTextEncode",
            "inputs": {"text": "a lighthouse at dusk", "clip": ["4", 1]},
            "_meta": {"title": "What to draw"},
        },
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "fog", "clip": ["4", 1]}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "model": ["4", 0],
                "seed": 42,
                "steps": 12,
                "cfg": 6.5,
                "sampler_name": "dpmpp_2m",
                "scheduler": "karras",
                "denoise": 1,
                "positive": ["6", 0],
                "negative": ["7", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "lighthouse", "images": ["8", 0]}},
    }


def test_links_may_be_objects() -> None:
    workflow = saved("txt2img_ui.json")
    names = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    objects = [dict(zip(names, link, strict=True)) for link in workflow["links"]]
    assert convert({**workflow, "links": objects}, CLASSES) == convert(workflow, CLASSES)


class TestFields:
    @given(st.integers(0, 2**64 - 1), st.sampled_from(["fixed", "increment", "randomize", None]), st.integers(1, 99))
    def test_what_happens_to_a_seed_afterwards_is_no_value_of_the_node(
        self, seed: int, control: str | None, steps: int
    ) -> None:
        workflow = saved("txt2img_ui.json")
        sampler = next(drawn for drawn in workflow["nodes"] if drawn["type"] == "KSampler")
        control_value = [] if control is None else [control]
        sampler["widgets_values"] = [seed, *control_value, steps, 5.0, "euler", "normal", 1.0]
        made = convert(workflow, CLASSES)["3"]["inputs"]
        assert (made["seed"], made["steps"], made["sampler_name"], made["denoise"]) == (seed, steps, "euler", 1.0)

    def test_values_may_come_by_name(self) -> None:
        values = {"upscale_method": "area", "width": 9, "height": 8, "crop": "center", "videopreview": {"hidden": True}}
        made = inputs([load(), scale(1, values=[]) | {"widgets_values": values}, save(2)], [*CHAIN])
        assert made["2"] == {"upscale_method": "area", "width": 9, "height": 8, "crop": "center", "image": ["1", 0]}

    def test_names_that_a_recent_editor_adds_are_believed(self) -> None:
        named = {"upscale_method": "area", "width": 9, "height": 8, "crop": "center"}
        made = inputs([load(), scale(1, values=["area", 1, 1], widgets_values_named=named), save(2)], [*CHAIN])
        assert made["2"] == {**named, "image": ["1", 0]}

    def test_a_field_that_the_class_got_later_has_its_default(self) -> None:
        made = inputs([load(), scale(1, values=["area", 64]), save(2)], [*CHAIN])
        assert made["2"] == {
            "upscale_method": "area",
            "width": 64,
            "height": 512,
            "crop": "disabled",
            "image": ["1", 0],
        }

    def test_a_field_that_the_class_got_in_between_does_not_shift_the_others(self) -> None:
        known = {"upscale_method": None, "height": None, "crop": None}
        drawn = node(
            2, "ImageScale", ["area", 32, "center"], inputs={"image": ("IMAGE", 1)}, fields=known, outputs="IMAGE"
        )
        made = inputs([load(), drawn, save(2)], [*CHAIN])
        assert made["2"] == {"upscale_method": "area", "width": 512, "height": 32, "crop": "center", "image": ["1", 0]}

    def test_the_upload_button_of_a_class_is_no_value(self) -> None:
        files = [["a.png"], {"image_upload": True}]
        spec = {"required": {"image": files}, "optional": {"scale": ["FLOAT", {"default": 1.0}]}}
        classes = {**CLASSES, "Load": parse("Load", {"input": spec, "output": ["IMAGE"]})}
        drawn = node(1, "Load", ["a.png", "image", 2.5], outputs="IMAGE")
        made = convert(drawing([drawn, save(1)], [wire(1, "1.0", "9.0")]), classes)
        assert made["1"]["inputs"] == {"image": "a.png", "scale": 2.5}

    def test_a_dynamic_combo_brings_the_fields_of_its_choice(self) -> None:
        drawn = node(9, "SaveImageAdvanced", ["out", "exr", "32-bit float", "linear"], inputs={"images": ("IMAGE", 1)})
        made = inputs([load(), drawn], [wire(1, "1.0", "9.0")])["9"]
        assert made == {
            "images": ["1", 0],
            "filename_prefix": "out",
            "format": "exr",
            "format.bit_depth": "32-bit float",
            "format.input_color_space": "linear",
        }

    def test_a_dynamic_combo_that_the_file_does_not_know_has_defaults(self) -> None:
        drawn = node(9, "SaveImageAdvanced", ["out"], inputs={"images": ("IMAGE", 1)})
        made = inputs([load(), drawn], [wire(1, "1.0", "9.0")])["9"]
        assert (made["format"], made["format.bit_depth"]) == ("png", "8-bit")

    def test_the_place_of_a_choice_that_the_drawing_defines_is_told(self) -> None:
        info = {"input": {"required": {"choice": ["COMBO", {"options": []}]}}, "output": ["STRING", "INT"]}
        classes = {**CLASSES, "CustomCombo": parse("CustomCombo", info)}
        drawn = node(1, "CustomCombo", ["fast", 0, "good", "fast", ""], outputs="STRING INT")
        shown = node(9, "PreviewAny", inputs={"source": ("*", 1)})
        made = convert(drawing([drawn, shown], [wire(1, "1.1", "9.0")]), classes)
        assert made["1"]["inputs"] == {"choice": "fast", "index": 1}

    def test_a_list_is_wrapped_so_that_it_is_no_link(self) -> None:
        spec = {"required": {"colours": ["COLORS", {"default": [], "socketless": True}]}}
        classes = {"Paint": parse("Paint", {"input": spec, "output_node": True})}
        made = convert(drawing([node(1, "Paint", [["#ff0000", 1]])], []), classes)
        assert made["1"]["inputs"] == {"colours": {"__value__": ["#ff0000", 1]}}


class TestLinks:
    def test_a_link_overrules_the_field_that_it_is_plugged_into(self) -> None:
        nodes = [load(), scale(1, fields={"width": 3}), save(2), node(5, "PrimitiveInt", [77, "fixed"], outputs="INT")]
        made = inputs(nodes, [*CHAIN, wire(3, "5.0", "2.1")])
        assert made["2"]["width"] == ["5", 0]
        assert made["5"] == {"value": 77}

    def test_a_field_keeps_its_value_if_what_is_plugged_in_is_muted(self) -> None:
        primitive = node(5, "PrimitiveInt", [77], outputs="INT", mode=MUTED)
        made = inputs([load(), scale(1, fields={"width": 3}), save(2), primitive], [*CHAIN, wire(3, "5.0", "2.1")])
        assert made["2"]["width"] == 64

    def test_the_value_of_a_primitive_is_written_where_it_is_plugged_in(self) -> None:
        primitive = node(5, "PrimitiveNode", [77, "fixed"], outputs="INT")
        made = inputs([load(), scale(1, fields={"width": 3}), save(2), primitive], [*CHAIN, wire(3, "5.0", "2.1")])
        assert made["2"]["width"] == 77
        assert "5" not in made

    def test_an_input_that_grows_keeps_all_its_links(self) -> None:
        sockets = {"images.image0": ("IMAGE", 1), "images.image1": ("IMAGE", 3), "images.image2": ("IMAGE", None)}
        batch = node(2, "BatchImagesNode", inputs=sockets, outputs="IMAGE")
        made = inputs([load(), load(3), batch, save(2)], [*CHAIN, wire(3, "3.0", "2.1")])
        assert made["2"] == {"images.image0": ["1", 0], "images.image1": ["3", 0]}

    @given(st.integers(0, 30))
    def test_reroutes_leave_no_trace(self, count: int) -> None:
        dots = [node(100 + i, "Reroute", inputs={"": ("*", i)}, outputs="*") for i in range(count)]
        path = ["1", *(str(100 + i) for i in range(count)), "9"]
        wires = [wire(i, f"{start}.0", f"{end}.0") for i, (start, end) in enumerate(pairwise(path))]
        assert inputs([load(), *dots, save(count)], wires)["9"]["images"] == ["1", 0]

    def test_what_is_stored_under_a_name_is_fetched_by_it(self) -> None:
        store = node(5, "SetNode", ["picture"], inputs={"IMAGE": ("IMAGE", 1)}, outputs="*")
        fetch = node(6, "GetNode", ["picture"], outputs="IMAGE")
        made = inputs([load(), store, fetch, save(2)], [wire(1, "1.0", "5.0"), wire(2, "6.0", "9.0")])
        assert made == {"1": {"image": "example.png"}, "9": {"filename_prefix": "out", "images": ["1", 0]}}

    def test_links_that_run_in_a_circle_are_an_error(self) -> None:
        dots = [node(i, "Reroute", inputs={"": ("*", i)}, outputs="*") for i in (1, 2)]
        wires = [wire(1, "2.0", "1.0"), wire(2, "1.0", "2.0"), wire(3, "1.0", "9.0")]
        with pytest.raises(WorkflowError, match=r"node 9 .*circle"):
            inputs([*dots, save(3)], wires)


class TestMutedAndBypassed:
    def test_a_bypassed_node_lets_its_input_through(self) -> None:
        made = inputs([load(), scale(1, mode=BYPASSED), save(2)], [*CHAIN])
        assert made == {"1": {"image": "example.png"}, "9": {"filename_prefix": "out", "images": ["1", 0]}}

    def test_a_bypassed_node_with_several_outputs_goes_by_type(self) -> None:
        both = {"clip": ("CLIP", 2), "model": ("MODEL", 1)}
        lora = node(2, "LoraLoader", ["tiny_lora.safetensors", 1, 1], inputs=both, outputs="MODEL CLIP", mode=BYPASSED)
        checkpoint = node(1, "CheckpointLoaderSimple", ["tiny_a.safetensors"], outputs="MODEL CLIP VAE")
        text = node(3, "CLIPTextEncode", ["hi"], inputs={"clip": ("CLIP", 3)}, outputs="CONDITIONING")
        shown = node(4, "PreviewAny", inputs={"source": ("*", 4)}, outputs="STRING")
        wires = [wire(1, "1.0", "2.1"), wire(2, "1.1", "2.0"), wire(3, "2.1", "3.0"), wire(4, "3.0", "4.0")]
        assert inputs([checkpoint, lora, text, shown], wires)["3"] == {"text": "hi", "clip": ["1", 1]}

    def test_what_needs_a_muted_node_is_left_out(self) -> None:
        nodes = [load(), scale(1, mode=MUTED), save(2), load(5), save(3, 6)]
        assert inputs(nodes, [*CHAIN, wire(3, "5.0", "6.0")]).keys() == {"1", "5", "6"}

    def test_an_output_that_nothing_is_plugged_into_is_left_out_if_there_is_another(self) -> None:
        dangling = node(5, "PreviewAny", inputs={"source": ("*", None)}, outputs="STRING")
        assert "5" not in inputs([load(), scale(1), save(2), dangling], [*CHAIN])

    def test_it_is_an_error_if_no_output_is_left(self) -> None:
        with pytest.raises(WorkflowError, match=r'^node 2 \(`ImageScale`, "Resize"\) has no `image`$'):
            inputs([load(mode=MUTED), scale(1, title="Resize"), save(2)], [*CHAIN])

    def test_it_is_an_error_if_there_never_was_an_output(self) -> None:
        with pytest.raises(WorkflowError, match="no output"):
            inputs([load()], [])

    def test_a_muted_subgraph_is_left_out_and_a_bypassed_one_lets_through(self) -> None:
        inner = subgraph("sub", [scale(1, 7)], [wire(1, "-10.0", "7.0"), wire(2, "7.0", "-20.0")], "image")
        for mode, expected in ((MUTED, {"1", "5", "6"}), (BYPASSED, {"1", "5", "6", "9"})):
            host = node(2, "sub", inputs={"image": ("IMAGE", 1)}, outputs="IMAGE", mode=mode)
            nodes = [load(), host, save(2), load(5), save(3, 6)]
            assert inputs(nodes, [*CHAIN, wire(3, "5.0", "6.0")], inner).keys() == expected


class TestProblems:
    def test_every_class_that_the_server_lacks_is_named_at_once(self) -> None:
        foo = node(12, "Foo", title="My foo", inputs={"image": ("IMAGE", 1)}, outputs="IMAGE")
        inner = subgraph("sub", [node(7, "Bar", inputs={"x": ("IMAGE", 1)})], [wire(1, "-10.0", "7.0")], "x")
        nodes = [load(), foo, node(3, "sub", inputs={"x": ("IMAGE", 2)}), save(3)]
        with pytest.raises(WorkflowError) as error:
            inputs(nodes, [wire(1, "1.0", "12.0"), wire(2, "12.0", "3.0"), wire(3, "12.0", "9.0")], inner)
        assert error.value.problems == [
            'node 12 (`Foo`, "My foo") is of a class that this server does not have',
            "node 3:7 (`Bar`) is of a class that this server does not have",
        ]
        assert str(error.value) == f"{error.value.problems[0]} (and 1 more)"

    def test_a_node_of_the_editor_alone_that_nothing_is_plugged_into_is_left_out(self) -> None:
        assert "5" not in inputs([load(), scale(1), save(2), node(5, "Fast Groups Muter (rgthree)")], [*CHAIN])

    @pytest.mark.parametrize("broken", [{"nodes": [{"id": 1}]}, {"nodes": [], "links": [[1, 2]]}, {"nodes": {}}])
    def test_what_the_editor_did_not_write_is_an_error(self, broken: dict[str, Any]) -> None:
        with pytest.raises(WorkflowError, match="not ComfyUI's editor format"):
            convert({"links": [], **broken}, CLASSES)

    @given(st.sampled_from(["txt2img_ui.json", "subgraph_ui.json"]), st.randoms(use_true_random=False))
    def test_a_damaged_file_is_converted_or_refused_and_nothing_else(self, name: str, random: Random) -> None:
        workflow = saved(name)
        spot: Any = workflow
        while isinstance(spot, dict | list) and spot:
            parent, key = spot, random.choice(list(spot) if isinstance(spot, dict) else range(len(spot)))
            spot = spot[key]
            if random.random() < 0.2:
                break
        parent[key] = random.choice([None, 0, -1, 1.5, True, "", "x", [], [1], {}, {"name": [1]}, [[1]], [["a", {}]]])
        with suppress(WorkflowError):
            convert(workflow, CLASSES)


def test_the_classes_to_ask_for_are_those_that_run() -> None:
    note, muted = node(5, "Note", ["hello"]), node(6, "KSampler", mode=MUTED)
    nodes = [load(), host(2, 1, None), save(2), note, muted]
    assert class_names(drawing(nodes, [*CHAIN], SQUARE)) == {"LoadImage", "ImageScale", "SaveImage"}
