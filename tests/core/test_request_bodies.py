"""Which bodies of `/v1/images/generations` are understood, and what the others are told."""

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.errors import InvalidRequestError
from imagerouter.openai import Call, decode, interpret
from imagerouter.types import Hires, Lora

WRONG = [
    ({"prompt": 5}, "prompt"),
    ({"prompt": ""}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": ["a fox"]}, "prompt"),
    ({"prompt": "x" * 32_001}, "prompt"),
    ({"steps": "twenty"}, "steps"),
    ({"steps": 0}, "steps"),
    ({"steps": 1.5}, "steps"),
    ({"steps": 10**30}, "steps"),
    ({"num_inference_steps": "twenty"}, "num_inference_steps"),
    ({"n": 0}, "n"),
    ({"n": 11}, "n"),
    ({"n": "2"}, "n"),
    ({"n": True}, "n"),
    ({"size": "huge"}, "size"),
    ({"size": "100000x100000"}, "size"),
    ({"size": "1x1"}, "size"),
    ({"size": 512}, "size"),
    ({"width": -5, "height": 64}, "width"),
    ({"width": 64}, "height"),
    ({"width": 999_999, "height": 999_999}, "width"),
    ({"size": "64x64", "width": 32, "height": 64}, "size"),
    ({"aspect_ratio": "wide"}, "aspect_ratio"),
    ({"aspect_ratio": "1:0"}, "aspect_ratio"),
    ({"seed": -2}, "seed"),
    ({"seed": "lucky"}, "seed"),
    ({"seed": 2**64}, "seed"),
    ({"cfg_scale": -1}, "cfg_scale"),
    ({"cfg_scale": 7, "guidance_scale": 8}, "guidance_scale"),
    ({"sampler": 3}, "sampler"),
    ({"quality": "best"}, "quality"),
    ({"output_format": "svg"}, "output_format"),
    ({"response_format": "xml"}, "response_format"),
    ({"partial_images": 4}, "partial_images"),
    ({"stream": "yes"}, "stream"),
    ({"strength": 1.5}, "strength"),
    ({"loras": [{"weight": 1}]}, "loras[0]"),
    ({"loras": [{"name": "a", "weight": "much"}]}, "loras[0].weight"),
    ({"image": "https://example.com/fox.png"}, "image"),
    ({"image": "not base64!"}, "image"),
    ({"image": "aGVsbG8gd29ybGQgaGVsbG8="}, "image"),
    ({"mask": "aGVsbG8="}, "mask"),
    ({"provider": "desk"}, "provider"),
    ({"provider": {"only": "desk"}}, "provider.only"),
    ({"model": ""}, "model"),
    ({"model": "m" * 513}, "model"),
    ({"models": ["m" * 513]}, "models[0]"),
    ({"size": "0x0"}, "size"),
    ({"size": "0x512"}, "size"),
    ({"aspect_ratio": "banana", "size": "64x64"}, "aspect_ratio"),
    ({"aspect_ratio": "16:9", "size": "512x512"}, "aspect_ratio"),
    ({"aspect_ratio": "1" * 100_000}, "aspect_ratio"),
    ({"width": 10**400, "height": 64}, "width"),
    ({"loras": [{"name": "a", "path": "b"}]}, "loras[0].path"),
    ({"loras": [{"name": "a", "weight": 11}]}, "loras[0].weight"),
    ({"loras": ["a"] * 17}, "loras"),
    ({"hires": {"scale": 9}}, "hires.scale"),
    ({"hires": {"steps": 10**6}}, "hires.steps"),
    ({"steps": 4, "extra_body": {"steps": 9}}, "extra_body.steps"),
    ({"provider": {"foo": 1}, "strict": True}, "provider.foo"),
    ({"loras": [{"name": "a", "colour": 1}], "strict": True}, "loras[0].colour"),
    ({"extra_body": [1], "strict": True}, "extra_body"),
    ({"output_compression": 10, "strict": True}, "output_compression"),
    ({"provider": {"data_collection": "deny"}, "strict": True}, "provider.data_collection"),
    ({"image": "iVBORw0KGgo"}, "image"),
    ({"priority": 4}, "priority"),
    ({"priority": -4}, "priority"),
    ({"priority": 0.5}, "priority"),
    ({"priority": "high"}, "priority"),
    ({"queue_timeout": 0}, "queue_timeout"),
    ({"queue_timeout": -1}, "queue_timeout"),
    ({"queue_timeout": "30s"}, "queue_timeout"),
    ({"provider": {"sort": "cheapest"}}, "provider.sort"),
    ({"provider": {"sort": 3}}, "provider.sort"),
    ({"provider": {"sort": ["price"]}}, "provider.sort"),
    ({"provider": {"sort": {"by": "cheapest"}}}, "provider.sort.by"),
    ({"provider": {"max_price": 0.05}}, "provider.max_price"),
    ({"provider": {"max_price": {"image": "cheap"}}}, "provider.max_price.image"),
    ({"provider": {"max_price": {"image": "-0.05"}}}, "provider.max_price.image"),
    ({"provider": {"max_price": {"image": "1e999"}}}, "provider.max_price.image"),
    ({"provider": {"max_price": {"request": -1}}}, "provider.max_price.request"),
    ({"provider": {"max_price": {"request": True}}}, "provider.max_price.request"),
    ({"provider": {"max_price": {"prompt": 1}}, "strict": True}, "provider.max_price.prompt"),
    ({"provider": {"max_price": {"colour": 1}}, "strict": True}, "provider.max_price.colour"),
    ({"provider": {"sort": {"partition": "none"}}, "strict": True}, "provider.sort.partition"),
]


@pytest.mark.parametrize(("body", "param"), WRONG, ids=lambda value: json.dumps(value)[:50])
def test_a_wrong_value_names_its_parameter(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(json.dumps({"prompt": "x", **body}).encode(), Limits())
    assert caught.value.param == param
    assert caught.value.status == 400
    assert f"`{param}`" in caught.value.message


def parse(raw: bytes, limits: Limits) -> Call:
    return interpret(decode(raw), limits)


def parsed(**body: Any) -> Any:
    return parse(json.dumps({"prompt": "x", **body}).encode(), Limits())


def test_what_is_accepted_without_effect_is_listed() -> None:
    call = parsed(
        provider={"foo": 1, "data_collection": "deny", "quantizations": ["q"]},
        hires={"colour": 1},
        loras=["a", {"name": "b", "zzz": 3}],
        extra_body=[1],
        output_compression=10,
        user="me",
    )
    assert set(call.delivery.warnings) == {
        "provider.foo",
        "provider.data_collection",
        "provider.quantizations",
        "hires.colour",
        "loras[1].zzz",
        "extra_body",
        "output_compression",
    }
    assert not parsed(output_compression=10, output_format="webp").delivery.warnings


@pytest.mark.parametrize("sort", ["price", "latency", "throughput"])
def test_what_to_sort_by_may_be_a_word_or_openrouters_object(sort: str) -> None:
    assert parsed(provider={"sort": sort}).job.preferences.sort == sort
    call = parsed(provider={"sort": {"by": sort, "partition": "none", "up": True}})
    assert call.job.preferences.sort == sort
    assert set(call.delivery.warnings) == {"provider.sort.partition", "provider.sort.up"}


def test_prices_may_be_numbers_or_text() -> None:
    for image, request in ((0.05, 1), ("0.05", "1")):
        call = parsed(provider={"max_price": {"image": image, "request": request, "audio": None}})
        most = call.job.preferences.max_price
        assert (most.image, most.request, call.delivery.warnings) == (0.05, 1, ())
    call = parsed(provider={"max_price": {"prompt": "1", "completion": 2, "audio": 3, "colour": 4}})
    assert call.job.preferences.max_price.image is None
    assert set(call.delivery.warnings) == {
        "provider.max_price.prompt",
        "provider.max_price.completion",
        "provider.max_price.audio",
        "provider.max_price.colour",
    }


def test_what_is_valid_inside_an_object_is_told() -> None:
    for body, valid in (
        ({"provider": {"sort": "cheapest"}}, 'it must be one of "price", "latency", "throughput", not "cheapest"'),
        ({"provider": {"max_price": {"image": "x"}}}, 'it must be a number of at least 0, in US dollars, not "x"'),
        ({"priority": 9}, "it must be an integer from -3 to 3, not 9"),
    ):
        with pytest.raises(InvalidRequestError, match=valid):
            parsed(**body)


def test_a_job_knows_its_priority_and_how_long_it_may_wait() -> None:
    job = parsed(priority=-3, queue_timeout=2.5).job
    assert (job.priority, job.queue_timeout) == (-3, 2.5)
    assert (parsed().job.priority, parsed(queue_timeout=None).job.queue_timeout) == (None, None)


def test_many_or_long_unknown_keys_are_listed_in_short() -> None:
    warnings = parsed(**{f"k{index}": 1 for index in range(300)}).delivery.warnings
    assert (len(warnings), warnings[-1]) == (51, "… and 250 more")
    assert len(parsed(**{"k" * 10_000: 1}).delivery.warnings[0]) < 100


@pytest.mark.parametrize(
    "body",
    [
        {"sampler": "s" * 10**6, "steps": [0] * 10**6},
        {"strict": True, "ab" * 10**6: 1},
        {"size": "1" * 10**6},
        {"quality": "q" * 10**6},
        {"steps": 10**4000},
    ],
    ids=lambda body: str(sorted(body))[:20],
)
def test_an_error_never_repeats_more_than_the_beginning_of_a_value(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parsed(**body)
    assert len(caught.value.message) < 300
    assert len(caught.value.param or "") < 100


def test_null_inside_an_object_is_the_same_as_absent() -> None:
    call = parsed(
        provider={"order": None, "only": ["a"], "options": {"x": None, "y": {"z": None}}},
        hires={"scale": None, "steps": 3},
        loras=[{"name": "a", "weight": None}],
        aspect_ratio=None,
    )
    assert call.job.preferences.order == ()
    assert call.job.preferences.options == {"y": {"z": None}}
    assert call.job.params["hires"] == Hires(steps=3)
    assert call.job.params["loras"] == (Lora("a"),)
    assert not call.delivery.warnings


def test_a_size_may_stand_beside_the_ratio_that_it_has_but_for_rounding() -> None:
    for size in ("1360x768", "1344x768"):
        assert parsed(size=size, aspect_ratio="16:9").job.aspect_ratio is None
    assert parsed(size="auto", aspect_ratio="16:9").job.aspect_ratio == 16 / 9


def test_base64_of_any_shape_is_checked_in_linear_time() -> None:
    for text in ("A" + " " * 1_000_000 + "!", "A " * 500_000 + "!", "A" * 1_000_000 + "!", "data:" + ";a=b" * 250_000):
        started = time.perf_counter()
        with pytest.raises(InvalidRequestError):
            parsed(images=[text])
        assert time.perf_counter() - started < 2


@pytest.mark.parametrize("depth", [100, 900, 960, 975, 990, 1100])
@pytest.mark.parametrize(
    "body",
    [
        b'{"prompt": "x", "images": [%s], "image": [[%s]]}',
        b'{"prompt": "x", "steps": %s, "cfg": [%s]}',
        b'{"prompt": "x", "loras": %s, "hires": %s}',
    ],
)
def test_no_depth_of_nesting_is_a_defect(body: bytes, depth: int) -> None:
    nested = b"[" * depth + b"]" * depth
    with pytest.raises(InvalidRequestError):
        parse(body % (nested, nested), Limits())


def test_a_number_that_is_out_of_range_is_named() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        parse(b'{"prompt": "x", "cfg_scale": 1e999}', Limits())
    assert caught.value.param == "cfg_scale"


@pytest.mark.parametrize("escape", [rb"\ud800", rb"\ud800 and more text", rb"\ud800\u0041", rb"\udc00"])
def test_half_a_character_is_explained(escape: bytes) -> None:
    with pytest.raises(InvalidRequestError, match="half a character"):
        parse(b'{"prompt": "' + escape + b'"}', Limits())


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(
            ["prompt", "n", "size", "seed", "image", "loras", "provider", "hires", "cfg", "x", "extra_body"]
        ),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        ),
    )
)
def test_any_json_object_is_understood_or_refused(body: dict[str, Any]) -> None:
    try:
        call = parse(json.dumps(body).encode(), Limits())
    except InvalidRequestError as error:
        assert error.message
    else:
        assert call.job.prompt == body.get("prompt", (body.get("extra_body") or {}).get("prompt"))
