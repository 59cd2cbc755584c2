"""Checkpoints and models of a server, and what comes of them when its files change."""

import hashlib

import pytest
from tests.providers.a1111.desk import desk, drawn, request, sent
from tests.providers.a1111.fake import FakeA1111
from tests.providers.a1111.fake_dialects import Checkpoint

from imagerouter import (
    Hires,
    Lora,
    MisconfiguredError,
    ModelNotFoundError,
    ProviderRejectedError,
    ProviderResponseError,
)
from imagerouter.testing.wire import Response
from imagerouter_a1111 import A1111Config, checkpoints
from imagerouter_a1111 import provider as room
from imagerouter_a1111.api import Api
from imagerouter_a1111.detection import Detected
from imagerouter_a1111.dialects import DIALECTS
from imagerouter_a1111.inventory import look

pytestmark = pytest.mark.usefixtures("impatient")

A, B, C = "tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors"


class Unfindable(Checkpoint):
    """It is listed, and no name is taken for it: the server draws with another one and says nothing."""

    aliases = frozenset()


async def test_a_model_that_is_not_there_is_refused_before_anything_is_sent(a1111):
    async with desk(a1111) as provider:
        asked = len(a1111.requests)
        for model in ("tinyA", "TINYA.safetensors", "nope"):
            with pytest.raises(ModelNotFoundError) as raised:
                await drawn(provider, request(model))
            assert raised.value.param == "model"
        assert len(a1111.requests) == asked


async def test_a_picture_of_another_checkpoint_is_never_delivered(a1111):
    async with desk(a1111) as provider:
        a1111.checkpoints[1] = Unfindable(B)
        with pytest.raises(ProviderResponseError, match="another checkpoint"):
            await drawn(provider, request(B))
        assert len(sent(a1111)) == 2
        del a1111.checkpoints[1]
        with pytest.raises(ModelNotFoundError):
            await drawn(provider, request(B))
        assert len(sent(a1111)) == 3


async def test_a_checkpoint_that_was_moved_is_found_again(a1111):
    async with desk(a1111, models={"mine": {"checkpoint": "tinyB"}}) as provider:
        a1111.checkpoints[1] = Checkpoint("moved/tinyB.safetensors")
        await drawn(provider, request("mine"))
        assert [job.params["override_settings"].get("sd_model_checkpoint") for job in a1111.jobs] == [
            "tinyB",
            "moved_tinyB",
        ]
        assert a1111.resident.file == "moved/tinyB.safetensors"


async def test_sd_next_draws_nothing_until_something_is_loaded_which_is_seen_to(launch):
    fake = await launch("sdnext")
    async with desk(fake) as provider:
        fake.resident = None
        whole = await drawn(provider, request("Diffusers/tiny/sdA"))
        assert fake.paths().count("POST /sdapi/v1/checkpoint") == 1
        assert whole == await drawn(provider, request("Diffusers/tiny/sdA"))
        nothing = {"images": [], "parameters": {}, "info": ""}
        fake.answer("POST", "/sdapi/v1/txt2img", lambda asked: Response(json=nothing))
        with pytest.raises(ProviderResponseError, match="no picture"):
            await drawn(provider, request("Diffusers/tiny/sdA"))


@pytest.mark.parametrize("hashed", [True, False])
@pytest.mark.parametrize("dialect", ["a1111", "forge", "sdnext"])
async def test_files_of_one_name_in_two_folders_are_two_models(dialect, hashed):
    files = ["one/x.safetensors", "x.safetensors", "two/x.safetensors"]
    async with FakeA1111(dialect, checkpoints=files, hashed=hashed) as fake, desk(fake) as provider:
        models = [model.id for model in await provider.models()]
        pictures = [await drawn(provider, request(model)) for model in models]
        assert len(set(pictures)) == 3
        assert fake.loaded == files


async def test_a_file_that_appears_later_is_looked_for_when_the_server_has_nothing_else_to_do(a1111, monkeypatch):
    monkeypatch.setattr(room, "RESCAN_SECONDS", 0.0)
    async with desk(a1111) as provider:
        a1111.checkpoints.append(Checkpoint("new.safetensors", hashed=False))
        a1111.hold()
        await a1111.foreign_job()
        await a1111.held()
        await provider.models()
        assert "POST /sdapi/v1/refresh-checkpoints" not in a1111.paths()
        a1111.release()
        await a1111.idle()
        assert "new.safetensors" in [model.id for model in await provider.models()]
        assert a1111.paths().count("POST /sdapi/v1/refresh-checkpoints") == 1
        await drawn(provider, request("new.safetensors"))
        assert a1111.resident.file == "new.safetensors"


async def test_entries_of_the_configuration_are_models_or_say_why_not(a1111):
    models = {
        "portrait": {"checkpoint": "tinyb", "vae": "tinyvae", "settings": {"eta_noise_seed_delta": 5}},
        "lost": {"checkpoint": "tinyX"},
        "vaeless": {"checkpoint": "tinyA", "vae": "tinyvea"},
        "unset": {"checkpoint": "tinyA", "settings": {"eta_noise_seed": 5}},
    }
    async with desk(a1111, models=models, checkpoints=False) as provider:
        problems = {model.id: model.problem for model in await provider.models()}
        assert problems.pop("portrait") == ""
        assert "no checkpoint `tinyX`" in problems["lost"]
        assert "no `tinyvea`" in problems["vaeless"]
        assert "no setting `eta_noise_seed`" in problems["unset"]
        await drawn(provider, request("portrait"))
        assert sent(a1111)[0]["override_settings"].items() >= {"eta_noise_seed_delta": 5}.items()
        assert (a1111.resident.file, sent(a1111)[0]["override_settings"]["sd_vae"]) == (B, "tinyvae.safetensors")
        with pytest.raises(MisconfiguredError, match="no checkpoint `tinyX`"):
            await drawn(provider, request("lost"))
        a1111.checkpoints.append(Checkpoint("tinyX.safetensors"))
        await provider.models()
        await drawn(provider, request("lost"))


async def test_a_lora_whose_name_would_end_its_tag_is_not_offered(launch):
    fake = await launch(loras=("ink:v2", "<odd>"))
    async with desk(fake) as provider:
        assert "loras" not in (await provider.models())[0].parameters
    fake = await launch(loras=("ink:v2", "ink"))
    async with desk(fake) as provider:
        await drawn(provider, request(loras=(Lora(name="ink"),)))
        assert "<lora:ink:1>" in sent(fake)[0]["prompt"]
        with pytest.raises(ProviderRejectedError):
            await drawn(provider, request(loras=(Lora(name="ink:v2"),)))


@pytest.mark.parametrize("dialect", ["a1111", "sdnext", "sdcpp"])
async def test_what_is_listed_beside_the_models_can_be_asked_for(dialect):
    async with FakeA1111(dialect) as fake, desk(fake) as provider:
        extras = await provider.extras()
        asked = {"loras": (Lora(extras.loras[-1]),), "hires": Hires(scale=2.0, upscaler=extras.upscalers[-1])}
        if extras.vaes:
            asked["vae"] = extras.vaes[-1]
        assert {"tinylora", "tinyvae"} >= {*extras.loras[:1], *extras.vaes}
        await drawn(provider, request((await provider.models())[0].id, **asked))


@pytest.mark.parametrize("dialect", ["a1111", "a1111-old", "reforge", "forge", "sdnext"])
async def test_no_server_is_sent_what_it_does_not_know(dialect):
    """The desk looks at the settings; a server would answer anything else with an error."""
    async with FakeA1111(dialect, fresh=dialect != "sdnext") as fake, desk(fake) as provider:
        model = (await provider.models())[1]
        asked = {"sampler": "dpmpp_2m", "clip_skip": 2, "vae": fake.vaes[0]}
        asked |= {} if dialect == "sdnext" else {"scheduler": "karras"}
        asked |= {"loras": (Lora(name="tinylora"),), "hires": Hires(scale=2.0), "negative_prompt": "a dog"}
        plain = await drawn(provider, request(model.id))
        assert plain != await drawn(provider, request(model.id, **asked))
        assert [job.status for job in fake.jobs] == ["done", "done"]


@pytest.mark.parametrize("dialect", ["a1111", "forge", "sdnext"])
async def test_the_hash_of_a_file_is_told_once_the_server_knows_it(dialect):
    async with FakeA1111(dialect, checkpoints=["tinyA.safetensors", "x.safetensors"], hashed=False) as fake:
        entries = {"mine": {"checkpoint": "tinyA"}}
        async with desk(fake, models=entries) as provider:
            file = "x" if dialect == "sdnext" else "x.safetensors"
            await provider.models()
            assert {model.id: model.sha256 for model in await provider.models()} == {file: "", "mine": ""}
            for checkpoint in fake.checkpoints:
                checkpoint.hashed = True
            told = {model.id: model.sha256 for model in await provider.models()}
            assert told == {file: hashlib.sha256(b"x.safetensors").hexdigest(), "mine": ""}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"hash": "31E35C80FC", "sha256": None}, "31e35c80fc"),
        ({"hash": "7460a6fa", "sha256": None}, ""),
        ({"hash": "8888888888", "sha256": "8" * 64}, ""),
        ({"hash": "fedcba9876", "sha256": "fedcba9876543210fedcba9876543210fedcba98"}, ""),
        ({"hash": 7, "sha256": []}, ""),
    ],
)
def test_what_is_no_hash_of_the_file_is_not_taken_for_one(row, told):
    (checkpoint,) = checkpoints.parse([{"title": "x.safetensors", "model_name": "x"} | row])
    assert checkpoints.sha256_of(checkpoint) == told


STYLES = [
    {"name": "---------- STYLES ----------", "prompt": None, "negative_prompt": None},
    {"name": "ink", "prompt": "{prompt}, ink", "negative_prompt": ""},
]


async def looked_at(fake, dialect, *routes):
    api = Api("desk", A1111Config(base_url=fake.url))
    try:
        return await look(api, Detected(DIALECTS[dialect], routes=frozenset(f"/sdapi/v1/{path}" for path in routes)))
    finally:
        await api.aclose()


async def test_styles_are_asked_for_where_they_are_listed(a1111):
    a1111.answer("GET", "/sdapi/v1/prompt-styles", lambda asked: Response(json=STYLES))
    assert (await looked_at(a1111, "a1111", "prompt-styles")).styles == {"ink"}
    a1111.answer("GET", "/sdapi/v1/prompt-styles", lambda asked: Response(status=500, json={}))
    assert (await looked_at(a1111, "a1111", "prompt-styles")).styles is None
    asked = a1111.paths().count("GET /sdapi/v1/prompt-styles")
    for routes in ((), ("samplers",)):
        assert (await looked_at(a1111, "a1111", *routes)).styles is None
    assert a1111.paths().count("GET /sdapi/v1/prompt-styles") == asked


async def test_stable_diffusion_cpp_is_not_asked_for_what_it_never_lists(launch):
    fake = await launch("sdcpp")
    await looked_at(fake, "sdcpp")
    asked = {path.rpartition("/")[2] for path in fake.paths()}
    assert {"samplers", "schedulers", "loras", "upscalers"} < asked
    assert not {"scripts", "prompt-styles"} & asked


@pytest.mark.parametrize("alone", [True, False])
async def test_a_job_closes_its_connection_where_the_server_would(a1111, alone):
    api = Api("desk", A1111Config(base_url=a1111.url))
    body = {"prompt": "a fox", "steps": 1, "width": 64, "height": 64, "sampler_name": "Euler"}
    assert (await api.exchange("sdapi/v1/txt2img", body, alone=alone)).is_success
    await api.aclose()
    assert (a1111.requests[-1].headers["connection"] == "close") is alone
    assert [name for name, dialect in DIALECTS.items() if dialect.closes_connections] == ["forge"]


def test_a_dialect_that_is_not_known_is_answered_with_those_that_are():
    with pytest.raises(ValueError, match=r"Input should be 'auto', .* or 'sdcpp'") as no:
        A1111Config(dialect="comfyui")
    assert len(no.value.errors()) == 1
