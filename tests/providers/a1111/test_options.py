"""``provider.options``: which fields of the server's own request a client may set."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.providers.a1111.stocks import A1111_1_7, A1111_1_10, CONFIG, FORGE, SDCPP, SDNEXT, STOCKS, recipe

from imagerouter import ImageRouterError, InvalidParameterError, ProviderRejectedError
from imagerouter_a1111.config import A1111Config
from imagerouter_a1111.options import checked, taken
from imagerouter_a1111.recipe import Checkpoint, Stock

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


def check(options: dict[str, Any], stock: Stock = A1111_1_10, config: A1111Config = CONFIG) -> dict[str, Any]:
    return checked(options, stock, config, recipe(stock))


def refusal(options: dict[str, Any], stock: Stock = A1111_1_10, config: A1111Config = CONFIG) -> ImageRouterError:
    with pytest.raises((ProviderRejectedError, InvalidParameterError)) as refused:
        check(options, stock, config)
    return refused.value


def test_further_fields_of_the_server_s_request_pass_as_they_are() -> None:
    given = {
        "alwayson_scripts": {"ControlNet": {"args": [{"enabled": True, "image": "aGVsbG8="}]}},
        "mask_blur": 4,
        "inpainting_fill": 2,
        "tiling": True,
        "subseed": 3,
        "subseed_strength": 0.2,
        "styles": ["ink"],
        "hr_scheduler": "Karras",
        "override_settings": {"eta_ancestral": 0.5},
    }
    assert check(given) == given


@pytest.mark.parametrize(
    ("field", "parameter"),
    [
        ("prompt", "prompt"),
        ("n_iter", "n"),
        ("batch_size", "n"),
        ("sampler_index", "sampler"),
        ("denoising_strength", "strength"),
        ("init_images", "images"),
        ("enable_hr", "hires"),
        ("hr_scale", "hires.scale"),
        ("mask_blur_x", "provider.options.mask_blur"),
    ],
)
def test_what_has_a_parameter_is_refused_in_its_favour(field: str, parameter: str) -> None:
    error = refusal({field: 1})
    assert error.param == f"provider.options.{field}"
    assert f"use `{parameter}`" in error.message


@pytest.mark.parametrize(
    ("field", "stock"),
    [
        ("save_images", A1111_1_10),
        ("send_images", A1111_1_10),
        ("do_not_save_samples", A1111_1_10),
        ("force_task_id", A1111_1_10),
        ("override_settings_restore_afterwards", A1111_1_10),
        ("infotext", A1111_1_10),
        ("include_init_images", A1111_1_10),
        ("disable_extra_networks", A1111_1_10),
        ("sd_model_checkpoint", SDNEXT),
        ("grading_lut_file", SDNEXT),
        ("samples_format", SDNEXT),
        ("width_after", SDNEXT),
        ("distilled_cfg_scale", FORGE),
        ("resize_mode", A1111_1_10),
        ("hr_additional_modules", FORGE),
        ("cfg_true", SDNEXT),
    ],
)
def test_what_would_break_a_promise_is_refused(field: str, stock: Stock) -> None:
    assert "is set by imagerouter" in refusal({field: 1}, stock).message


def test_a_field_that_the_server_has_not_is_refused_with_one_that_it_has() -> None:
    error = refusal({"subsed": 3})
    assert error.param == "provider.options.subsed"
    assert "did you mean `subseed`?" in error.message
    assert check({"subsed": 3}, SDCPP) == {"subsed": 3}, "a server that doesn't tell may have it"


def test_stable_diffusion_cpp_s_own_jobs_have_their_own_fields() -> None:
    native = replace(SDCPP, capabilities={"samplers": ["euler"]})
    given_options = {"cache_mode": "easycache", "sample_params": {"eta": 0.5, "guidance": {"img_cfg": 2.0}}}
    assert check(given_options, native) == given_options
    assert "is no option" in refusal({"tiling": True}, native).message
    error = refusal({"sample_params": {"guidance": {"txt_cfg": 2.0}}}, native)
    assert error.param == "provider.options.sample_params.guidance.txt_cfg"
    assert "use `cfg_scale`" in error.message
    assert "use `hires.steps`" in refusal({"hires": {"steps": 3}}, native).message


def test_a_script_has_to_be_there() -> None:
    error = refusal({"alwayson_scripts": {"ADetailer": {"args": []}}})
    assert "it has controlnet, refiner" in error.message
    assert isinstance(refusal({"alwayson_scripts": ["ControlNet"]}), InvalidParameterError)
    assert isinstance(refusal({"alwayson_scripts": {"ControlNet": []}}), InvalidParameterError)
    assert check({"alwayson_scripts": {"ADetailer": {"args": []}}}, SDNEXT), "it doesn't tell which it has"


@pytest.mark.parametrize("field", ["script_name", "script_args"])
def test_a_selectable_script_runs_only_where_the_owner_lets_it(field: str) -> None:
    assert "aren't allowed" in refusal({field: "x/y/z plot"}).message
    assert check({field: "x/y/z plot"}, config=A1111Config(allow_scripts=True))


def test_settings_have_to_be_allowed_and_known() -> None:
    assert "isn't allowed here; allowed are" in refusal({"override_settings": {"outdir_samples": "/"}}).message
    assert "has no setting `emphasis`" in refusal({"override_settings": {"emphasis": "None"}}).message
    assert "use `scheduler`" in refusal({"override_settings": {"k_sched_type": "karras"}}, A1111_1_7).message
    assert isinstance(refusal({"override_settings": [1]}), InvalidParameterError)
    assert check({"override_settings": {"emphasis": "None"}}, SDNEXT), "it doesn't list what was never changed"
    assert "is no option" in refusal({"override_settings": {}}, SDCPP).message


ADDRESSES = ["http://a/b.png", "HTTPS://a", " file:///etc/passwd", "\tftp://a", "\x00http://a", "file=a", "upload:7"]
PATHS = ["/etc/passwd", "C:\\a", "d:/a", "\\\\host\\a", "outputs/00001.png", "../../a/b.JPEG", "a b.webp "]


@pytest.mark.parametrize("address", [*ADDRESSES, *PATHS])
def test_what_the_server_would_fetch_or_open_is_refused_at_any_depth(address: str) -> None:
    error = refusal({"alwayson_scripts": {"ControlNet": {"args": [{"image": {"image": address}}]}}})
    assert error.param == "provider.options.alwayson_scripts"
    assert "address" in error.message
    assert "a" not in error.message.split("address")[0].split() or address not in error.message


def test_text_about_an_address_is_no_address() -> None:
    assert check({"styles": ["see http://a", "black/white"], "s_churn": "data:image/png;base64,aGk="})
    assert check({"styles": ["/9j/4AAQSkZJRg==", "face_yolov8n.pt", "control_v11p_sd15_canny [d14c016b]", "a.b. png"]})


def test_tags_are_refused_in_every_prompt_that_there_is() -> None:
    assert refusal({"hr_prompt": "a <lora:ink:1>"}).param == "provider.options.hr_prompt"
    nested = {"ControlNet": {"args": [True, {"ad_prompt": "a <lora:ink:1>"}]}}
    assert refusal({"alwayson_scripts": nested}).param == "provider.options.alwayson_scripts"
    assert check({"alwayson_scripts": nested}, config=A1111Config(prompt_tags=True))


def test_names_of_what_the_server_has_come_in_its_spelling() -> None:
    assert check({"hr_sampler_name": "euler A"}) == {"hr_sampler_name": "Euler a"}
    a = Checkpoint("a.safetensors [0123abcd]", "a", "a.safetensors", "0123abcd")
    loaded = replace(A1111_1_10, checkpoints=(a,))
    for spelling in ("a", "A", "a.safetensors", "0123abcd", a.title):
        assert check({"refiner_checkpoint": spelling}, loaded) == {"refiner_checkpoint": a.title}
    assert check({"refiner_checkpoint": "None"}) == {"refiner_checkpoint": "None"}
    assert "did you mean" in refusal({"hr_sampler_name": "Eulerr"}).message
    assert "did you mean" in refusal({"hr_checkpoint_name": "tinyB"}).message
    assert "there is no" in refusal({"hr_sampler_name": "Use same sampler"}).message, "its user interface's own word"


@pytest.mark.parametrize("options", [{"styles": ["a."] * 20_000}, {f"a{index}": index for index in range(20_000)}])
def test_no_request_has_more_options_than_somebody_could_mean(options: dict[str, Any]) -> None:
    assert "more than 10000 values" in refusal(options, SDCPP).message


@pytest.mark.parametrize("text", [" " * 10**7, "a" * 10**7, "a." * 10**6, "<a" * 10**6])
def test_a_long_option_takes_no_longer_than_others(text: str) -> None:
    assert check({"styles": [text]}) == {"styles": [text]}


@pytest.mark.parametrize("blur", [-1, 65, 1.5, True, "4", None])
def test_a_blur_is_a_number_of_pixels(blur: object) -> None:
    assert isinstance(refusal({"mask_blur": blur}), InvalidParameterError)


def test_a_blur_is_taken_where_only_the_finished_picture_gets_it() -> None:
    assert check({"mask_blur": 4}, replace(SDCPP, capabilities={"samplers": ["euler"]})) == {"mask_blur": 4}


@pytest.mark.parametrize("side", ["seed_resize_from_w", "seed_resize_from_h"])
def test_noise_has_the_size_of_a_picture_at_most(side: str) -> None:
    server = replace(A1111_1_10, fields=A1111_1_10.fields | {side})
    assert check({side: 512}, server) == {side: 512}
    assert isinstance(refusal({side: 10**6}, server), InvalidParameterError)


@pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS)
@settings(max_examples=20, deadline=None)
@given(options=st.dictionaries(st.text(max_size=10), JSON, max_size=3), value=JSON)
def test_whatever_comes_is_taken_or_refused_by_name(stock: Stock, options: dict[str, Any], value: object) -> None:
    words = ("alwayson_scripts", "override_settings", "mask_blur", "hr_prompt", "hr_sampler_name", "refiner_checkpoint")
    for given_options in (options, *({word: value} for word in words)):
        try:
            found = check(given_options, stock)
        except (ProviderRejectedError, InvalidParameterError) as refused:
            assert refused.param is not None
            assert refused.param.startswith("provider.options.")
        else:
            assert set(found) == set(given_options)


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**400, float("nan"), float("inf")])
@pytest.mark.parametrize("stock", [A1111_1_10, SDCPP], ids=["a1111", "sdcpp"])
def test_a_number_that_no_server_can_count_with_is_refused_at_any_depth(number: float, stock: Stock) -> None:
    for given_options in ({"subseed": number}, {"alwayson_scripts": {"ControlNet": {"args": [{"weight": number}]}}}):
        error = refusal(given_options, stock)
        assert isinstance(error, InvalidParameterError)
        assert error.param == f"provider.options.{next(iter(given_options))}"


def test_the_largest_seed_is_a_number_that_it_can_count_with() -> None:
    assert check({"subseed": 2**64 - 1, "s_churn": 0.5, "tiling": True})


def test_a_style_has_to_be_there_where_the_server_tells() -> None:
    server = replace(A1111_1_10, styles=frozenset({"oil painting", "ink"}))
    assert check({"styles": ["ink"]}, server) == {"styles": ["ink"]}
    error = refusal({"styles": ["ink", "oil paint"]}, server)
    assert (error.param, "did you mean `oil painting`?" in error.message) == ("provider.options.styles", True)
    assert "has no style `ink`" in refusal({"styles": ["ink"]}, replace(server, styles=frozenset())).message
    assert isinstance(refusal({"styles": "ink"}, server), InvalidParameterError)
    assert isinstance(refusal({"styles": [1]}), InvalidParameterError)


def test_half_a_character_is_refused_in_names_too() -> None:
    for given_options in ({"\ud83d": 1}, {"styles": ["\ud83d"]}, {"alwayson_scripts": {"ControlNet": {"\ud83d": 1}}}):
        assert "surrogate" in refusal(given_options).message


def test_brackets_are_counted_in_options_as_well() -> None:
    assert "never closed" in refusal({"hr_prompt": "(" * 51}).message


def test_sigmas_of_one_s_own_are_refused() -> None:
    native = replace(SDCPP, capabilities={"samplers": ["euler"]})
    error = refusal({"sample_params": {"custom_sigmas": [14.6, 0.0]}}, native)
    assert error.param == "provider.options.sample_params.custom_sigmas"
    assert "use `steps` and `scheduler`" in error.message


@pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS.keys())
def test_whatever_is_listed_as_taken_is_an_option_and_nothing_of_ours_is(stock: Stock) -> None:
    words = taken(stock, CONFIG)
    assert not words & {
        "prompt",
        "n_iter",
        "steps",
        "init_images",
        "save_images",
        "width",
        "resize_mode",
        "script_args",
    }
    for word in words:
        try:
            check({word: None}, stock)
        except ImageRouterError as error:  # about the value
            assert "no option" not in error.message
            assert "set by imagerouter" not in error.message
    stranger = "colour"
    assert stranger not in words
    assert "no option" in refusal({stranger: 1}, stock).message if words else check({stranger: 1}, stock)
