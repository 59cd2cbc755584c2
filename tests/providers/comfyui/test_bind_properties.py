"""Whatever a client asks for, a server can take the graph that comes out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.comfyui.bind_graphs import (
    base_and_refiner,
    bound,
    classes,
    dangling,
    flux_like,
    image_to_image,
    inpainting,
    text_to_image,
    two_passes,
    with_controlnet,
)

from imagerouter import ImageRequest, InvalidParameterError, Lora, ProviderRejectedError
from imagerouter_comfyui.graph import Graph, link
from imagerouter_comfyui.nodes import Input
from imagerouter_comfyui.recipe import Sources

WORKFLOWS = {
    "text": bound(text_to_image()),
    "image": bound(image_to_image()),
    "alpha": bound(inpainting(by_alpha=True)),
    "mask": bound(inpainting(by_alpha=False)),
    "two passes": bound(two_passes()),
    "refiner": bound(base_and_refiner()),
    "flux": bound(flux_like()),
    "controlnet": bound(with_controlnet()),
}
KEYS = st.fixed_dictionaries(
    {"prompt": st.text(max_size=20), "seed": st.integers(0, 2**32 - 1)},
    optional={
        "negative_prompt": st.text(max_size=20),
        "steps": st.integers(-5, 20000),
        "cfg_scale": st.floats(-5, 200),
        "guidance": st.floats(-5, 200),
        "strength": st.floats(-1, 2),
        "width": st.integers(1, 20000),
        "height": st.integers(1, 20000),
        "clip_skip": st.integers(1, 12),
        "sampler": st.sampled_from(["euler", "dpmpp_2m", "nope"]),
        "scheduler": st.sampled_from(["karras", "simple", "nope"]),
        "vae": st.sampled_from(["tiny_vae", "nope"]),
        "loras": st.lists(
            st.builds(Lora, st.sampled_from(["tiny_lora", "tiny_style", "nope"]), st.floats(-200, 200)), max_size=3
        ).map(tuple),
    },
)


def complaints(graph: Graph) -> Iterator[str]:
    """What a server would say: the checks that it makes before it takes a job."""
    for node, made in graph.items():
        known = classes()[made["class_type"]]
        for name, taken in known.inputs.items():
            if name not in made["inputs"]:
                if taken.required:
                    yield f"{node} lacks {name}"
            elif (source := link(value := made["inputs"][name])) is not None:
                carried = classes()[graph[source[0]]["class_type"]].outputs[source[1]]
                if carried != taken.type:
                    yield f"{node}.{name} takes {taken.type}, not {carried}"
            elif not fits(value, taken):
                yield f"{node}.{name} can't be {value!r}"


def fits(value: Any, taken: Input) -> bool:
    if taken.settings.get("image_upload"):
        return isinstance(value, str)
    if taken.type in ("INT", "FLOAT"):
        low, high = taken.min, taken.max
        right = type(value) is int or (taken.type == "FLOAT" and isinstance(value, float))
        return right and (low is None or value >= low) and (high is None or value <= high)
    return isinstance(value, str) and (taken.options is None or value in taken.options)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WORKFLOWS)), KEYS)
def test_a_request_is_refused_by_name_or_makes_a_graph_that_a_server_takes(name: str, keys: dict[str, Any]) -> None:
    request = ImageRequest(model="mine", **keys)
    sources = Sources(seed=keys["seed"], prefix="job", images=("in/a.png",), mask="in/m.png")
    try:
        built = WORKFLOWS[name].build(request, sources)
    except (InvalidParameterError, ProviderRejectedError) as refusal:
        assert refusal.param is not None
        assert refusal.param.partition("[")[0] in keys
        return
    assert dangling(built.graph) == []
    assert list(complaints(built.graph)) == []
    assert set(built.places) <= {(node, name) for node, made in built.graph.items() for name in made["inputs"]}
    assert built.ignored <= request.parameters


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(WORKFLOWS)), st.data())
def test_what_a_model_declares_is_what_it_takes(kind: str, data: st.DataObject) -> None:
    workflow, keys = WORKFLOWS[kind], dict[str, Any](width=256, height=256)
    for name, descriptor in workflow.model.parameters.items():
        if descriptor.type == "range" and name not in ("width", "height"):
            value = data.draw(st.floats(descriptor.min, descriptor.max), label=name)
            keys[name] = value if name in ("cfg_scale", "guidance", "strength") else int(value)
        elif descriptor.type == "enum":
            keys[name] = data.draw(st.sampled_from(descriptor.values or ()), label=name)
    request = ImageRequest(**{"model": "mine", "prompt": "p", "seed": 1, **keys})
    built = workflow.build(request, Sources(seed=request.seed, prefix="job", images=("a.png",), mask="m.png"))
    assert list(complaints(built.graph)) == []
    assert not built.ignored & (set(keys) & set(workflow.model.parameters))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(16, 4096), st.integers(16, 4096))
def test_every_size_comes_out_exactly(width: int, height: int) -> None:
    workflow = WORKFLOWS["text"]
    built = workflow.build(
        ImageRequest(model="mine", prompt="p", seed=1, width=width, height=height), Sources(seed=1, prefix="job")
    )
    canvas, crop = built.graph["5"]["inputs"], built.graph.get("crop")
    assert canvas["width"] % 8 == canvas["height"] % 8 == 0
    made = crop["inputs"] if crop else canvas
    assert (made["width"], made["height"]) == (width, height)
    if crop:
        assert made["x"] + width <= canvas["width"]
        assert made["y"] + height <= canvas["height"]


def test_two_requests_for_the_same_make_the_same_graph() -> None:
    request = ImageRequest(model="mine", prompt="p", seed=1, loras=(Lora("tiny_lora"),), clip_skip=2)
    made = [WORKFLOWS["text"].build(request, Sources(seed=1, prefix="job")).graph for _ in range(2)]
    assert msgspec.json.encode(made[0]) == msgspec.json.encode(made[1])
