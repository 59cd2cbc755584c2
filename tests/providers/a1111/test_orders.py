"""Requests settled: every value that a server needs, in its own names."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from tests.providers.a1111.stocks import (
    A1111_1_7,
    A1111_1_10,
    CONFIG,
    FORGE,
    OLDEST,
    SDCPP,
    SDNEXT,
    STOCKS,
    asked,
    recipe,
)

from imagerouter import (
    Hires,
    Image,
    ImageRouterError,
    InvalidParameterError,
    Lora,
    MisconfiguredError,
    Operation,
    ProviderRejectedError,
)
from imagerouter.families import Name
from imagerouter_a1111.config import A1111Config, A1111Model
from imagerouter_a1111.orders import settle
from imagerouter_a1111.recipe import Order, Sampler, SecondPass, Stock

every_stock = pytest.mark.parametrize("stock", STOCKS.values(), ids=STOCKS)


def plain(width: int = 64, height: int = 64) -> Image:
    buffer = BytesIO()
    Pillow.new("RGB", (width, height), "white").save(buffer, "PNG")
    return Image(data=buffer.getvalue())


async def order(stock: Stock = A1111_1_10, family: Name = "sd15", config: A1111Config = CONFIG, **given: Any) -> Order:
    return await settle(asked(**given), recipe(stock, family), stock, config, "server")


async def refusal(stock: Stock = A1111_1_10, **given: Any) -> ImageRouterError:
    with pytest.raises((ProviderRejectedError, InvalidParameterError)) as refused:
        await order(stock, **given)
    return refused.value


async def test_what_nobody_says_is_what_the_family_usually_wants() -> None:
    settled = await order()
    assert (settled.size.width, settled.size.height, settled.steps, settled.cfg_scale) == (512, 512, 25, 7.0)
    assert settled.sampler == Sampler("DPM++ 2M", "Karras")
    assert (settled.strength, settled.vae, settled.clip_skip, settled.hires) == (None, None, None, None)
    assert settled.applied == {
        "width": 512,
        "height": 512,
        "seed": 7,
        "steps": 25,
        "cfg_scale": 7.0,
        "sampler": "dpmpp_2m",
        "scheduler": "karras",
    }
    assert settled.ignored == frozenset()


@pytest.mark.parametrize(
    ("stock", "sampler"),
    [
        (OLDEST, Sampler("DPM++ 2M Karras")),
        (A1111_1_7, Sampler("DPM++ 2M Karras", "Automatic")),
        (SDNEXT, Sampler("DPM++ 2M", "karras")),
        (SDCPP, Sampler("dpm++2m", "karras")),
    ],
)
async def test_the_same_model_is_drawn_with_the_same_sampler_everywhere(stock: Stock, sampler: Sampler) -> None:
    settled = await order(stock)
    assert settled.sampler == sampler
    assert (settled.applied["sampler"], settled.applied["scheduler"]) == ("dpmpp_2m", "karras")


async def test_the_usual_scheduler_is_left_out_where_a_sampler_has_no_such_pair() -> None:
    settled = await order(sampler="ddim")
    assert settled.sampler == Sampler("DDIM", "Automatic")
    assert settled.applied["scheduler"] == "ddim_uniform"
    assert (await refusal(sampler="ddim", scheduler="karras")).param == "scheduler"


async def test_one_step_has_a_scheduler_that_can_draw_it() -> None:
    assert (await order(SDCPP, steps=1)).sampler == Sampler("dpm++2m")
    assert (await order(SDCPP, steps=2)).sampler.scheduler == "karras"
    assert (await order(steps=1)).applied["scheduler"] == "karras"
    for scheduler in ("karras", "Exponential"):
        assert (await refusal(SDCPP, steps=1, scheduler=scheduler)).param == "scheduler"
    assert (await order(SDCPP, steps=1, scheduler="simple")).sampler.scheduler == "simple"


async def test_another_sampler_is_taken_where_the_usual_one_is_not_there() -> None:
    def without(*labels: str) -> Stock:
        return replace(SDCPP, samplers=tuple(row for row in SDCPP.samplers if row["name"] not in labels))

    assert (await order(without("dpm++2m", "heun"))).sampler.label == "euler"
    assert (await order(without("dpm++2m", "euler"))).sampler.label == "euler_a"
    assert (await refusal(replace(SDCPP, samplers=()))).param == "sampler"


async def test_guidance_is_the_family_s() -> None:
    settled = await order(FORGE, "flux", cfg_scale=5.0)
    assert (settled.cfg_scale, settled.guidance) == (1.0, 3.5)
    assert settled.ignored == {"cfg_scale"}
    assert settled.applied["guidance"] == 3.5
    assert (await order(FORGE, "flux", guidance=2.0)).guidance == 2.0
    assert (await order(SDNEXT, "flux", guidance=2.0)).applied["guidance"] == 2.0
    assert (await order(FORGE, guidance=2.0)).ignored == {"guidance"}


@pytest.mark.parametrize(("stock", "canvas"), [(A1111_1_10, (104, 72)), (SDCPP, (128, 128))])
async def test_the_canvas_is_the_next_multiple(stock: Stock, canvas: tuple[int, int]) -> None:
    size = (await order(stock, width=100, height=70)).size
    assert (size.width, size.height, size.canvas_width, size.canvas_height) == (100, 70, *canvas)


async def test_an_edit_has_its_picture_s_size() -> None:
    settled = await order(images=(plain(100, 72),))
    assert (settled.size.width, settled.size.height, settled.size.canvas_width) == (100, 72, 104)
    assert (settled.strength, settled.applied["strength"]) == (0.75, 0.75)
    assert settled.picture is not None
    assert settled.mask is None


async def test_a_tiny_picture_is_drawn_on_a_canvas_that_the_networks_can_take() -> None:
    size = (await order(images=(plain(16, 20),))).size
    assert (size.width, size.height, size.canvas_width, size.canvas_height) == (16, 20, 64, 64)


async def test_a_large_picture_is_bounded_by_the_native_area() -> None:
    size = (await order(images=(plain(1600, 800),))).size
    assert size.width * size.height <= 4 * 512 * 512
    assert size.width == pytest.approx(2 * size.height, abs=8)


async def test_what_is_repainted_is_drawn_anew() -> None:
    settled = await order(images=(plain(),), mask=plain())
    assert settled.request.operation is Operation.INPAINT
    assert settled.strength == 1.0
    assert settled.mask is not None
    assert (await order(images=(plain(),), mask=plain(), strength=0.4)).strength == 0.4


async def test_the_edge_is_as_soft_as_the_owner_or_the_client_says() -> None:
    soft, mask = A1111Config(mask_blur=6), {"images": (plain(),), "mask": plain()}
    assert "mask_blur" not in (await order(**mask)).options
    assert (await order(config=soft, **mask)).options["mask_blur"] == 6
    assert (await order(config=soft, options={"mask_blur": 2}, **mask)).options["mask_blur"] == 2


async def test_more_than_one_input_picture_is_refused() -> None:
    error = await refusal(images=(plain(), plain()))
    assert (error.message, error.param) == ("Stable Diffusion 1.5 takes 1 input image at most", "images[1]")


async def test_a_second_pass_is_drawn_on_a_canvas_of_its_own() -> None:
    settled = await order(width=100, height=68, hires=Hires(scale=1.5))
    assert settled.hires == SecondPass(152, 104, 25, 0.5, "Latent")
    assert (settled.applied["width"], settled.applied["height"]) == (150, 102)
    assert settled.applied["hires"] == {"scale": 1.5, "steps": 25, "strength": 0.5, "upscaler": "Latent"}


async def test_what_has_no_effect_is_told() -> None:
    edit = await order(images=(plain(),), hires=Hires())
    assert (edit.hires, edit.ignored) == (None, {"hires"})
    assert (await order(strength=0.5)).ignored == {"strength"}
    assert (await order(cfg_scale=1.0, negative_prompt="blurry")).ignored == {"negative_prompt"}
    assert (await order(FORGE, "flux", clip_skip=2)).ignored == {"clip_skip"}
    assert (await order(SDNEXT, vae="x")).ignored == {"vae"}


async def test_sd_next_switches_guidance_off_below_one_as_well() -> None:
    settled = await order(SDNEXT, cfg_scale=0.5, negative_prompt="blurry")
    assert (settled.cfg_scale, settled.applied["cfg_scale"], settled.ignored) == (1.0, 1.0, {"negative_prompt"})
    assert (await order(cfg_scale=0.5)).cfg_scale == 0.5


async def test_a_clip_skip_is_the_client_s_or_nobody_s() -> None:
    assert (await order(clip_skip=2)).clip_skip == 2
    assert (await order(clip_skip=2)).applied["clip_skip"] == 2
    assert (await order(FORGE, "flux", clip_skip=2)).clip_skip is None


async def test_a_vae_comes_by_the_server_s_name() -> None:
    assert (await order(vae="TinyVae")).vae == "tinyvae.safetensors"
    assert (await order(vae="automatic")).vae == "Automatic"
    error = await refusal(vae="tinyvea")
    assert error.param == "vae"
    assert "did you mean `tinyvae.safetensors`" in error.message
    assert (await refusal(FORGE, vae="Automatic")).param == "vae"


async def test_a_model_s_own_vae_is_used_unless_the_client_wants_another() -> None:
    own = recipe(A1111_1_10, entry=A1111Model(vae="tinyvae"))
    assert (await settle(asked(), own, A1111_1_10, CONFIG, "server")).vae == "tinyvae.safetensors"
    assert (await settle(asked(vae="None"), own, A1111_1_10, CONFIG, "server")).vae == "None"
    lost = recipe(A1111_1_10, entry=A1111Model(vae="gone"))
    with pytest.raises(MisconfiguredError, match="provider `server` has no VAE `gone`"):
        await settle(asked(), lost, A1111_1_10, CONFIG, "server")


async def test_loras_are_settled_by_name() -> None:
    settled = await order(loras=(Lora("INK", 0.5),))
    assert settled.loras == (("ink", 0.5),)
    assert settled.applied["loras"] == [{"name": "ink", "weight": 0.5}]
    assert (await refusal(loras=(Lora("nope"),))).param == "loras[0].name"


async def test_an_unknown_upscaler_is_refused_with_what_there_is() -> None:
    error = await refusal(hires=Hires(upscaler="ESRGAN_8x"))
    assert error.param == "hires.upscaler"
    assert "ESRGAN_4x" in error.message


async def test_a_second_pass_has_an_end() -> None:
    error = await refusal(width=8192, hires=Hires(scale=4.0))
    assert (type(error), error.param) == (InvalidParameterError, "hires.scale")


@pytest.mark.parametrize("param", ["prompt", "negative_prompt"])
async def test_tags_in_prompts_are_refused(param: str) -> None:
    assert (await refusal(**{param: "a <lora:ink:1>"})).param == param


async def test_options_are_checked() -> None:
    assert (await refusal(options={"n_iter": 2})).param == "provider.options.n_iter"
    assert (await order(options={"tiling": True})).options == {"tiling": True}


REQUESTS = st.fixed_dictionaries(
    {"prompt": st.text(max_size=20), "seed": st.integers(0, 2**32 - 1)},
    optional={
        "negative_prompt": st.text(max_size=10),
        "width": st.integers(64, 600),
        "height": st.integers(64, 600),
        "steps": st.integers(1, 200),
        "cfg_scale": st.floats(0, 100),
        "guidance": st.floats(0, 100),
        "sampler": st.sampled_from(["euler", "dpmpp_2m", "ddim", "Restart", "nope", ""]),
        "scheduler": st.sampled_from(["karras", "normal", "beta", "nope", ""]),
        "strength": st.floats(0, 1),
        "clip_skip": st.integers(1, 12),
        "vae": st.sampled_from(["tinyvae", "None", "nope", ""]),
        "loras": st.lists(st.builds(Lora, st.sampled_from(["ink", "nope", ""]), st.floats(-10, 10)), max_size=2).map(
            tuple
        ),
        "hires": st.builds(
            Hires, scale=st.floats(1, 8), upscaler=st.none() | st.sampled_from(["Latent", "lanczos", "nope", ""])
        ),
        "images": st.sampled_from([(), (plain(),), (plain(300, 20),), (Image(data=b"no"),), (plain(), plain())]),
        "mask": st.sampled_from([None, plain(), plain(9, 9), Image(b64=b"!")]),
        "options": st.dictionaries(st.text(max_size=10), st.integers(), max_size=1),
        "background": st.just("transparent"),
        "partial_images": st.integers(0, 3),
    },
)


@every_stock
@pytest.mark.parametrize("family", ["sd15", "flux"])
@given(given_=REQUESTS)
@settings(max_examples=30, deadline=None)
async def test_any_request_is_settled_or_refused_in_words(stock: Stock, family: Name, given_: dict[str, Any]) -> None:
    try:
        settled = await order(stock, family, **given_)
    except ImageRouterError as refused:
        assert refused.param is not None
        return
    size, multiple = settled.size, settled.recipe.model.size_multiple
    assert size.canvas_width >= size.width
    assert size.canvas_height >= size.height
    assert size.canvas_width % multiple == size.canvas_height % multiple == 0
    assert settled.sampler.label in {row["name"] for row in stock.samplers}
    assert settled.ignored <= settled.request.parameters
    assert not settled.ignored & set(settled.applied)
    assert set(settled.applied) <= set(settled.recipe.model.parameters)
    assert (settled.picture is None) == (settled.strength is None) == (not settled.request.images)
