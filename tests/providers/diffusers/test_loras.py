from __future__ import annotations

from typing import Any

import pytest

from imagerouter import Lora, ProviderRejectedError

SIZE = {"width": 64, "height": 64}


async def test_a_lora_changes_the_picture_by_its_weight_and_leaves_nothing_behind(studio: Any) -> None:
    plain = await studio.pixels("sd1", **SIZE)
    inked = [await studio.pixels("sd1", loras=(Lora("ink", weight),), **SIZE) for weight in (0.0, 0.5, 1.0)]
    assert (inked[0] == plain).all()
    assert (inked[1] != plain).any()
    assert (inked[2] != inked[1]).any()
    assert (await studio.pixels("sd1", **SIZE) == plain).all()


async def test_a_lora_of_the_text_encoder_is_taken_off_again_too(studio: Any) -> None:
    plain = await studio.pixels("sd1", **SIZE)
    assert (await studio.pixels("sd1", loras=(Lora("kohya"), Lora("ink")), **SIZE) != plain).any()
    assert (await studio.pixels("sd1", **SIZE) == plain).all()


@pytest.mark.parametrize("name", ["ink", "ink.safetensors", "style/ink", "style\\ink.safetensors"])
async def test_a_lora_is_found_by_every_usual_spelling_of_its_name(studio: Any, name: str) -> None:
    images = await studio.draw("sd1", loras=(Lora(name, 1.0),), **SIZE)
    assert images.applied["loras"] == [{"name": name, "weight": 1.0}]


async def test_the_same_lora_twice_adds_up(studio: Any) -> None:
    twice = await studio.pixels("sd1", loras=(Lora("ink", 0.5), Lora("ink", 0.5)), **SIZE)
    assert abs(twice - await studio.pixels("sd1", loras=(Lora("ink", 1.0),), **SIZE)).max() <= 1


@pytest.mark.parametrize(("name", "message"), [("none-such", "there is no LoRA"), ("odd", "doesn't fit")])
async def test_a_lora_that_can_not_be_used_is_named_and_leaves_the_model_alone(
    studio: Any, name: str, message: str
) -> None:
    plain = await studio.pixels("sd1", **SIZE)
    with pytest.raises(ProviderRejectedError, match=message) as raised:
        await studio.draw("sd1", loras=(Lora("ink"), Lora(name)), **SIZE)
    assert raised.value.param == "loras[1].name"
    assert (await studio.pixels("sd1", **SIZE) == plain).all()
