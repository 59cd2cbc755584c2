"""Which size a job gets on a target: forced < client's size < client's ratio < defaults, the first one wins."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.jobs import Job, Target
from imagerouter.parameters import between
from imagerouter.provider import Model
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.planning import World, plan
from imagerouter.routing.refusals import Snapshot
from imagerouter.sizing import size_for

SIDES = {"width": between(64, 2048), "height": between(64, 2048)}


def sized(ratio: float | None = None, client: Any = (), default: Any = (), forced: Any = (), **model: Any) -> Any:
    job = Job(prompt="x", params=sides(client), aspect_ratio=ratio)
    return size_for(job, Target("desk", Model(id="m", **model), sides(default), sides(forced)))


def sides(size: Any) -> dict[str, int]:
    return {name: side for name, side in zip(("width", "height"), size, strict=False) if side}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, None),
        ({"default": (512, 512)}, (512, 512)),
        ({"default": (512, 512), "client": (640, 384)}, (640, 384)),
        ({"default": (512, 512), "ratio": 2.0}, (728, 360)),
        ({"ratio": 16 / 9}, (1368, 768)),
        ({"default": (512,)}, (512, 512)),
        ({"default": (0, 512), "width": 1024, "height": 512}, (1024, 512)),
        ({"default": (512,), "ratio": 2.0}, (728, 360)),
        ({"default": (0, 512), "ratio": 2.0, "width": 64, "height": 64}, (728, 360)),
        ({"forced": (512,), "client": (1024, 768)}, (512, 768)),
        ({"forced": (512,), "ratio": 0.5}, (512, 1024)),
        ({"forced": (512, 512), "ratio": 0.5, "client": (64, 64)}, (512, 512)),
        ({"ratio": 16.0, "width": 2048, "height": 2048, "parameters": SIDES}, (2048, 128)),
        ({"ratio": 1 / 16, "width": 128, "height": 128, "parameters": SIDES}, (64, 1024)),
        ({"ratio": 2.0, "size_multiple": 64}, (1472, 704)),
        ({"default": (512,), "width": 0, "height": 0}, (512, 512)),
    ],
)
def test_the_size_follows_from_what_counts_most(said: dict[str, Any], expected: Any) -> None:
    assert sized(**said) == expected


@given(
    st.floats(1 / 16, 16),
    st.integers(64, 4096),
    st.integers(64, 4096),
    st.sampled_from([1, 8, 64]),
    st.integers(64, 512),
    st.integers(1024, 4096),
)
def test_a_size_made_from_a_ratio_is_always_one_that_the_model_declares(
    ratio: float, width: int, height: int, multiple: int, least: int, most: int
) -> None:
    limits = between(least, most)
    made = sized(
        ratio, width=width, height=height, size_multiple=multiple, parameters={"width": limits, "height": limits}
    )
    assert all(least <= side <= most and side % multiple == 0 for side in made)


def test_a_ratio_without_effect_is_listed() -> None:
    wide = Job(prompt="x", aspect_ratio=2.0)
    assert wide.on(Target("desk", Model(id="m", parameters=SIDES))).ignored == set()
    assert wide.on(Target("desk", Model(id="m"))).ignored == {"aspect_ratio"}
    forced = Target("desk", Model(id="m", parameters=SIDES), params={"width": 64, "height": 64})
    assert wide.on(forced).ignored == {"aspect_ratio"}
    square = Target("desk", Model(id="m", parameters={"width": between(512, 512), "height": between(512, 512)}))
    assert wide.on(square).ignored == {"aspect_ratio"}
    world = World({"desk": Snapshot("t", ready=True)})
    strict = plan(Job(prompt="x", aspect_ratio=2.0, strict=True), PublicModel("m", (square,)), world)
    assert strict.error("m").param == "aspect_ratio"


@given(st.floats(1 / 16, 16), st.sampled_from([8, 64]), st.integers(512, 2048))
def test_rounding_to_the_multiples_of_a_model_is_no_reason_to_call_a_ratio_ignored(
    ratio: float, multiple: int, side: int
) -> None:
    free = {"width": between(8, 16384), "height": between(8, 16384)}
    model = Model(id="m", width=side, height=side, size_multiple=multiple, parameters=free)
    assert not Job(prompt="x", aspect_ratio=ratio).on(Target("desk", model)).ignored
