"""Parameters in the YAML file arrive at the provider as if a client had sent them."""

from typing import Any

import pytest

from imagerouter.config.loader import load_text
from imagerouter.errors import ConfigError
from imagerouter.jobs import Job, Target
from imagerouter.provider import Model
from imagerouter.types import Hires, Lora

FAKE = "providers: {desk: {type: 'imagerouter.testing:FakeProvider'}}\n"


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("sampler: DPM++ 2M Karras", {"sampler": "dpmpp_2m", "scheduler": "karras"}),
        ("sampler: DPM++ 2M Karras, scheduler: Simple", {"sampler": "dpmpp_2m", "scheduler": "simple"}),
        ("width: '512', height: '768'", {"width": 512, "height": 768}),
        ("loras: [{path: x, scale: 1}]", {"loras": (Lora("x", 1.0),)}),
        ("loras: pixel", {"loras": (Lora("pixel"),)}),
        ("hires: {scale: 2, steps: null}", {"hires": Hires(2.0)}),
        ("quality: auto, background: auto, style: null", {}),
        ("quality: high", {"quality": "high"}),
    ],
)
def test_the_values_are_canonical_wherever_they_stand(written: str, typed: dict[str, Any]) -> None:
    config = load_text(
        FAKE + f"defaults: {{{written}}}\nmodels:\n  m:\n    defaults: {{{written}}}\n"
        f"    targets: [{{provider: desk, params: {{{written}}}}}]\n"
    )
    entry = config.models["m"]
    assert config.defaults == entry.defaults == entry.targets[0].params == typed
    request = Job(prompt="x").on(Target("desk", Model(id="m"), config.defaults)).request("fake")
    assert {name: getattr(request, name) for name in typed} == typed


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("width: '99999'", "f:2:19: defaults.width: `width` must be at most 8192, not 99999"),
        ("steps: 500", "f:2:19: defaults.steps: `steps` must be at most 200, not 500"),
        (
            "loras: [{name: a, path: b}]",
            "f:2:36: defaults.loras.0.path: `loras[0].name` and `loras[0].path` are two names of one parameter "
            "with different values",
        ),
        ("hires: {colour: red}", "f:2:20: defaults.hires.colour: unknown parameter"),
    ],
)
def test_what_a_request_may_not_say_the_file_may_not_say_either(written: str, problem: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_text(f"{FAKE}defaults: {{{written}}}", "f")
    assert raised.value.problems == [problem]
