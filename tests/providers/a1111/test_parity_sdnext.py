"""Same seed, same picture on SD.Next: what is sent for it, and what is declared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.providers.a1111.desk import desk, drawn, request, sent
from tests.providers.a1111.fake import FakeA1111
from tests.providers.a1111.fake_dialects import LISTS
from tests.providers.a1111.replay import Sink
from tests.providers.a1111.replay import desk as tape_desk
from tests.providers.a1111.stocks import SDNEXT
from tests.providers.a1111.tapes import family_tape, lines

from imagerouter import Parity, Reproducible, Tier
from imagerouter_a1111.config import A1111Model
from imagerouter_a1111.parity import SDNEXT_FIELDS, SDNEXT_SETTINGS, declared
from imagerouter_a1111.recipe import Checkpoint, Stock

MODEL = "Diffusers/tiny/sdA"
INK = Checkpoint("ink.safetensors", "ink", "ink.safetensors")
FIELDS = {row.name: row.value for row in SDNEXT_FIELDS}
SETTINGS = {row.name: row.value for row in SDNEXT_SETTINGS}
USUAL = {"prompt_attention": "native", "wildcards_enabled": True, "schedulers_fallback": True}
KNOWN = replace(
    SDNEXT,
    fields=SDNEXT.fields | FIELDS.keys() | {"prompt_attention"},
    settings={**SDNEXT.settings, **USUAL},
)


@pytest.fixture
async def sdnext(launch: Any) -> FakeA1111:
    """A server that tells the settings that matter."""
    fake: FakeA1111 = await launch("sdnext")
    fake.settings.labels |= USUAL
    fake.settings.data |= USUAL
    return fake


def fields(fake: FakeA1111) -> dict[str, Any]:
    """What the last job had of those that matter."""
    return {name: value for name, value in sent(fake)[-1].items() if name in FIELDS}


def overrides(fake: FakeA1111) -> dict[str, Any]:
    found: dict[str, Any] = sent(fake)[-1]["override_settings"]
    return {name: value for name, value in found.items() if name in (*SETTINGS, "sd_vae", "schedulers_fallback")}


def proven(stock: Stock, *, checkpoint: Checkpoint = INK, family: Any = "sd15", **entry: Any) -> Reproducible | None:
    return declared(checkpoint, A1111Model(**entry), family, stock)


# What is sent


def test_every_field_is_one_that_both_kinds_of_requests_have_and_every_setting_one_of_the_server():
    assert FIELDS.keys() <= LISTS["sdnext_txt2img"].keys() & LISTS["sdnext_img2img"].keys()
    assert SETTINGS.keys() <= set(LISTS["sdnext_labels"])
    assert not FIELDS.keys() & SETTINGS.keys()
    assert all(row.why and row.source.endswith(".py") for row in (*SDNEXT_FIELDS, *SDNEXT_SETTINGS))


async def test_the_real_server_took_every_one_of_them_and_read_prompts_to_the_letter():
    (told,) = lines("sdnext/txt2img", "drawn as others draw it")
    assert FIELDS.items() <= told["response"]["parameters"].items()
    assert "Scheduler: DPMSolverMultistepScheduler" in told["response"]["info"]
    assert "Parser: a1111" in told["response"]["info"]
    async with family_tape("sdnext/txt2img", section="drawn as others draw it") as tape, tape_desk(tape) as provider:
        result = await provider.generate(request(MODEL, seed=42), Sink())
    assert (result.applied["sampler"], len(result.images)) == ("dpmpp_2m", 1)


@pytest.mark.parametrize(
    ("parity", "expected", "settings"),
    [
        (Parity.OFF, {}, {"schedulers_fallback": True}),
        (Parity.BEST_EFFORT, FIELDS, {**SETTINGS, "schedulers_fallback": True}),
        (Parity.STRICT, FIELDS, {**SETTINGS, "schedulers_fallback": False, "sd_vae": "Default"}),
    ],
)
async def test_all_of_it_goes_with_every_job_or_none_and_the_owner_has_his_own_afterwards(
    sdnext, parity, expected, settings
):
    async with desk(sdnext) as provider:
        for _ in range(2):
            await drawn(provider, request(MODEL, parity=parity))
            assert fields(sdnext) == expected
            assert settings.items() <= overrides(sdnext).items()
            assert not SETTINGS.keys() & (overrides(sdnext).keys() - settings.keys())
    assert {name: sdnext.settings.get(name) for name in USUAL} == USUAL


async def test_pictures_do_not_depend_on_how_the_owner_has_prompts_read_unless_parity_is_off(sdnext):
    async with desk(sdnext) as provider:
        best, off = [
            await drawn(provider, request(MODEL, parity=parity)) for parity in (Parity.BEST_EFFORT, Parity.OFF)
        ]
    sdnext.settings.data["prompt_attention"] = "xhinker"
    async with desk(sdnext) as provider:
        assert best == await drawn(provider, request(MODEL))
        assert off != await drawn(provider, request(MODEL, parity=Parity.OFF))


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"prompt_mean_norm": True}, {"prompt_mean_norm": True}),
        ({"override_settings": {"diffusers_generator_device": "GPU"}}, {}),
    ],
)
async def test_what_a_client_sets_goes_first(sdnext, options, left):
    allowed = ["diffusers_generator_device"]
    async with desk(sdnext, client_settings=allowed) as provider:
        await drawn(provider, request(MODEL, options=options))
    others = FIELDS.keys() - options.keys() - options.get("override_settings", {}).keys()
    assert fields(sdnext) == {name: FIELDS[name] for name in others} | left


@pytest.mark.parametrize("prompt", [r"a \(red\) fox, at 12:30", "a (red:1.3) fox"])
async def test_prompts_go_as_they_are(sdnext, prompt):
    async with desk(sdnext) as provider:
        await drawn(provider, request(MODEL, prompt=prompt))
        assert (sent(sdnext)[-1]["prompt"], sent(sdnext)[-1]["negative_prompt"]) == (prompt, "")


# What is declared


def test_one_sampler_is_exact_three_are_close_and_the_rest_is_another_picture():
    found = proven(KNOWN)
    assert found is not None
    assert found.profile == "sd1"
    assert {"sampler.dpmpp_2m", "scheduler.karras", "clip_skip"}.isdisjoint(found.tiers)
    assert {name for name, tier in found.tiers.items() if tier is Tier.CLOSE} == {
        "sampler.euler",
        "sampler.heun",
        "sampler.lms",
    }
    unlike = ("sampler.euler_ancestral", "sampler.ddim", "scheduler.normal", "edit", "weights", "long_prompt")
    assert {found.tiers[name] for name in unlike} == {Tier.NONE}


@pytest.mark.parametrize(
    ("stock", "asked"),
    [
        (KNOWN, {"family": "sdxl"}),
        (KNOWN, {"checkpoint": replace(INK, file="ink-inpainting.safetensors")}),
        (KNOWN, {"settings": {"diffusers_generator_device": "GPU"}}),
        (replace(KNOWN, settings={**KNOWN.settings, "sdnq_quantize_weights": ["Model"]}), {}),
        (replace(KNOWN, settings={**KNOWN.settings, "sd_text_encoder": "other"}), {}),
        (replace(KNOWN, settings=SDNEXT.settings), {}),
        (replace(KNOWN, fields=SDNEXT.fields), {}),
    ],
)
def test_nothing_is_proven_of_other_models_other_weights_and_older_servers(stock, asked):
    assert proven(stock, **asked) is None


@pytest.mark.parametrize(
    ("started", "chosen", "expected"),
    [("fp32", "FP16", "fp32"), ("", "FP32", "fp32"), ("", "BF16", "bf16"), ("", "Auto", ""), ("", None, "")],
)
def test_precision_is_what_the_server_was_started_with_or_what_its_owner_has_chosen(started, chosen, expected):
    found = proven(replace(KNOWN, dtype=started, settings={**KNOWN.settings, "cuda_dtype": chosen}))
    assert found is not None
    assert found.dtype == expected


@pytest.mark.parametrize(("chosen", "expected"), [("Default", ""), ("Automatic", "ink.vae"), ("soft", "soft")])
def test_the_vae_that_stands_in_is_told(chosen, expected):
    found = proven(replace(KNOWN, settings={**KNOWN.settings, "sd_vae": chosen}, vaes=("ink.vae",)))
    assert found is not None
    assert found.vae == expected
