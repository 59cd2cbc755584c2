"""What is offered, and what is sent for it."""

from __future__ import annotations

import io

import PIL.ExifTags
import PIL.Image
import pytest
from tests.providers.openai.asking import draw, started
from tests.providers.openai.fake import DIFFUSERS, Answer, FakeOpenAI

from imagerouter import (
    Hires,
    Image,
    InvalidParameterError,
    Lora,
    MisconfiguredError,
    Operation,
    ProviderError,
    ProviderRejectedError,
    ProviderUnavailableError,
)
from imagerouter.config import Limits
from imagerouter.openai.form import fields_of
from imagerouter.openai.request import interpret
from imagerouter.parameters import DECLARABLE
from imagerouter.testing import make_image
from imagerouter.testing.drawing import decode
from imagerouter_openai import OpenAIConfig
from imagerouter_openai import provider as adapter


@pytest.mark.parametrize(
    ("written", "root"),
    [
        ("http://gpu:8000", "http://gpu:8000/v1/"),
        ("http://gpu:8000/", "http://gpu:8000/v1/"),
        ("http://gpu:8000/v1", "http://gpu:8000/v1/"),
        ("https://proxy/litellm", "https://proxy/litellm/v1/"),
        ("https://api.example.com/v1beta/openai", "https://api.example.com/v1beta/openai/"),
    ],
)
def test_the_version_is_added_where_none_is_in_the_address(written, root):
    assert OpenAIConfig(base_url=written).root == root


async def test_of_a_list_that_tells_what_comes_out_only_what_draws_is_offered(openai):
    listed = [
        {"id": "painter", "architecture": {"input_modalities": ["text", "image"], "output_modalities": ["image"]}},
        {"id": "writer", "architecture": {"output_modalities": ["text"]}},
        {"id": "film", "task_type": "T2V"},
        {"id": "chat", "type": "chat"},
        {"id": "unknown"},
        {"object": "nameless"},
    ]
    openai.lists = Answer(body={"data": listed})
    async with started(openai.url) as provider:
        offered = {model.id: model for model in await provider.models()}
    assert offered.keys() == {"painter", "unknown"}
    assert offered["painter"].operations == {Operation.GENERATE, Operation.EDIT}
    assert offered["unknown"].operations == {Operation.GENERATE}
    assert "seed" not in offered["unknown"].parameters


@pytest.mark.parametrize("status", [403, 404])
async def test_a_server_without_a_list_needs_names(openai, status):
    openai.lists = Answer(status, {"error": {"message": "You have insufficient permissions: api.model.read"}})
    async with started(openai.url, models=["gpt-image-2"]) as provider:
        assert [model.id for model in await provider.models()] == ["gpt-image-2"]
        assert (await draw(provider)).applied == {"width": 64, "height": 64}
    with pytest.raises(ProviderError):
        async with started(openai.url):
            pass


async def test_what_keeps_it_from_starting_is_told(openai):
    openai.lists = Answer(body={"data": []})
    with pytest.raises(ProviderUnavailableError, match="lists no model that draws"):
        async with started(openai.url):
            pass
    openai.lists = Answer(404, b"<html>not here</html>")
    with pytest.raises(MisconfiguredError, match="base_url"):
        async with started(openai.url):
            pass
    openai.lists = Answer(500, {"detail": "broken"})
    with pytest.raises(ProviderUnavailableError, match="list its models"):
        async with started(openai.url):
            pass


@pytest.mark.parametrize(("is_near", "looks"), [(True, 4), (False, 1)])
async def test_only_a_server_on_the_own_network_is_asked_for_its_list_at_every_look(
    openai, monkeypatch, is_near, looks
):
    monkeypatch.setattr(adapter, "is_local", lambda host: is_near)
    async with started(openai.url) as provider:
        for _ in range(3):
            assert (await provider.status()).ready
    assert openai.paths == ["/v1/models"] * looks


async def test_openai_gets_its_own_parameters_and_no_others(openai):
    openai.key = "sk-secret"
    async with started(openai.url, api_key="sk-secret", extra_body={"moderation": "low"}) as provider:
        given = {"quality": "hd", "background": "transparent", "steps": 9, "negative_prompt": "fog", "style": "vivid"}
        images = await draw(provider, n=2, options={"input_fidelity": "high"}, **given)
        models = {model.id: model for model in await provider.models()}
    assert openai.asked[0].fields == {
        "model": "gpt-image-2",
        "prompt": "a fox",
        "n": 2,
        "size": "64x64",
        "quality": "high",
        "background": "transparent",
        "moderation": "low",
        "input_fidelity": "high",
    }
    assert images.ignored == {"seed", "steps", "negative_prompt", "style"}
    assert images.applied == {"quality": "high", "background": "transparent", "width": 64, "height": 64}
    assert (models["gpt-image-1.5"].size_multiple, models["gpt-image-2"].size_multiple) == (512, 16)


async def test_without_a_size_the_server_chooses_it(openai):
    async with started(openai.url) as provider:
        images = await draw(provider, width=None, height=None)
    assert "size" not in openai.asked[0].fields
    assert images.applied == {"width": 1024, "height": 1024}


async def test_more_images_than_it_draws_at_once_are_several_requests(openai):
    async with started(openai.url) as provider:
        assert len((await draw(provider, n=12)).images) == 12
    assert [asked.fields["n"] for asked in openai.asked] == [10, 2]


async def test_an_upstream_with_seeds_gets_each_image_with_its_own():
    fake = FakeOpenAI(("z-image",), owner="vllm", takes=DIFFUSERS, keeps_seeds=True)
    async with fake as vllm, started(vllm.url) as provider:
        images = await draw(provider, model="z-image", n=2, seed=2**32 - 1, steps=4, cfg_scale=1.5)
    assert [asked.fields["seed"] for asked in vllm.asked] == [2**32 - 1, 0]
    first = vllm.asked[0].fields
    assert (first["num_inference_steps"], first["guidance_scale"], first["response_format"]) == (4, 1.5, "b64_json")
    assert images.applied == {"steps": 4, "cfg_scale": 1.5, "seed": 2**32 - 1, "width": 64, "height": 64}


EVERYTHING = {
    "negative_prompt": "fog",
    "steps": 9,
    "cfg_scale": 4.5,
    "guidance": 3.5,
    "sampler": "dpmpp_2m",
    "scheduler": "karras",
    "clip_skip": 2,
    "vae": "fine.safetensors",
    "loras": (Lora("ink", 0.8), Lora("paper")),
    "background": "opaque",
    "quality": "hd",
    "style": "vivid",
    "width": 100,
    "height": 60,
}
HIRES = {"hires": Hires(scale=1.5, steps=4)}
EDIT = {"strength": 0.4, "images": (make_image(64, 64, "navy"),)}


@pytest.mark.parametrize("more", [HIRES, EDIT], ids=["generation", "edit"])
async def test_another_imagerouter_reads_every_canonical_parameter_as_it_was_meant(openai, more):
    told = {name: {"type": "string"} for name in DECLARABLE}
    listed = {
        "id": "xl",
        "aliases": ["sdxl"],
        "owned_by": "imagerouter",
        "operations": [*Operation],
        "targets": [{"ready": True, "resident": True}],
    }
    openai.models = [{**listed, "size": "832x1216", "supported_parameters": told}]
    openai._takes |= DECLARABLE | {"stream_progress"}
    async with started(openai.url, models=["sdxl"]) as provider:
        model = (await provider.models())[0]
        images = await draw(provider, model="sdxl", n=3, **EVERYTHING, **more)
        assert (await provider.status()).resident == {"sdxl"}
        openai.models[0]["targets"] = [{"ready": False}]
        assert not (await provider.status()).ready
    assert (model.width, model.height, model.parameters.keys()) == (832, 1216, DECLARABLE)
    assert not images.ignored
    asked = openai.asked[0]
    fields = fields_of(asked.fields.items()) if asked.files else asked.fields
    names = {"image": EDIT["images"][0]} if asked.files else {}
    call = interpret({**fields, **({"image": ["image"]} if asked.files else {})}, Limits(), pictures=names)
    wanted = {**EVERYTHING, **more, "seed": 7}
    assert {name: call.job.params.get(name) for name in wanted} == wanted
    assert (call.job.prompt, call.job.model, call.job.n, call.delivery.warnings) == ("a fox", "sdxl", 3, ())


async def test_what_a_server_understands_beyond_that_can_be_named(openai):
    openai.models = [{"id": "flux"}]
    openai._takes |= {"response_format", "guidance", "sampling", "seed"}
    names = {"seed": "seed", "guidance": "guidance", "sampler": "sampling.method"}
    async with started(openai.url, parameters=names) as provider:
        images = await draw(provider, model="flux", guidance=3.5, sampler="euler")
    assert openai.asked[0].fields == {
        "model": "flux",
        "prompt": "a fox",
        "n": 1,
        "size": "64x64",
        "seed": 7,
        "guidance": 3.5,
        "sampling": {"method": "euler"},
        "response_format": "b64_json",
    }
    assert not images.ignored


async def test_what_clients_may_not_send_is_refused_before_anything_is_sent(openai):
    async with started(openai.url) as provider:
        with pytest.raises(ProviderRejectedError) as raised:
            await draw(provider, options={"api_base": "http://elsewhere"})
    assert raised.value.param == "provider.options.api_base"
    assert openai.asked == []


async def test_keys_that_the_adapter_writes_cannot_be_configured():
    for wrong in ({"extra_body": {"prompt": "x"}}, {"client_options": ["n"]}, {"parameters": {"width": "w"}}):
        with pytest.raises(ValueError, match=r"imagerouter itself|renamed"):
            OpenAIConfig(**wrong)


async def test_an_edit_is_a_form_whose_mask_is_transparent_where_to_repaint(openai):
    mask = PIL.Image.new("L", (64, 64), 0)
    mask.paste(255, (0, 0, 32, 64))
    file = io.BytesIO()
    mask.save(file, "PNG")
    grey = Image(data=file.getvalue())
    async with started(openai.url) as provider:
        await draw(provider, images=(make_image(64, 64, "navy"),), mask=grey, background="opaque")
        await draw(provider, images=(make_image(64, 64, "navy"), make_image(64, 64, "gold", "jpeg")))
    one, two = openai.asked
    assert one.path == "/v1/images/edits"
    wanted = {"model": "gpt-image-2", "prompt": "a fox", "n": "1", "size": "64x64", "background": "opaque"}
    assert one.fields == wanted
    assert [(name, kind) for name, kind, _ in one.files] == [("image", "image/png"), ("mask", "image/png")]
    sent = PIL.Image.open(io.BytesIO(one.files[1][2]))
    assert (sent.getpixel((10, 10))[3], sent.getpixel((50, 10))[3]) == (0, 255)
    assert [(name, kind) for name, kind, _ in two.files] == [("image[]", "image/png"), ("image[]", "image/jpeg")]


async def test_an_input_picture_is_sent_as_everybody_reads_it(openai):
    turned = io.BytesIO()
    exif = PIL.Image.Exif()
    exif[PIL.ExifTags.Base.Orientation] = 6
    PIL.Image.new("RGB", (40, 20), "navy").save(turned, "JPEG", exif=exif)
    plain = make_image(64, 64, "navy", "jpeg")
    odd = [Image(data=turned.getvalue()), make_image(64, 64, "navy", "bmp"), make_image(64, 64, "navy", "gif"), plain]
    async with started(openai.url) as provider:
        await draw(provider, images=tuple(odd))
        with pytest.raises(InvalidParameterError) as raised:
            await draw(provider, images=(plain, Image(data=b"\x89PNG\r\n\x1a\n")))
    assert raised.value.param == "images[1]"
    sent = [PIL.Image.open(io.BytesIO(content)) for _, _, content in openai.asked[0].files]
    assert [(each.format, each.size) for each in sent[:3]] == [("PNG", (20, 40)), ("PNG", (64, 64)), ("PNG", (64, 64))]
    assert openai.asked[0].files[3][2] == plain.data


async def test_a_key_can_be_left_out(openai):
    openai.models = [{"id": "my-deployment"}]
    async with started(openai.url, extra_body={"response_format": None}) as provider:
        await draw(provider, model="my-deployment")
    assert openai.asked[0].fields.keys() == {"model", "prompt", "n", "size"}


async def test_a_size_that_the_model_cannot_draw_is_cut_out_of_the_next_one_up(openai):
    async with started(openai.url) as provider:
        images = await draw(provider, width=100, height=50)
        whole = await draw(provider, width=112, height=64)
    assert [asked.fields["size"] for asked in openai.asked] == ["112x64"] * 2
    assert decode(images.images[0]).size == (100, 50)
    assert images.applied["width"] == 100
    assert decode(whole.images[0]).size == (112, 64)
