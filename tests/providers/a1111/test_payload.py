"""What is sent to each server of the family."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.providers.a1111.orders_of import FIELDS, order, stock

from imagerouter_a1111.config import A1111Config, DialectName
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.recipe import Order, Sampler, SecondPass, Stock
from imagerouter_a1111.sdapi.payload import batch, payload, route, settings

CONFIG = A1111Config()
SECOND = SecondPass(width=1000, height=1024, steps=10, strength=0.4, upscaler="Latent")


def body(one: Order, server: Stock, seeds: range = range(7, 8), config: A1111Config = CONFIG, **said: Any) -> Any:
    return payload(one, server, seeds, **{"task_id": None, "overrides": {}, "restore": True, "config": config, **said})


TEXT = {
    "prompt": "a fox",
    "negative_prompt": "",
    "seed": 7,
    "subseed_strength": 0,
    "steps": 20,
    "cfg_scale": 7.0,
    "width": 504,
    "height": 512,
    "sampler_name": "Euler a",
    "batch_size": 1,
    "n_iter": 1,
    "enable_hr": False,
    "send_images": True,
    "save_images": False,
    "do_not_save_samples": True,
    "do_not_save_grid": True,
}


def text(dialect: DialectName) -> dict[str, Any]:
    return {**TEXT, "cfg_true": 7.0} if dialect == "sdnext" else TEXT


@pytest.mark.parametrize("dialect", DIALECTS)
def test_text_to_image_says_everything_explicitly(dialect: DialectName) -> None:
    one = order()
    assert route(one) == "sdapi/v1/txt2img"
    assert body(one, stock(dialect)) == text(dialect)


def test_the_job_of_a_server_with_settings_is_named_and_says_what_becomes_of_them() -> None:
    sent = body(order(), stock(), task_id="ir-1", overrides={"sd_model_checkpoint": "ink"}, restore=False)
    assert sent == TEXT | {
        "force_task_id": "ir-1",
        "override_settings": {"sd_model_checkpoint": "ink"},
        "override_settings_restore_afterwards": False,
    }


def test_a_server_without_settings_gets_none() -> None:
    assert body(order(), stock("sdcpp"), overrides={"sd_model_checkpoint": "ink"}) == TEXT


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_edit_sends_the_picture_and_the_strength(dialect: DialectName) -> None:
    one = order(picture="cGljdHVyZQ==", strength=0.6)
    assert route(one) == "sdapi/v1/img2img"
    expected = {key: value for key, value in text(dialect).items() if key != "enable_hr"} | {
        "init_images": ["cGljdHVyZQ=="],
        "include_init_images": False,
        "resize_mode": 0,
        "denoising_strength": 0.6,
    }
    assert body(one, stock(dialect)) == expected


@pytest.mark.parametrize(("dialect", "told"), [("a1111", 0.0), ("sdnext", 0.0001)])
def test_an_edit_that_changes_nothing_has_a_strength_that_the_server_takes(dialect: DialectName, told: float) -> None:
    assert body(order(picture="cA==", mask="bQ==", strength=0.0), stock(dialect))["denoising_strength"] == told


def test_a_masked_edit_repaints_the_white_part_over_the_whole_picture() -> None:
    one = order(picture="cGljdHVyZQ==", mask="bWFzaw==", strength=0.6)
    config = A1111Config(mask_blur=3)
    sent = body(one, stock(), config=config)
    plain = body(replace(one, mask=None), stock(), config=config)
    assert sent == plain | {
        "mask": "bWFzaw==",
        "mask_blur": 3,
        "inpainting_fill": 1,
        "inpaint_full_res": False,
        "inpainting_mask_invert": 0,
    }


SCALED = {
    "enable_hr": True,
    "hr_resize_x": 1000,
    "hr_resize_y": 1024,
    "hr_upscaler": "Latent",
    "hr_second_pass_steps": 10,
    "denoising_strength": 0.4,
}


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("a1111", SCALED),
        ("reforge", SCALED | {"hr_cfg": 7.0}),
        ("forge", SCALED | {"hr_cfg": 7.0, "hr_additional_modules": ["Use same choices"]}),
        ("sdnext", SCALED | {"hr_force": True, "hr_resize_mode": 1, "hr_denoising_strength": 0.4}),
    ],
)
def test_a_second_pass_has_an_exact_size_and_draws_like_the_first(dialect: DialectName, expected: Any) -> None:
    assert body(order(hires=SECOND), stock(dialect)) == text(dialect) | expected


def test_a_client_may_guide_a_second_pass_in_another_way() -> None:
    options = {"hr_cfg": 2.0, "hr_distilled_cfg": 4.0}
    sent = body(order(guidance=3.0, hires=SECOND, options=options), stock("forge"))
    assert (sent["hr_cfg"], sent["hr_distilled_cfg"]) == (2.0, 4.0)


def test_stable_diffusion_cpp_has_its_own_word_for_the_steps_of_a_second_pass() -> None:
    sent = body(order(hires=SECOND), stock("sdcpp"))
    assert sent["hr_steps"] == 10
    assert "hr_second_pass_steps" not in sent


def test_distilled_guidance_is_forges_and_holds_for_both_passes() -> None:
    sent = body(order(guidance=3.0, hires=SECOND), stock("forge"))
    assert (sent["distilled_cfg_scale"], sent["hr_distilled_cfg"]) == (3.0, 3.0)
    assert "distilled_cfg_scale" not in body(order(guidance=3.0), stock("reforge"))


def test_sd_next_guides_a_distilled_model_by_what_it_calls_cfg_scale() -> None:
    sent = body(order(cfg_scale=1.0, guidance=3.5), stock("sdnext"))
    assert (sent["cfg_scale"], sent["cfg_true"]) == (3.5, 1.0)


def test_loras_are_tags_where_the_server_reads_them() -> None:
    sent = body(order(loras=(("ink", 0.8),)), stock())
    assert sent["prompt"] == "<lora:ink:0.8> a fox"
    assert "lora" not in sent


def test_a_comment_in_the_prompt_hides_no_lora() -> None:
    one = order({"prompt": "a fox # at night"}, loras=(("ink", 0.8),))
    assert body(one, stock())["prompt"] == "<lora:ink:0.8> a fox # at night"


def test_loras_are_a_list_for_stable_diffusion_cpp() -> None:
    sent = body(order(loras=(("ink.safetensors", 0.8),)), stock("sdcpp"))
    assert sent["prompt"] == "a fox"
    assert sent["lora"] == [{"path": "ink.safetensors", "multiplier": 0.8}]


@pytest.mark.parametrize("dialect", ["sdnext", "sdcpp"])
def test_clip_skip_is_a_field_of_these(dialect: DialectName) -> None:
    assert body(order(clip_skip=2), stock(dialect))["clip_skip"] == 2
    assert "CLIP_stop_at_last_layers" not in settings(order(clip_skip=2), stock(dialect), CONFIG)


@pytest.mark.parametrize("dialect", ["a1111", "reforge", "forge"])
def test_clip_skip_is_a_setting_of_the_others(dialect: DialectName) -> None:
    assert settings(order(clip_skip=2), stock(dialect), CONFIG)["CLIP_stop_at_last_layers"] == 2
    assert "clip_skip" not in body(order(clip_skip=2), stock(dialect))


@pytest.mark.parametrize(
    ("dialect", "field", "setting"),
    [
        ("a1111", None, "k_sched_type"),
        ("reforge", "scheduler", None),
        ("forge", "scheduler", None),
        ("sdnext", "schedulers_sigma", None),
        ("sdcpp", "scheduler", None),
    ],
)
def test_the_scheduler_goes_where_the_server_looks_for_it(
    dialect: DialectName, field: str | None, setting: str | None
) -> None:
    one, server = order(sampler=Sampler("DPM++ 2M", "karras")), stock(dialect)
    sent, overrides = body(one, server), settings(one, server, CONFIG)
    places = {"scheduler", "schedulers_sigma", "k_sched_type"}
    assert {name: sent[name] for name in places & sent.keys()} == ({field: "karras"} if field else {})
    assert {name: overrides[name] for name in places & overrides.keys()} == ({setting: "karras"} if setting else {})


def test_nothing_is_sent_for_a_scheduler_that_the_sampler_names_already() -> None:
    assert "scheduler" not in body(order(sampler=Sampler("DPM++ 2M Karras")), stock("forge"))


@pytest.mark.parametrize(
    ("n", "largest", "expected"), [(1, 4, 1), (4, 1, 1), (4, 4, 4), (6, 4, 3), (7, 4, 1), (8, 4, 4), (9, 64, 9)]
)
def test_as_many_at_once_as_divide_the_images_evenly(n: int, largest: int, expected: int) -> None:
    config = A1111Config(batch_size=largest)
    assert batch(n, config, stock()) == expected
    sent = body(order(), stock(), range(7, 7 + n), config)
    assert (sent["seed"], sent["batch_size"], sent["n_iter"]) == (7, expected, n // expected)


def test_stable_diffusion_cpp_draws_all_images_of_a_batch_however_many() -> None:
    sent = body(order(), stock("sdcpp"), range(7, 12), A1111Config(batch_size=2))
    assert (sent["batch_size"], sent["n_iter"]) == (5, 1)


def test_a_clients_options_replace_only_what_is_theirs_to_say() -> None:
    options = {
        "mask_blur": 9,
        "inpaint_full_res": True,
        "subseed_strength": 0.2,
        "alwayson_scripts": {"ADetailer": {"args": []}},
        "prompt": "a cat",
        "width": 9,
        "n_iter": 100,
        "save_images": True,
        "override_settings": {"samples_format": "jpg"},
        "override_settings_restore_afterwards": False,
        "sd_model_checkpoint": "other",
        "force_task_id": "mine",
    }
    sent = body(order(picture="cA==", mask="bQ==", strength=0.5, options=options), stock())
    assert (sent["mask_blur"], sent["inpaint_full_res"], sent["subseed_strength"]) == (9, True, 0.2)
    assert sent["alwayson_scripts"] == {"ADetailer": {"args": []}}
    assert (sent["prompt"], sent["width"], sent["n_iter"], sent["save_images"]) == ("a fox", 504, 1, False)
    assert not sent.keys() & {"override_settings", "override_settings_restore_afterwards"}
    assert not sent.keys() & {"sd_model_checkpoint", "force_task_id"}


# Properties

words = st.text(max_size=8)
weights = st.floats(0, 2)
settled = st.fixed_dictionaries(
    {},
    optional={
        "clip_skip": st.integers(1, 12),
        "vae": words,
        "guidance": weights,
        "loras": st.lists(st.tuples(words, weights), max_size=2).map(tuple),
        "sampler": st.builds(Sampler, words, st.none() | words),
        "hires": st.just(SECOND),
        "options": st.dictionaries(
            st.sampled_from(["mask_blur", "override_settings", "seed", "n_iter"]),
            st.dictionaries(words | st.just("eta_noise_seed_delta"), st.integers()),
        ),
    },
)


@given(
    dialect=st.sampled_from(sorted(DIALECTS)),
    described=st.booleans(),
    said=settled,
    seed=st.integers(0, 2**32 - 65),
    n=st.integers(1, 64),
    largest=st.integers(1, 64),
)
def test_every_request_is_json_for_seeds_without_gaps_and_names_no_unknown_setting(
    dialect: DialectName, described: bool, said: dict[str, Any], seed: int, n: int, largest: int
) -> None:
    server = stock(dialect, fields=FIELDS[dialect] if described else frozenset())
    config = A1111Config(batch_size=largest)
    one = order(**said)
    overrides = settings(one, server, config)
    sent = body(one, server, range(seed, seed + n), config, overrides=overrides)
    assert json.loads(json.dumps(sent)) == sent
    assert sent["seed"] == seed
    assert sent["batch_size"] * sent["n_iter"] == n
    known = {*server.settings, "sd_model_checkpoint", server.dialect.vae_setting}
    assert sent.get("override_settings", {}).keys() <= known
