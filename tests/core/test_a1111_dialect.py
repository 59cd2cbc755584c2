"""The pure half of AUTOMATIC1111's API inbound: whatever comes in, fields of ours or a named error come out."""

import json
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.dialects.a1111 import answer, infotext, prompts, settings
from imagerouter.dialects.a1111.body import Img2Img, Txt2Img, understood
from imagerouter.dialects.a1111.fields import translated
from imagerouter.dialects.a1111.progress import Course
from imagerouter.errors import InvalidParameterError
from imagerouter.jobs import Job
from imagerouter.openai import interpret
from imagerouter.types import Progress

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
)
NAMES = sorted({*Txt2Img.__struct_fields__, *Img2Img.__struct_fields__})
KNOWN = st.dictionaries(st.sampled_from(NAMES), ANYTHING, max_size=5)
SETTINGS = st.dictionaries(st.sampled_from([*settings.DEFAULTS, settings.MODEL, "other"]), ANYTHING, max_size=3)


@given(KNOWN, SETTINGS | st.none(), st.sampled_from([Txt2Img, Img2Img]))
def test_any_body_becomes_a_call_or_a_named_error(fields: dict[str, Any], overrides: Any, kind: Any) -> None:
    if overrides is not None:
        fields["override_settings"] = overrides
    with suppress(InvalidParameterError):
        said = translated(understood(fields, kind), {})
        msgspec.json.encode(said.fields)
        interpret(said.fields, Limits(), prompt="-")


@given(SETTINGS, SETTINGS)
def test_settings_hold_only_what_a_request_could_name(first: dict[str, Any], second: dict[str, Any]) -> None:
    held: dict[str, Any] = {}
    for sent in (first, second):
        with suppress(InvalidParameterError):
            held = settings.changed(held, sent)
    assert held.keys() <= {*settings.DEFAULTS, settings.MODEL}
    assert settings.changed(held, settings.told(held, None)) == held
    translated(understood({}, Txt2Img), held)


@pytest.mark.parametrize(
    ("prompt", "text", "loras", "ignored"),
    [
        ("a <lora:b/c d:0.5> e", "a  e", [("b/c d", 0.5)], 0),
        ("<lora:x><LyCO:y:-1>z", "z", [("x", 1.0), ("y", -1.0)], 0),
        ("<lora:x:0.5:0.7> a", "a", [("x", 0.7)], 1),
        ("<lora:x:te=0.5:unet=0.7> a", "a", [("x", 0.7)], 1),
        ("<lora:x:nan> a", "a", [("x", 1.0)], 1),
        ("<hypernet:x:1> a", "a", [], 1),
        ("a < b > c: 1 <lora:> <x>", "a < b > c: 1 <lora:> <x>", [], 0),
    ],
)
def test_tags_in_prompts_become_loras(prompt: str, text: str, loras: Any, ignored: int) -> None:
    read = prompts.read(prompt)
    assert (read.prompt, [*read.loras], len(read.ignored)) == (text, loras, ignored)


@pytest.mark.parametrize(
    ("sent", "scale"),
    [
        ({"hr_scale": 1.5}, 1.5),
        ({"hr_resize_x": 1024, "width": 512, "height": 768}, 2.0),
        ({"hr_resize_y": 1536, "width": 512, "height": 768}, 2.0),
        ({"hr_resize_x": 1024}, 2.0),
    ],
)
def test_a_second_pass_grows_to_what_was_asked(sent: dict[str, Any], scale: float) -> None:
    said = translated(understood({"enable_hr": True, "hr_upscaler": "None", **sent}, Txt2Img), {})
    assert said.fields["hires"] == {"scale": scale, "steps": None, "strength": None, "upscaler": "Lanczos"}


def test_with_a_second_pass_it_tells_the_size_before_it() -> None:
    """So that who sends the told size again gets the same picture, and none that is larger still."""
    hires = {"scale": 1.5, "steps": 4, "strength": 0.4, "upscaler": "Latent"}
    for said in ({}, {"width": 64, "height": 96}):
        drawn = answer.Drawn(
            Job("a fox", said), (), [7], "fox", applied={"width": 96, "height": 144, "strength": None, "hires": hires}
        )
        told = json.loads(answer.body(drawn, understood({"enable_hr": True, "hr_scale": 1.5}, Txt2Img)))
        info = json.loads(told["info"])
        assert (info["width"], info["height"], info["denoising_strength"]) == (64, 96, 0.4)
        assert (told["parameters"]["width"], told["parameters"]["height"]) == (64, 96)
        assert "Size: 64x96" in info["infotexts"][0]


def test_a_requests_own_settings_go_before_its_senders() -> None:
    own = {"sd_model_checkpoint": "a", "sd_vae": "v", "CLIP_stop_at_last_layers": 2, "samples_format": "webp"}
    said = translated(understood({"clip_skip": 3, "override_settings": {"sd_model_checkpoint": "b"}}, Txt2Img), own)
    assert [said.fields[name] for name in ("model", "vae", "clip_skip", "output_format")] == ["b", "v", 3, "webp"]
    said = translated(understood({"override_settings": {"sd_vae": "Automatic"}}, Txt2Img), own)
    assert "vae" not in said.fields


@given(st.text(), st.text(), st.integers(0, 2**32 - 1))
def test_what_is_written_as_text_is_read_again(prompt: str, negative: str, seed: int) -> None:
    text = infotext.written(prompt, negative, {"steps": 3, "seed": seed, "size": "64x32", "model": "a, b: c"})
    read = infotext.parsed(text)
    assert (read["Seed"], read["Size-1"], read["Size-2"], read["Model"]) == (str(seed), "64", "32", "a, b: c")


@given(st.integers(1, 4), st.lists(st.tuples(st.none() | st.integers(0, 3), st.integers(0, 5), st.integers(0, 5))))
def test_progress_stays_between_begun_and_done(n: int, signs: list[tuple[int | None, int, int]]) -> None:
    course = Course("txt2img", n)
    for image, step, steps in signs:
        course.tell(None, Progress(step=step, steps=steps, image_index=image))
        assert 0 < course.fraction <= 1
        assert 0 <= course.finished < n
