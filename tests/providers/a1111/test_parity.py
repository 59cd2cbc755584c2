"""Same seed, same picture: what is sent for it, what is left as it was, and what is declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.providers.a1111.desk import desk, drawn, request, sent
from tests.providers.a1111.fake_dialects import LISTS
from tests.providers.a1111.stocks import A1111_1_7, A1111_1_10, FORGE, SDCPP, SDNEXT

from imagerouter import Parity, Reproducible, Tier
from imagerouter_a1111.config import A1111Model
from imagerouter_a1111.parity import LITERAL, SETTINGS, declared, dtype_of
from imagerouter_a1111.recipe import Checkpoint, Stock

MODEL = "tinyA.safetensors"
ROWS = {row.name: row for row in (*SETTINGS, *LITERAL)}
CONSTANT = {row.name: row.value for row in SETTINGS}
TEXT = {row.name: row.value for row in LITERAL}
VAE = {"sd_vae": "None", "sd_vae_overrides_per_model_preferences": True}
INK = Checkpoint("ink.safetensors", "ink", "ink.safetensors")


def overrides(fake: Any, place: int = -1) -> dict[str, Any]:
    found: dict[str, Any] = sent(fake)[place]["override_settings"]
    return {name: value for name, value in found.items() if name in ROWS or name in VAE}


def known(stock: Stock, **settings: Any) -> Stock:
    """With all settings of a web UI of today."""
    return replace(stock, settings={**LISTS["options"], **stock.settings, **settings})


def proven(stock: Stock, *, checkpoint: Checkpoint = INK, family: Any = "sd15", **entry: Any) -> Reproducible | None:
    return declared(checkpoint, A1111Model(**entry), family, stock)


# What is sent


def test_every_setting_is_one_that_the_server_has_and_of_its_type():
    assert len(ROWS) == len(SETTINGS) + len(LITERAL)
    assert ROWS.keys() <= LISTS["options"].keys()
    listed = {name: type(LISTS["options"][name]) for name in ROWS}
    assert {name: type(row.value) for name, row in ROWS.items() if listed[name] not in (float, int)} == {
        name: kind for name, kind in listed.items() if kind not in (float, int)
    }
    assert all(row.why and row.source.endswith(".py") for row in ROWS.values())


@pytest.mark.parametrize(
    ("parity", "expected"),
    [
        (Parity.OFF, {}),
        (Parity.BEST_EFFORT, {**CONSTANT, **TEXT}),
        (Parity.STRICT, {**CONSTANT, **TEXT, **VAE}),
    ],
)
async def test_all_settings_go_with_every_request_or_none_and_the_owner_has_his_own_afterwards(a1111, parity, expected):
    async with desk(a1111) as provider:
        before = {name: a1111.settings.get(name) for name in (*ROWS, *VAE)}
        for _ in range(2):
            await drawn(provider, request(MODEL, parity=parity))
            assert overrides(a1111) == expected
            assert {name: a1111.settings.get(name) for name in (*ROWS, *VAE)} == before


async def test_strict_and_best_effort_draw_the_same_where_no_vae_stands_in_and_off_draws_as_the_owner_has_it(a1111):
    a1111.settings.data["randn_source"] = "NV"
    async with desk(a1111) as provider:
        off, best, strict = [await drawn(provider, request(MODEL, parity=parity)) for parity in Parity]
        assert best == strict != off


@pytest.mark.parametrize(
    ("prompt", "written", "literal"),
    [
        ("a fox", "a fox", True),
        (r"a fox \(red\), C:\path", r"a fox (red), C:\path", True),
        ("a (red:1.2) fox", "a (red:1.2) fox", False),
        (r"a \(red\) [fox]", r"a \(red\) [fox]", False),
        ("a fox AND a hen", "a fox AND a hen", False),
        ("a fox BREAK a hen", "a fox BREAK a hen", False),
        ("a fox # mine", "a fox # mine", False),
        ("a BRANDY, a breakfast", "a BRANDY, a breakfast", True),
    ],
)
async def test_a_prompt_that_is_only_text_is_sent_as_such_and_any_other_as_it_is(a1111, prompt, written, literal):
    async with desk(a1111) as provider:
        await drawn(provider, request(MODEL, prompt=prompt))
        assert sent(a1111)[-1]["prompt"] == written
        assert overrides(a1111) == {**CONSTANT, **(TEXT if literal else {})}
        await drawn(provider, request(MODEL, negative_prompt=prompt))
        assert sent(a1111)[-1]["negative_prompt"] == written


@pytest.mark.parametrize("prompt", ["at 12:30", "16 : .9 ", "a:-1."])
async def test_a_number_that_ends_a_prompt_is_text_and_no_weight_of_all_of_it(a1111, prompt):
    async with desk(a1111) as provider:
        await drawn(provider, request(MODEL, prompt=prompt, negative_prompt=prompt))
        body = sent(a1111)[-1]
        assert (body["prompt"], body["negative_prompt"]) == (prompt + ":1", prompt)


async def test_without_parity_prompts_are_sent_as_they_are(a1111):
    async with desk(a1111) as provider:
        await drawn(provider, request(MODEL, prompt=r"a fox \(red\) at 12:30", parity=Parity.OFF))
        assert sent(a1111)[-1]["prompt"] == r"a fox \(red\) at 12:30"


async def test_an_empty_negative_prompt_of_sdxl_is_no_zeros(a1111):
    models = {"xl": {"checkpoint": "tinyA", "family": "sdxl"}}
    async with desk(a1111, models=models) as provider:
        for parity, expected in ((Parity.BEST_EFFORT, " "), (Parity.OFF, "")):
            await drawn(provider, request("xl", parity=parity))
            assert sent(a1111)[-1]["negative_prompt"] == expected


async def test_parameters_and_a_clients_settings_go_first(a1111):
    asked = {"clip_skip": 2, "options": {"override_settings": {"eta_noise_seed_delta": 31337}}}
    async with desk(a1111) as provider:
        await drawn(provider, request(MODEL, **asked))
        found = overrides(a1111)
    assert found == {**CONSTANT, **TEXT, "CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337}


@pytest.mark.parametrize("scheduler", [None, "ddim_uniform"])
async def test_ddim_is_eulers_method_on_its_own_schedule(a1111, scheduler):
    async with desk(a1111) as provider:
        result = await provider.generate(request(MODEL, sampler="ddim", scheduler=scheduler), lambda _: None)
        body = sent(a1111)[-1]
        assert (body["sampler_name"], body["scheduler"]) == ("Euler", "DDIM")
        assert overrides(a1111)["sgm_noise_multiplier"] is False
        assert (result.applied["sampler"], result.applied["scheduler"]) == ("ddim", "ddim_uniform")
        await drawn(provider, request(MODEL, sampler="ddim", scheduler=scheduler, parity=Parity.OFF))
        assert sent(a1111)[-1]["sampler_name"] == "DDIM"


async def test_a_server_that_is_too_old_is_sent_nothing_and_nothing_is_proven_of_it(launch):
    fake = await launch("a1111-old")
    del fake.settings.labels["sgm_noise_multiplier"]
    fake.settings.data.pop("sgm_noise_multiplier", None)
    async with desk(fake) as provider:
        assert not [model for model in await provider.models() if model.parity is not None]
        await drawn(provider, request(MODEL, parity=Parity.STRICT))
        assert not overrides(fake)


# What is declared


def test_weights_in_prompts_are_computed_in_another_way():
    new = proven(known(A1111_1_10))
    assert new is not None
    assert (new.profile, new.tiers["weights"]) == ("sd1", Tier.NONE)
    old = proven(known(A1111_1_7))
    assert old is not None
    assert old.tiers == {**new.tiers, "sampler.ddim": Tier.CLOSE}


@pytest.mark.parametrize(("stock", "tier"), [(A1111_1_10, None), (FORGE, Tier.NONE)])
def test_long_prompts_are_cut_where_others_cut_them_but_for_forge(stock, tier):
    found = proven(known(stock))
    assert found is not None
    assert found.tiers.get("long_prompt") == tier


def test_layers_of_sdxls_text_encoders_are_not_skipped():
    found = proven(known(A1111_1_10), family="sdxl")
    assert found is not None
    assert (found.profile, found.tiers["clip_skip"]) == ("sdxl", Tier.NONE)


@pytest.mark.parametrize(
    ("stock", "asked"),
    [
        (known(A1111_1_10), {"family": "flux"}),
        (known(A1111_1_10), {"settings": {"eta_noise_seed_delta": 31337}}),
        (known(A1111_1_10), {"settings": {"upcast_attn": True}}),
        (known(A1111_1_10), {"checkpoint": replace(INK, file="ink-inpainting.safetensors")}),
        (known(A1111_1_10), {"checkpoint": replace(INK, file="ink_vPred.safetensors")}),
        (A1111_1_10, {}),
        (known(SDNEXT), {}),
        (SDCPP, {}),
    ],
)
def test_nothing_is_proven_of_what_is_drawn_in_another_way(stock, asked):
    assert proven(stock, **asked) is None


@pytest.mark.parametrize(
    ("stock", "entry", "expected"),
    [
        (known(A1111_1_10), {}, ""),
        (known(A1111_1_10, sd_vae="None"), {}, ""),
        (known(A1111_1_10, sd_vae="soft.pt"), {}, "soft.pt"),
        (known(A1111_1_10, sd_vae="soft.pt"), {"vae": "hard.pt"}, "hard.pt"),
        (known(A1111_1_10), {"settings": {"sd_vae": "hard.pt", "randn_source": "CPU"}}, "hard.pt"),
        (replace(known(A1111_1_10), vaes=("soft.pt", "ink.vae.pt")), {}, "ink.vae.pt"),
        (known(FORGE, forge_additional_modules=["/models/VAE/ae.safetensors"]), {}, "ae.safetensors"),
        (known(FORGE, forge_additional_modules=["ae.safetensors"]), {"modules": ["b.sft"]}, "b.sft"),
    ],
)
def test_the_vae_that_stands_in_is_told(stock, entry, expected):
    found = proven(stock, **entry)
    assert found is not None
    assert found.vae == expected


@pytest.mark.parametrize(
    ("dialect", "flags", "expected"),
    [
        ("a1111", {"no_half": True, "precision": "full"}, "fp32"),
        ("a1111", {"no_half": False}, "fp16"),
        ("a1111", {}, ""),
        ("reforge", {"all_in_fp32": True}, "fp32"),
        ("reforge", {"no_half": False, "unet_in_bf16": True}, "bf16"),
        ("reforge", {"no_half": False, "unet_in_bf16": False}, ""),
        ("forge", {}, ""),
    ],
)
def test_precision_is_what_the_server_was_started_with(dialect, flags, expected):
    assert dtype_of(dialect, flags) == expected


async def test_numbers_in_half_precision_are_another_kind(a1111):
    a1111.settings.labels["fp8_storage"] = "Enable"
    a1111.settings.data["fp8_storage"] = "Enable"
    async with desk(a1111) as provider:
        assert {model.parity.dtype for model in await provider.models() if model.parity is not None} == {""}
