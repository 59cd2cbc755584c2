"""What the names and texts of a form become."""

import pytest
from tests.core.forms import CAPTURED, PNG, fields, form, part, read, refusal

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError
from imagerouter.openai import interpret


async def test_an_object_that_javascript_made_a_text_of_is_refused_by_name():
    sent = CAPTURED["ai-openai-compatible:edit"]
    assert len(sent.body) == sent.length
    error = await refusal(sent.body, sent.content_type)
    assert error.param == "loras"
    assert "JSON" in error.message
    assert (await refusal(form(part("provider", "[object Object],[object Object]")))).param == "provider"


@pytest.mark.parametrize("name", ["image", "image[]", "images", "images[]", "image[0]", "init_images", "input_image"])
async def test_a_picture_may_have_many_names(name):
    got = await read(form(part("prompt", "a fox"), part(name, PNG, filename="fox.png")))
    assert got.fields == {"prompt": "a fox", "images": ["upload:0"]}
    assert got.pictures["upload:0"].data == PNG


async def test_pictures_stand_in_order_of_their_indices_or_else_of_their_arrival():
    numbered = [part(f"image[{index}]", PNG, filename="a") for index in (10, 9, 1)]
    assert (await fields(*numbered))["images"] == ["upload:2", "upload:1", "upload:0"]
    mixed = [part(name, PNG, filename="a") for name in ("image[]", "images", "image", "images[]")]
    assert (await fields(*mixed))["images"] == ["upload:0", "upload:1", "upload:2", "upload:3"]


@pytest.mark.parametrize("name", ["mask", "mask[]", "mask_image"])
async def test_a_mask_may_come_in_brackets_and_before_its_picture(name):
    got = await read(form(part(name, PNG, filename="m"), part("image", PNG, filename="i")))
    assert got.fields == {name.removesuffix("[]"): "upload:0", "images": ["upload:1"]}


async def test_texts_become_what_their_field_takes():
    texts = {
        "n": "2", "steps": " 20\n", "num_inference_steps": "20", "cfg_scale": "7", "strength": "0.5", "seed": "-1",
        "stream": "True", "strict": "0", "size": "1024", "user": "1234", "model": "007", "prompt": "12",
        "provider[allow_fallbacks]": "false", "provider[max_price][image]": "0.04", "queue_timeout": "null",
    }  # fmt: skip
    assert await fields(*(part(name, text) for name, text in texts.items())) == {
        "n": 2, "steps": 20, "num_inference_steps": 20, "cfg_scale": 7, "strength": 0.5, "seed": -1,
        "stream": True, "strict": False, "size": "1024", "user": "1234", "model": "007", "prompt": "12",
        "provider": {"allow_fallbacks": False, "max_price": {"image": 0.04}},
    }  # fmt: skip


@pytest.mark.parametrize("text", ["twenty", "nan", "Infinity", "1e999", "0x10", "1_000", "None", "[" * 5000])
async def test_a_text_that_is_no_number_is_refused_like_in_json(text):
    with pytest.raises(InvalidParameterError) as caught:
        interpret(await fields(part("prompt", "a fox"), part("steps", text)), Limits())
    assert caught.value.param == "steps"


async def test_an_empty_text_says_nothing():
    empty = [part(name, "") for name in ("n", "model", "image", "loras[][name]", "hires[scale]", "provider[order][]")]
    assert await fields(*empty, part("negative_prompt", ""), part("mask", "", filename="")) == {}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ([("loras", '[{"name": "a", "weight": 0.5}]')], {"loras": [{"name": "a", "weight": 0.5}]}),
        ([("lora", '{"path": "a"}')], {"lora": [{"path": "a"}]}),
        ([("loras", "a")], {"loras": ["a"]}),
        ([("loras", "a"), ("loras", "b")], {"loras": ["a", "b"]}),
        ([("loras[path]", "7"), ("loras[scale]", "0.5")], {"loras": [{"path": "7", "scale": 0.5}]}),
        ([("loras[1][name]", "b"), ("loras[0][name]", "a")], {"loras": [{"name": "a"}, {"name": "b"}]}),
        ([("hires", '{"scale": 2}')], {"hires": {"scale": 2}}),
        ([("hires[scale]", "2"), ("hires[upscaler]", "4")], {"hires": {"scale": 2, "upscaler": "4"}}),
        ([("models", "a")], {"models": ["a"]}),
        ([("models[]", "a"), ("models[]", "1")], {"models": ["a", "1"]}),
        ([("models", '["a", "b"]')], {"models": ["a", "b"]}),
        ([("provider[order][]", "a"), ("provider[order][]", "b")], {"provider": {"order": ["a", "b"]}}),
        ([("provider[only]", "a")], {"provider": {"only": ["a"]}}),
        ([("provider[sort]", "price")], {"provider": {"sort": "price"}}),
        ([("provider[sort][by]", "price")], {"provider": {"sort": {"by": "price"}}}),
        ([("provider[options][a][67][seed]", "5")], {"provider": {"options": {"a": {"67": {"seed": 5}}}}}),
        ([("provider[options][a][on]", "true")], {"provider": {"options": {"a": {"on": True}}}}),
        ([("extra_body", '{"steps": 3}')], {"extra_body": {"steps": 3}}),
        ([("extra_body[num_steps]", "3")], {"extra_body": {"num_steps": 3}}),
        ([("n", "1"), ("n", "1"), ("n", "")], {"n": 1}),
        ([("tags", "a"), ("tags", "b")], {"tags": ["a", "b"]}),
        ([("odd]name[", "a"), ("[x]", "b")], {"odd]name[": "a", "[x]": "b"}),
        (
            [("gr\u00f6\u00dfe", "gro\u00df \U0001f98a"), ("a%22b", "c")],
            {"gr\u00f6\u00dfe": "gro\u00df \U0001f98a", 'a"b': "c"},
        ),
    ],
)
async def test_brackets_and_json_texts_become_lists_and_objects(parts, expected):
    assert await fields(*(part(name, text) for name, text in parts)) == expected


@pytest.mark.parametrize(
    ("param", "parts"),
    [
        ("n", [("n", "1"), ("n", "2")]),
        ("mask", [("mask", "aaaa"), ("mask[]", "bbbb")]),
        ("loras", [("loras[][name]", "a"), ("loras[][name]", "b"), ("loras[][weight]", "1")]),
        ("loras", [("loras[][name]", "a"), ("loras[][weight]", "1"), ("loras[][name]", "b")]),
        ("loras", [("loras[][name][]", "a")]),
        ("loras", [("loras[]", "a"), ("loras[name]", "b")]),
        ("loras", [("loras", "[{]")]),
        ("loras[0]", [("loras", "{")]),
        ("hires", [("hires", "{'scale': 2}")]),
        ("provider", [("provider", "{}"), ("provider[sort]", "price")]),
        ("provider", [("provider", '{"a":' * 5000)]),
        ("provider.sort", [("provider[sort]", "price"), ("provider[sort]", "latency")]),
        ("deep", [("deep" + "[a]" * 9, "1")]),
    ],
)
async def test_a_form_that_contradicts_itself_names_the_field(param, parts):
    error = await refusal(form(*(part(name, text) for name, text in parts)))
    assert isinstance(error, InvalidParameterError)
    assert error.param == param
