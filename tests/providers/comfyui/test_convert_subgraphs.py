"""Subgraphs of ComfyUI's editor format are taken apart, with the values that they show on the outside."""

import pytest
from tests.providers.comfyui.drawings import (
    CHAIN,
    CLASSES,
    SQUARE,
    host,
    inputs,
    load,
    node,
    save,
    saved,
    subgraph,
    wire,
)

from imagerouter_comfyui.convert import convert
from imagerouter_comfyui.graph import WorkflowError


def test_a_saved_subgraph_is_taken_apart() -> None:
    made = convert(saved("subgraph_ui.json"), CLASSES)
    assert made["2:7"] == {
        "class_type": "ImageScale",
        "inputs": {"image": ["1", 0], "upscale_method": "lanczos", "width": 640, "height": 640, "crop": "center"},
        "_meta": {"title": "To a square"},
    }
    assert made["3"]["inputs"]["images"] == ["2:7", 0]


def test_every_use_of_a_subgraph_has_nodes_and_values_of_its_own() -> None:
    hosts = [host(2, 1, [10]), host(3, 2, [20])]
    made = inputs(
        [load(), *hosts, save(3)], [wire(1, "1.0", "2.0"), wire(2, "2.0", "3.0"), wire(3, "3.0", "9.0")], SQUARE
    )
    assert (made["2:7"]["image"], made["2:7"]["width"]) == (["1", 0], 10)
    assert (made["3:7"]["image"], made["3:7"]["width"]) == (["2:7", 0], 20)


def test_subgraphs_may_be_nested() -> None:
    wires = [wire(1, "-10.0", "4.0"), wire(2, "-10.1", "4.1"), wire(3, "4.0", "-20.0")]
    outer = subgraph("outer", [host(4, 1, None, size=2)], wires, "image size")
    made = inputs([load(), host(2, 1, [30], kind="outer"), save(2)], [*CHAIN], SQUARE, outer)
    assert made["2:4:7"]["image"] == ["1", 0]
    assert made["2:4:7"]["width"] == 30
    assert made["9"]["images"] == ["2:4:7", 0]


def test_a_link_from_outside_overrules_the_value_of_the_subgraph() -> None:
    number = node(5, "PrimitiveInt", [77], outputs="INT")
    made = inputs([load(), host(2, 1, [10], size=3), save(2), number], [*CHAIN, wire(3, "5.0", "2.1")], SQUARE)
    assert made["2:7"]["width"] == ["5", 0]


def test_without_a_value_of_its_own_a_subgraph_shows_what_is_inside() -> None:
    assert inputs([load(), host(2, 1, None), save(2)], [*CHAIN], SQUARE)["2:7"]["width"] == 64


def test_what_a_subgraph_shows_goes_to_sockets_that_are_no_fields_too() -> None:
    shown = node(8, "PreviewAny", inputs={"source": ("*", 4)}, outputs="STRING")
    wires = [*SQUARE["links"], wire(4, "-10.1", "8.0")]
    made = inputs(
        [load(), host(2, 1, None), save(2)],
        [*CHAIN],
        {**SQUARE, "nodes": [*SQUARE["nodes"], shown], "links": wires},
    )
    assert made["2:8"] == {"source": 64}


@pytest.mark.parametrize(("proxy", "value"), [(["-1", "size"], 11), (["7", "width"], 12), (["7", "height"], 13)])
def test_older_files_list_the_fields_that_a_subgraph_shows(proxy: list[str], value: int) -> None:
    made = inputs([load(), host(2, 1, [value], properties={"proxyWidgets": [proxy]}), save(2)], [*CHAIN], SQUARE)
    assert made["2:7"]["height" if proxy[1] == "height" else "width"] == value


def test_a_button_that_a_subgraph_shows_is_no_input() -> None:
    shown = {"proxyWidgets": [["7", "control_after_generate"]]}
    made = inputs([load(), host(2, 1, ["randomize"], properties=shown), save(2)], [*CHAIN], SQUARE)
    assert "control_after_generate" not in made["2:7"]


def test_a_value_that_the_editor_set_aside_counts() -> None:
    aside = {"proxyWidgetErrorQuarantine": [{"originalEntry": ["-1", "size"], "hostValue": 99}]}
    assert inputs([load(), host(2, 1, [10], properties=aside), save(2)], [*CHAIN], SQUARE)["2:7"]["width"] == 99


def test_a_subgraph_that_contains_itself_is_an_error() -> None:
    with pytest.raises(WorkflowError, match="contains itself"):
        inputs([node(1, "sub")], [], subgraph("sub", [node(1, "sub")], []))
