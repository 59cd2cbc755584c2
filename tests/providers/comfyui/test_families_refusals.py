"""What the templates can't use, named in the client's words."""

from __future__ import annotations

from typing import Any

import pytest
from tests.providers.comfyui.shelf import ask, build, templates

from imagerouter import Hires, InvalidParameterError, Lora, ProviderRejectedError

SHELF = templates()
SD15 = SHELF["v1-5-pruned-emaonly.safetensors"]
FLUX2 = SHELF["flux2_dev_fp8mixed.safetensors"]


@pytest.mark.parametrize(
    ("values", "param", "message"),
    [
        (
            {"loras": (Lora("inc"),)},
            "loras[0].name",
            "`loras[0].name`: there is no LoRA `inc` here; did you mean `style/",
        ),
        (
            {"loras": (Lora("zzz"),)},
            "loras[0].name",
            "`loras[0].name`: there is no LoRA `zzz` here; there is style/",
        ),
        ({"vae": "nothing"}, "vae", "`vae`: there is no VAE `nothing` here"),
        ({"sampler": "eulerr"}, "sampler", "`sampler` must be one of euler, "),
        ({"scheduler": "sharp"}, "scheduler", "`scheduler` must be one of simple, "),
        ({"hires": Hires(upscaler="8x")}, "hires.upscaler", "`hires.upscaler` must be one of latent, "),
        ({"hires": Hires(scale=99)}, "hires.scale", "`hires.scale` makes it larger than 16384 pixels"),
    ],
)
def test_what_cannot_be_used_is_named(values: dict[str, Any], param: str, message: str) -> None:
    with pytest.raises((InvalidParameterError, ProviderRejectedError)) as refused:
        build(SD15, ask(SD15, **values))
    assert refused.value.param == param
    assert refused.value.message.startswith(message)


@pytest.mark.parametrize(
    ("item", "key", "message"),
    [
        ("canny", ".name", "must be the name of a ControlNet"),
        ({"name": "cany"}, ".name", "there is no ControlNet `cany` here; did you mean `canny.safetensors`"),
        ({"name": "canny", "strength": 11}, ".strength", "must be between 0 and 10"),
        ({"name": "canny", "end": True}, ".end", "must be between 0 and 1"),
        ({"name": "canny", "weight": 1}, ".weight", "has no `weight`"),
    ],
)
def test_what_is_wrong_with_a_controlnet_is_named(item: Any, key: str, message: str) -> None:
    with pytest.raises((InvalidParameterError, ProviderRejectedError)) as refused:
        build(SD15, ask(SD15, options={"controlnet": [item]}))
    assert refused.value.param == f"provider.options.controlnet[0]{key}"
    assert message in refused.value.message


def test_families_without_controlnets_say_so() -> None:
    with pytest.raises(InvalidParameterError, match=r"Flux.2 takes no ControlNet"):
        build(FLUX2, ask(FLUX2, options={"controlnet": [{"name": "canny"}]}))
