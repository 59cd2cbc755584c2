"""What a server is asked, how often, and which models come of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from tests.providers.comfyui.fake import FakeComfy
from tests.providers.comfyui.fake_routes import USUAL_SIZE
from tests.providers.comfyui.shelf import FILES, ask, build, inventory, node, templates

from imagerouter import Extras, ProviderError
from imagerouter.testing.wire import Response
from imagerouter_comfyui import ComfyProvider
from imagerouter_comfyui.api import Api
from imagerouter_comfyui.config import ComfyConfig
from imagerouter_comfyui.inventory import CLASSES, FOLDERS, SENDER, Headers, look, recipes


@pytest_asyncio.fixture
async def api(comfy: FakeComfy) -> AsyncIterator[Api]:
    client = Api("desk", ComfyConfig(base_url=comfy.url))
    yield client
    await client.aclose()


def asked(comfy: FakeComfy, start: str) -> list[str]:
    return [request.path for request in comfy.requests if request.path.startswith(start)]


async def test_a_first_look_lists_files_node_classes_and_headers(comfy: FakeComfy, api: Api) -> None:
    comfy.metadata["checkpoints", "tiny_a.safetensors"] = {"modelspec.architecture": "stable-diffusion-xl-v1-base"}
    seen = await look(api)
    assert seen.files["checkpoints"] == ("tiny_a.safetensors", "tiny_b.safetensors")
    assert seen.files.keys() == set(FOLDERS)
    assert seen.classes.keys() == set(CLASSES)
    found, unusable = recipes(seen, ComfyConfig())
    assert unusable == {}
    assert {name: recipe.model.width for name, recipe in found.items()} == {
        "tiny_a.safetensors": 1024,
        "tiny_b.safetensors": 512,
    }


async def test_a_second_look_asks_for_file_lists_and_new_headers_only(comfy: FakeComfy, api: Api) -> None:
    first = await look(api)
    comfy.requests.clear()
    comfy.files["checkpoints"].append("new.safetensors")
    comfy.files["checkpoints"].append("old.ckpt")
    second = await look(api, first)
    assert len(asked(comfy, "/models/")) == len(FOLDERS)
    assert len(asked(comfy, "/view_metadata/")) == 1
    assert asked(comfy, "/experiment/") == ["/experiment/models/checkpoints", "/experiment/models/diffusion_models"]
    assert len(comfy.requests) == len(FOLDERS) + 3
    assert second.classes is first.classes
    assert ("checkpoints", "new.safetensors") in second.metadata


async def test_what_can_be_named_beside_the_models_is_listed_as_briefly_as_it_is_found(comfy: FakeComfy) -> None:
    comfy.files["loras"] = ["style\\ink.safetensors", "a/snow.safetensors", "b/snow.safetensors"]
    comfy.files["upscale_models"], comfy.files["vae"] = ["4x-UltraSharp.pth"], ["soft.safetensors"]
    provider = ComfyProvider("desk", ComfyConfig(base_url=comfy.url))
    assert await provider.extras() == Extras()
    await provider.start()
    assert await provider.extras() == Extras(
        loras=("a/snow", "b/snow", "ink"), upscalers=("4x-UltraSharp",), vaes=("soft",)
    )
    await provider.aclose()


async def test_of_a_header_only_what_says_the_kind_is_kept(comfy: FakeComfy, api: Api) -> None:
    diary = {"ss_tag_frequency": "x" * 1000, "ss_base_model_version": "sdxl_base_v1-0"}
    comfy.metadata["checkpoints", "tiny_a.safetensors"] = diary
    seen = await look(api)
    assert seen.metadata["checkpoints", "tiny_a.safetensors"] == {"ss_base_model_version": "sdxl_base_v1-0"}


async def test_headers_that_came_before_a_look_was_cut_short_are_not_asked_for_again(
    comfy: FakeComfy, api: Api
) -> None:
    heard = asyncio.Event()

    class CutShort(Api):
        async def metadata(self, folder: str, filename: str) -> dict[str, Any]:
            if filename == "tiny_b.safetensors":
                await heard.wait()
                raise asyncio.CancelledError
            found = await super().metadata(folder, filename)
            heard.set()
            return found

    header = {"modelspec.architecture": "stable-diffusion-xl-v1-base"}
    comfy.metadata["checkpoints", "tiny_a.safetensors"] = header
    headers: Headers = {}
    short = CutShort("desk", ComfyConfig(base_url=comfy.url))
    with pytest.raises(asyncio.CancelledError):
        await look(short, headers=headers)
    await short.aclose()
    seen = await look(api, headers=headers)
    assert len(asked(comfy, "/view_metadata/checkpoints")) == len(comfy.files["checkpoints"])
    assert seen.metadata["checkpoints", "tiny_a.safetensors"] == header


def test_a_server_without_the_node_that_sends_pictures_offers_nothing_over_a_websocket() -> None:
    full = inventory()
    bare = replace(full, classes={name: known for name, known in full.classes.items() if name != SENDER})
    models = {"mine": {"checkpoint": "v1-5-pruned-emaonly"}}
    found, unusable = recipes(bare, ComfyConfig(transfer="websocket", models=models))
    assert found == {}
    assert {"mine", *FILES["checkpoints"], *FILES["diffusion_models"]} == unusable.keys()
    assert unusable["mine"] == (
        "`transfer: websocket` needs the node `SaveImageWebsocket`, which the server doesn't have; use `transfer: view`"
    )
    assert recipes(bare, ComfyConfig(transfer="websocket", models=models, checkpoints=False))[1].keys() == {"mine"}
    assert recipes(bare, ComfyConfig())[0].keys() == recipes(full, ComfyConfig(transfer="websocket"))[0].keys()


def test_an_entry_that_may_mean_two_files_is_told_both() -> None:
    shelf = inventory(checkpoints=("a/x.safetensors", "b/x.safetensors"))
    assert remarks_of(shelf, models={"x": {}}, checkpoints=False) == {
        "x": "the server has no checkpoint or diffusion model `x`; did you mean `a/x.safetensors` or `b/x.safetensors`?"
    }


async def test_the_size_of_a_file_is_told_and_seen_to_change(comfy: FakeComfy) -> None:
    comfy.sizes["tiny_a.safetensors"] = 1000
    entries = {"mine": {"checkpoint": "tiny_b"}, "tiny_b": {"width": 640}}
    provider = ComfyProvider("desk", ComfyConfig(base_url=comfy.url, models=entries))
    await provider.start()

    async def sizes() -> dict[str, int]:
        return {model.id: model.file_size for model in await provider.models()}

    assert await sizes() == {"tiny_a.safetensors": 1000, "tiny_b": USUAL_SIZE, "mine": 0}
    comfy.sizes["tiny_a.safetensors"] = 2000
    assert (await sizes())["tiny_a.safetensors"] == 2000
    comfy.answer("GET", "/experiment/models/checkpoints", lambda asked: Response(500, {}, b"no"))
    assert (await sizes())["tiny_a.safetensors"] == 2000
    await provider.aclose()


@pytest.mark.parametrize("answer", [b"{}", b'["x"]', b'[{"name": [], "size": 1}, {"name": "x", "size": null}]'])
async def test_sizes_that_make_no_sense_are_not_known(comfy: FakeComfy, api: Api, answer: bytes) -> None:
    comfy.answer("GET", "/experiment/models/checkpoints", lambda asked: Response(200, {}, answer))
    assert (await look(api)).sizes["checkpoints"] == {}


async def test_of_two_files_of_one_name_the_size_is_that_of_the_one_that_is_loaded(comfy: FakeComfy, api: Api) -> None:
    rows = [{"name": "x.safetensors", "pathIndex": place, "size": 10 + place} for place in range(2)]
    comfy.answer("GET", "/experiment/models/checkpoints", lambda asked: Response(json=rows))
    assert (await look(api)).sizes["checkpoints"] == {"x.safetensors": 10}


async def test_an_old_server_tells_no_sizes_and_is_none_the_worse_for_it() -> None:
    async with FakeComfy(old=True) as comfy:
        client = Api("desk", ComfyConfig(base_url=comfy.url))
        seen = await look(client)
        await client.aclose()
        assert {recipe.model.file_size for recipe in recipes(seen, ComfyConfig())[0].values()} == {0}


async def test_headers_that_cannot_be_read_do_not_matter(comfy: FakeComfy, api: Api) -> None:
    comfy.answer("GET", "/view_metadata/checkpoints", lambda asked: Response(500, {}, b"no"))
    assert (await look(api)).metadata["checkpoints", "tiny_a.safetensors"] == {}


async def test_a_server_that_fails_raises_an_error_of_the_core(comfy: FakeComfy, api: Api) -> None:
    comfy.answer("GET", "/models/checkpoints", lambda asked: Response(500, {}, b"no"))
    with pytest.raises(ProviderError):
        await look(api)


def remarks_of(shelf: Any = None, **config: Any) -> dict[str, str]:
    return recipes(shelf or inventory(), ComfyConfig(**config))[1]


def test_a_diffusion_model_without_its_parts_is_not_offered_and_the_remark_says_what_is_missing() -> None:
    bare = remarks_of(inventory(text_encoders=("clip_l.safetensors",)))
    assert bare["flux1-dev.safetensors"] == (
        "needs the text encoder T5-XXL (t5xxl_…); if it is there, set its `text_encoders`"
    )
    assert bare["qwen_image_fp8_e4m3fn.safetensors"].startswith("needs the text encoder Qwen2.5-VL 7B")
    assert (
        remarks_of(inventory(vae=()))["flux1-dev.safetensors"] == "needs Flux's VAE (ae); if it is there, set its `vae`"
    )


@pytest.mark.parametrize(
    ("file", "remark"),
    [
        ("wan2.2_t2v_14B.safetensors", "it draws videos"),
        ("mystery.safetensors", "its name doesn't say what it is; set its `family`"),
        ("flux1-dev-Q4.gguf", "GGUF needs nodes that aren't ComfyUI's own; give it a workflow"),
    ],
)
def test_files_that_cannot_be_drawn_are_remarked_upon(file: str, remark: str) -> None:
    assert remarks_of(inventory(diffusion_models=(file,))) == {file: remark}


def test_a_server_that_is_too_old_for_a_family_lacks_its_nodes() -> None:
    full = inventory(diffusion_models=("flux2_dev_fp8mixed.safetensors",))
    old = replace(full, classes={name: full.classes[name] for name in CLASSES if name != "EmptyFlux2LatentImage"})
    assert remarks_of(old) == {
        "flux2_dev_fp8mixed.safetensors": "the server has no node `EmptyFlux2LatentImage`; it is too old for Flux.2"
    }


def test_an_entry_names_a_file_and_the_parts_that_names_dont_tell() -> None:
    models = {
        "paint": {
            "diffusion_model": "mystery",
            "family": "flux",
            "text_encoders": ["clip_l", "t5xxl_fp16"],
            "vae": "sd3_vae",
            "weight_dtype": "fp8_e4m3fn",
            "width": 768,
        }
    }
    found = templates(inventory(diffusion_models=("sub/mystery.safetensors",)), models=models)
    paint = found["paint"]
    assert "sub/mystery.safetensors" not in found
    assert (paint.model.id, paint.model.width, paint.model.height) == ("paint", 768, 1024)
    built = build(paint, ask(paint))
    assert node(built, "UNETLoader") == {"unet_name": "sub/mystery.safetensors", "weight_dtype": "fp8_e4m3fn"}
    assert node(built, "VAELoader")["vae_name"] == "sd3_vae.safetensors"


def test_an_entry_may_be_called_after_its_file() -> None:
    found = templates(models={"v1-5-pruned-emaonly": {"width": 640}})
    assert found["v1-5-pruned-emaonly"].kit.checkpoint == "v1-5-pruned-emaonly.safetensors"
    assert "v1-5-pruned-emaonly.safetensors" not in found


def test_a_checkpoint_without_text_encoders_is_given_some() -> None:
    models = {"sd3": {"checkpoint": "sd3.5_large_fp8_scaled", "text_encoders": ["clip_l", "clip_g", "t5xxl_fp16"]}}
    sd3 = templates(models=models)["sd3"]
    built = build(sd3, ask(sd3))
    assert built.graph["positive"]["inputs"]["clip"] == ["text_encoders", 0]
    assert built.graph["decoded"]["inputs"]["vae"] == ["checkpoint", 2]


@pytest.mark.parametrize(
    ("entry", "remark"),
    [
        ({"checkpoint": "v1-5-pruned"}, "the server has no checkpoint `v1-5-pruned`; did you mean `v1-5-pruned-ema"),
        ({"diffusion_model": "nope"}, "the server has no diffusion model `nope`"),
        ({}, "the server has no checkpoint or diffusion model `x`"),
        ({"diffusion_model": "flux1-dev", "vae": "aee"}, "the server has no VAE `aee`; did you mean `ae.safe"),
        (
            {"diffusion_model": "flux1-dev", "weight_dtype": "int4"},
            "the server's `UNETLoader` has no weight_dtype `int4`",
        ),
        ({"diffusion_model": "flux1-dev", "text_encoders": ["clip_l"]}, "the server's `CLIPLoader` has no type `flux`"),
        ({"diffusion_model": "flux1-dev", "text_encoders": ["clip_l"] * 5}, "no model has 5 text encoders"),
        ({"diffusion_model": "flux1-dev", "family": "sd2"}, "Stable Diffusion 2 without its own text encoder; set its"),
    ],
)
def test_an_entry_that_cannot_be_used_is_remarked_upon(entry: dict[str, Any], remark: str) -> None:
    assert remarks_of(models={"x": entry}, checkpoints=False)["x"].startswith(remark)


def test_two_entries_may_share_a_file() -> None:
    file = "v1-5-pruned-emaonly.safetensors"
    found = templates(models={"fast": {"checkpoint": file}, file: {"width": 640}}, checkpoints=False)
    assert {name: template.kit.width for name, template in found.items()} == {"fast": 512, file: 640}


def test_only_what_is_configured_is_offered_if_that_is_wanted() -> None:
    found = templates(models={"mine": {"checkpoint": "v1-5-pruned-emaonly"}}, checkpoints=False)
    assert found.keys() == {"mine"}


def test_every_model_of_the_shelf_is_described() -> None:
    descriptions = {name: template.model.description for name, template in templates().items()}
    assert descriptions["XL/juggernautXL_v9.safetensors"] == "SDXL checkpoint"
    assert descriptions["sd-v1-5-inpainting.ckpt"] == "Stable Diffusion 1.5 inpainting checkpoint"
    assert descriptions["flux1-dev.safetensors"] == "Flux.1 diffusion model"
    assert set(FILES["checkpoints"]) < descriptions.keys()
