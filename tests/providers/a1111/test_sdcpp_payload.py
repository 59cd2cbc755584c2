"""Orders as stable-diffusion.cpp's own API takes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.a1111.orders_of import order

from imagerouter_a1111.recipe import Sampler, SecondPass
from imagerouter_a1111.sdcpp import FIELDS
from imagerouter_a1111.sdcpp.payload import payload


def body(request=None, *, seeds=range(7, 8), keep_metadata=False, **settled):
    return payload(order(request, **settled), seeds, keep_metadata=keep_metadata)


def test_all_that_was_settled_is_said():
    drawn = body(
        {"negative_prompt": "fog"},
        seeds=range(2**32 - 2, 2**32),
        sampler=Sampler("dpm++2m", "karras"),
        guidance=3.5,
        clip_skip=2,
        loras=(("styles/ink.safetensors", 0.5),),
    )
    assert drawn == {
        "prompt": "a fox",
        "negative_prompt": "fog",
        "seed": 2**32 - 2,
        "batch_count": 2,
        "width": 504,
        "height": 512,
        "clip_skip": 2,
        "sample_params": {
            "sample_steps": 20,
            "sample_method": "dpm++2m",
            "scheduler": "karras",
            "guidance": {"txt_cfg": 7.0, "distilled_guidance": 3.5},
        },
        "lora": [{"path": "styles/ink.safetensors", "multiplier": 0.5}],
        "hires": {"enabled": False},
        "output_format": "png",
        "embed_image_metadata": False,
    }


def test_what_nobody_said_stays_as_the_server_was_started():
    drawn = body()
    assert "clip_skip" not in drawn
    assert "scheduler" not in drawn["sample_params"]
    assert "distilled_guidance" not in drawn["sample_params"]["guidance"]
    assert not {"init_image", "mask_image", "strength"} & set(drawn)


def test_loras_and_a_second_pass_of_the_servers_own_are_turned_off():
    drawn = body()
    assert (drawn["lora"], drawn["hires"], drawn["negative_prompt"]) == ([], {"enabled": False}, "")


def test_a_picture_comes_with_its_strength_and_its_mask():
    assert "mask_image" not in body(picture="AAAA", strength=0.4)
    drawn = body(picture="AAAA", mask="BBBB", strength=0.4)
    assert (drawn["init_image"], drawn["mask_image"], drawn["strength"]) == ("AAAA", "BBBB", 0.4)


@pytest.mark.parametrize(("strength", "told"), [(0.5, 0.5), (1.0, 1.0), (0.0, 0.0001)])
def test_a_second_pass_has_a_strength_that_the_server_takes(strength, told):
    assert body(hires=SecondPass(1024, 768, 9, strength, "Latent (bicubic)"))["hires"] == {
        "enabled": True,
        "upscaler": "Latent (bicubic)",
        "target_width": 1024,
        "target_height": 768,
        "steps": 9,
        "denoising_strength": told,
    }


def test_options_add_to_what_is_nested():
    said = {
        "sample_params": {"eta": 0.5, "guidance": {"slg": {"scale": 2.5}}},
        "hires": {"upscale_tile_size": 64},
        "cache_mode": "easycache",
    }
    drawn = body(options=said)
    assert drawn["sample_params"]["eta"] == 0.5
    assert drawn["sample_params"]["guidance"] == {"txt_cfg": 7.0, "slg": {"scale": 2.5}}
    assert drawn["hires"] == {"enabled": False, "upscale_tile_size": 64}
    assert drawn["cache_mode"] == "easycache"


VALUES = st.one_of(st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2))
NESTED = st.dictionaries(
    st.sampled_from(["eta", "enabled", "sample_steps", "sample_method", "guidance", "txt_cfg", "steps"]),
    VALUES | st.dictionaries(st.sampled_from(["txt_cfg", "img_cfg"]), VALUES),
)


@given(
    st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.sampled_from(["prompt", "seed", "ad_model"]), VALUES | NESTED)
)
def test_options_never_change_what_was_settled(said):
    drawn = body(options=said)

    def holds(ours, theirs):
        return all(
            holds(value, theirs[name]) if isinstance(value, dict) else theirs[name] == value
            for name, value in ours.items()
        )

    assert holds(body(), drawn)
    assert set(drawn) <= set(body()) | FIELDS
