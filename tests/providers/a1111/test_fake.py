"""The stand-in does what was seen of the real servers: keys, statuses, oddities."""

from __future__ import annotations

import pytest
import pytest_asyncio
from tests.providers.a1111.fake_client import CAT, IMG2IMG, TXT2IMG, asking, colours, draw, info, picture, pixels

INFO_KEYS = (
    "prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed all_subseeds subseed_strength "
    "width height sampler_name cfg_scale steps batch_size restore_faces face_restoration_model sd_model_name "
    "sd_model_hash sd_vae_name sd_vae_hash seed_resize_from_w seed_resize_from_h denoising_strength "
    "extra_generation_params index_of_first_image infotexts styles job_timestamp clip_skip "
    "is_using_inpainting_conditioning version"
).split()


@pytest_asyncio.fixture
async def ask(launch):
    async with asking(launch) as start:
        yield start


async def test_info_has_the_keys_of_the_real_one(ask):
    _, client = await ask()
    drawn = await draw(client)
    assert list(drawn) == ["images", "parameters", "info"]
    assert list(info(drawn)) == INFO_KEYS


async def test_sd_next_sends_jpeg_and_names_its_model_only_in_a_text(ask):
    _, client = await ask("sdnext")
    drawn = await draw(client)
    assert drawn["images"][0].startswith("/9j/")
    assert not {"sd_model_name", "version"} & set(info(drawn))
    assert info(drawn)["infotexts"][0].endswith("Model: sdA")


async def test_image_i_of_n_is_the_single_image_with_seed_plus_i(ask):
    _, client = await ask()
    four = await draw(client, n_iter=2, batch_size=2)
    assert info(four)["all_seeds"] == [42, 43, 44, 45]
    for index, image in enumerate(four["images"]):
        assert colours(image) == colours((await draw(client, seed=42 + index))["images"][0])


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "a dog"},
        {"negative_prompt": "dogs"},
        {"steps": 4},
        {"cfg_scale": 8},
        {"sampler_name": "Euler"},
        {"scheduler": "Karras"},
        {"prompt": "a cat <lora:tinylora:0.5>"},
        {"override_settings": {"sd_model_checkpoint": "tinyB"}},
        {"override_settings": {"CLIP_stop_at_last_layers": 2}},
        {"override_settings": {"sd_vae": "tinyvae.safetensors"}},
    ],
)
async def test_what_draws_changes_the_picture(ask, change):
    _, client = await ask()
    assert colours((await draw(client))["images"][0]) != colours((await draw(client, **change))["images"][0])


async def test_a_lora_that_is_missing_is_left_out_without_a_word(ask):
    _, client = await ask()
    plain, tagged = await draw(client), await draw(client, prompt="a cat <lora:nope:1>")
    assert colours(plain["images"][0]) == colours(tagged["images"][0])


async def test_sides_are_rounded_and_info_tells_what_was_asked(ask):
    for dialect, size, told in (("a1111", (64, 64), 65), ("sdnext", (64, 64), 64), ("sdcpp", (128, 64), 65)):
        _, client = await ask(dialect)
        drawn = await draw(client, width=65)
        assert pixels(drawn["images"][0]).size == size
        assert info(drawn)["width"] == told


async def test_a_saved_grid_comes_first(ask):
    _, client = await ask()
    drawn = await draw(client, n_iter=2, save_images=True)
    assert len(drawn["images"]) == 3
    assert info(drawn)["index_of_first_image"] == 1


@pytest.mark.parametrize("name", ["tinyb", "tiny", "tinyB.safetensors [deadbeef00]", "tinyC.safetensors", "nope"])
async def test_a_checkpoint_that_isnt_known_to_the_letter_is_the_owners(ask, name):
    fake, client = await ask()
    drawn = await draw(client, override_settings={"sd_model_checkpoint": name})
    assert (info(drawn)["sd_model_name"], fake.swaps) == ("tinyA", 0)


async def test_a1111_gives_the_setting_back_and_keeps_the_weights(ask):
    fake, client = await ask()
    await draw(client, override_settings={"sd_model_checkpoint": "tinyB"})
    options = (await client.get("/sdapi/v1/options")).json()
    assert options["sd_model_checkpoint"] == fake.checkpoints[0].title
    assert options["sd_checkpoint_hash"] == fake.checkpoints[1].sha256
    assert info(await draw(client))["sd_model_name"] == "tinyA"
    assert fake.swaps == 2


async def test_sd_next_swaps_back_at_once(ask):
    fake, client = await ask("sdnext")
    other = {"sd_model_checkpoint": "Diffusers/tiny/sdB"}
    await draw(client, override_settings=other)
    assert fake.swaps == 2
    await draw(client, override_settings=other, override_settings_restore_afterwards=False)
    assert fake.swaps == 3


async def test_forge_unloads_what_it_needs_again(ask):
    fake, client = await ask("forge")
    for _ in range(2):
        await draw(client, override_settings={"sd_model_checkpoint": "tinyB"})
    assert (fake.loaded, fake.unloads) == (["tinyB.safetensors"], 1)


async def test_a_fresh_server_keeps_what_was_never_set(ask):
    _, client = await ask(fresh=True)
    plain = colours((await draw(client))["images"][0])
    await draw(client, override_settings={"CLIP_stop_at_last_layers": 2})
    assert colours((await draw(client))["images"][0]) != plain


@pytest.mark.parametrize(
    ("dialect", "status", "body"),
    [
        ("a1111-old", 404, {"error": "HTTPException", "detail": "Sampler not found", "body": "", "errors": ""}),
        ("a1111", 200, None),
        ("forge", 200, None),
        ("sdcpp", 200, None),
    ],
)
async def test_an_unknown_sampler(ask, dialect, status, body):
    _, client = await ask(dialect)
    answer = await client.post(TXT2IMG, json=CAT | {"sampler_name": "Nope"})
    assert answer.status_code == status
    assert body in (None, answer.json())


async def test_an_unknown_setting_fails_and_its_task_stays_active(ask):
    _, client = await ask()
    answer = await client.post(TXT2IMG, json=CAT | {"override_settings": {"nope": 1}, "force_task_id": "t"})
    assert (answer.status_code, answer.json()["errors"]) == (500, "'nope'")
    assert (await client.post("/internal/progress", json={"id_task": "t"})).json()["active"] is True


async def test_a_bad_input_picture_leaves_a_ghost_in_the_queue(ask):
    _, client = await ask()
    answer = await client.post(IMG2IMG, json=CAT | {"init_images": ["zz"], "force_task_id": "ghost"})
    assert (answer.status_code, answer.json()["detail"]) == (500, "Invalid encoded image")
    assert (await client.get("/internal/pending-tasks")).json() == {"size": 1, "tasks": ["ghost"]}


@pytest.mark.parametrize(
    ("dialect", "keys"),
    [
        ("a1111", ["error", "detail", "body", "errors"]),
        ("sdnext", ["error", "code", "detail", "body", "errors"]),
        ("forge", ["error", "detail", "body", "message"]),
    ],
)
async def test_crashes_have_the_dialects_keys(ask, dialect, keys):
    fake, client = await ask(dialect)
    fake.fail_next("oom")
    answer = await client.post(TXT2IMG, json=CAT)
    assert (answer.status_code, list(answer.json())) == (500, keys)
    assert answer.json()["error"] == "OutOfMemoryError"


async def test_image_to_image_keeps_what_the_mask_spares(ask):
    _, client = await ask()
    red, mask = picture("red"), picture("black", half=True)
    edit = {"init_images": [red], "mask": mask, "mask_blur": 0, "inpaint_full_res": False}
    drawn = pixels((await draw(client, IMG2IMG, **edit))["images"][0])
    assert drawn.getpixel((60, 32)) == (255, 0, 0)
    assert drawn.getpixel((5, 32)) != (255, 0, 0)


async def test_a_second_pass_enlarges(ask):
    second = {"enable_hr": True, "hr_scale": 2, "hr_upscaler": "Latent", "denoising_strength": 0.5}
    for dialect, more in (("a1111", {}), ("sdnext", {"hr_resize_mode": 1}), ("sdcpp", {})):
        _, client = await ask(dialect)
        assert pixels((await draw(client, **second, **more))["images"][0]).size == (128, 128)


async def test_bodies_are_compressed_only_for_who_takes_it(ask):
    _, client = await ask()
    for accepted, found in (("gzip", "gzip"), ("identity", None)):
        answer = await client.post(TXT2IMG, json=CAT, headers={"accept-encoding": accepted})
        assert answer.headers.get("content-encoding") == found


async def test_doors_that_are_closed(ask):
    _, client = await ask(api=False)
    assert (await client.get("/sdapi/v1/options")).json() == {"detail": "Not Found"}
    _, client = await ask(ui=False, auth=("bob", "secret"))
    assert (await client.get("/internal/ping")).status_code == 404
    assert (await client.get("/openapi.json")).status_code == 200
    answer = await client.get("/sdapi/v1/options")
    assert (answer.status_code, answer.json()["detail"]) == (401, "Not authenticated")
    assert (await client.get("/sdapi/v1/options", auth=("bob", "secret"))).status_code == 200


async def test_sd_next_without_a_model_draws_nothing_and_says_200(ask):
    _, client = await ask("sdnext")
    answer = await client.post("/sdapi/v1/options", json={"sd_model_checkpoint": "nope"})
    assert answer.json() == {"updated": [{"sd_model_checkpoint": True}]}
    drawn = await draw(client)
    assert (drawn["images"], drawn["info"]) == ([], "")
