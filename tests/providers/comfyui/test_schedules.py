import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter_comfyui.recipe import Built
from imagerouter_comfyui.schedules import TIMESTEPS, bounded


def built(steps, denoise):
    node = {"class_type": "KSampler", "inputs": {"steps": steps, "denoise": denoise, "latent_image": ["1", 0]}}
    places = {("3", "steps"): "steps", ("3", "denoise"): "strength"}
    return Built({"3": node}, ("3",), places, {"steps": steps, "strength": denoise})


@pytest.mark.parametrize(
    ("steps", "denoise", "expected"),
    [
        (25, 1.0, (25, 1.0)),
        (25, 0.5, (25, 0.5)),
        (25, 0.025, (25, 0.025)),
        (25, 0.02, (20, 0.02)),
        (60, 0.001, (1, 0.001)),
        (20, 1e-6, (20, 0.0)),
        (20, 0.0, (20, 0.0)),
        (2000, 1.0, (2000, 1.0)),
        (["7", 0], 1e-9, (["7", 0], 1e-9)),
    ],
)
def test_no_schedule_is_longer_than_a_model_has_timesteps(steps, denoise, expected):
    made = bounded(built(steps, denoise))
    inputs = made.graph["3"]["inputs"]
    assert (inputs["steps"], inputs["denoise"]) == expected
    assert (made.applied["steps"], made.applied["strength"]) == expected


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_what_is_left_can_be_drawn_and_what_was_given_is_unchanged(steps, denoise):
    given_graph = built(steps, denoise)
    inputs = bounded(given_graph).graph["3"]["inputs"]
    assert inputs["steps"] >= 1
    assert inputs["denoise"] in (0, 1) or inputs["steps"] / inputs["denoise"] <= TIMESTEPS + 1e-6
    assert given_graph.graph["3"]["inputs"]["steps"] == steps
