"""AUTOMATIC1111's API: what its clients send means here what it means there, and each sender has its own jobs."""

import asyncio
import base64
import json
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow

from imagerouter import Hires, Lora
from imagerouter.testing import FakeProvider

TXT2IMG, IMG2IMG = "/sdapi/v1/txt2img", "/sdapi/v1/img2img"
KEYS = "keys: {alice: {secret: alice-secret}, bob: {secret: bob-secret}}\n"
ALICE, BOB = ("anybody", "alice-secret"), ("bob-secret", "")
"""As HTTP Basic's user and password: a key is good as either."""


def png(picture: Pillow.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = png(Pillow.linear_gradient("L").resize((64, 64)))


def opened(b64: str) -> Pillow.Image:
    return Pillow.open(BytesIO(base64.b64decode(b64)))


async def post(running: Any, path: str = TXT2IMG, auth: Any = None, **body: Any) -> Any:
    return await running.http.post(path, json={"prompt": "a fox", **body}, auth=auth)


async def progress(running: Any, query: str = "", auth: Any = None) -> dict[str, Any]:
    reply = await running.http.get(f"/sdapi/v1/progress{query}", auth=auth)
    return reply.json()


async def test_every_field_with_a_meaning_here_reaches_the_provider(start: Any) -> None:
    # What only servers of this family know goes to providers of that name or type.
    fleet = (
        "providers: {a1111: {type: 'imagerouter.testing:FakeProvider', models: [xl.safetensors, anime.safetensors]}}"
    )
    running = await start(fleet)
    reply = await post(
        running,
        prompt="a fox <lora:ink:0.8> in <lyco:snow> the snow",
        negative_prompt="blurry", steps="30", cfg_scale=5, distilled_cfg_scale=3.5, width=320, height=192, seed=7,
        sampler_name="DPM++ 2M Karras", scheduler="Automatic", batch_size=2, n_iter=2, tiling=True, s_churn=0,
        enable_hr=True, hr_resize_x=640, hr_second_pass_steps=0, hr_upscaler="Latent", denoising_strength=0.4,
        alwayson_scripts={"ControlNet": {"args": []}}, styles=[], url="a secret", do_not_save_grid=True,
        override_settings={
            "sd_model_checkpoint": "anime.safetensors [0123abcdef]", "sd_vae": "ink.pt", "samples_format": "jpg",
            "CLIP_stop_at_last_layers": 2, "eta_noise_seed_delta": 31337, "img2img_color_correction": True,
        },
    )  # fmt: skip
    (request,) = running.fake("a1111").requests
    assert (request.model, request.prompt, request.negative_prompt) == (
        "anime.safetensors", "a fox  in  the snow", "blurry",
    )  # fmt: skip
    assert (request.n, request.seed, request.steps, request.cfg_scale, request.guidance) == (4, 7, 30, 5, 3.5)
    assert (request.sampler, request.scheduler, request.width, request.height) == ("dpmpp_2m", "karras", 320, 192)
    assert request.loras == (Lora("ink", 0.8), Lora("snow", 1.0))
    assert request.hires == Hires(scale=2, steps=None, strength=0.4, upscaler="Latent")
    assert (request.clip_skip, request.vae, request.strength) == (2, "ink.pt", None)
    assert request.options == {
        "tiling": True,
        "alwayson_scripts": {"ControlNet": {"args": []}},
        "override_settings": {"eta_noise_seed_delta": 31337},
    }
    answer = reply.json()
    assert [opened(image).format for image in answer["images"]] == ["JPEG"] * 4
    info = json.loads(answer["info"])
    assert (info["all_seeds"], info["sd_model_name"], info["sampler_name"]) == ([7, 8, 9, 10], "anime", "DPM++ 2M")
    assert info["infotexts"][1].startswith(
        "a fox <lora:ink:0.8> in <lyco:snow> the snow\nNegative prompt: blurry\n"
        "Steps: 30, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 5, Seed: 8, Size: 320x192, Model: anime"
    )
    assert {"url", "override_settings.img2img_color_correction", "hires"} <= {*answer["imagerouter"]["ignored"]}
    assert "secret" not in json.dumps(answer["imagerouter"])


async def test_what_is_left_open_is_the_models_own(running: Any) -> None:
    answer = (await post(running)).json()
    (request,) = running.fake().requests
    assert (request.steps, request.width, request.sampler, request.seed) == (None, None, None, request.seed)
    assert {name: answer["parameters"][name] for name in ("steps", "width", "height", "seed")} == {
        "steps": 4, "width": 64, "height": 64, "seed": -1,
    }  # fmt: skip
    assert json.loads(answer["info"])["seed"] == request.seed
    assert (await post(running, prompt="", width=128, send_images=False)).json()["images"] == []
    request = running.fake().requests[-1]
    assert (request.prompt, request.width, request.height) == ("", 128, 512)


async def test_under_a_mask_and_in_a_second_pass_it_is_as_the_real_server_would_have_it(start: Any) -> None:
    running = await start("providers: {a1111: {type: 'imagerouter.testing:FakeProvider'}}")
    white = png(Pillow.new("L", (64, 64), "white"))
    mask: dict[str, Any] = {"init_images": [PICTURE], "mask": white}
    await post(running, IMG2IMG, **mask)
    await post(running, IMG2IMG, **mask, mask_blur_x=0, mask_blur_y=7, inpainting_fill=1, inpaint_full_res=False)
    # A tag of the first pass holds for the second, too; in other prompts it loads nothing.
    second: dict[str, Any] = {
        "enable_hr": True, "prompt": "a fox <lora:ink:1>", "hr_prompt": "a fox <lora:ink:1>",
        "negative_prompt": "blurry <lora:x>", "hr_negative_prompt": "dull <lora:ink:1>",
    }  # fmt: skip
    answer = (await post(running, **second, width=64, height=96, eta=1.0)).json()
    first, soft, large = running.fake("a1111").requests
    assert first.options == {
        "mask_blur": 4, "inpainting_fill": 0, "inpaint_full_res": True, "inpaint_full_res_padding": 0,
    }  # fmt: skip
    assert (soft.options["mask_blur"], soft.options["inpainting_fill"]) == (7, 1)
    assert large.options == {"eta": 1.0, "hr_negative_prompt": "dull"}
    assert (large.prompt, large.negative_prompt) == ("a fox", "blurry")
    assert {"negative_prompt: <lora:x>", "hr_negative_prompt: <lora:ink>"} <= {*answer["imagerouter"]["ignored"]}
    info = json.loads(answer["info"])
    told = [info[name] for name in ("width", "height", "prompt", "negative_prompt", "all_subseeds")]
    assert told == [64, 96, "a fox <lora:ink:1>", "blurry <lora:x>", [0]]


@pytest.mark.parametrize("invert", [0, 1])
@pytest.mark.parametrize("kind", ["white", "alpha"])
async def test_masks_are_read_as_the_real_server_reads_them(running: Any, kind: str, invert: int) -> None:
    left = Pillow.new("L", (64, 64), "black")
    left.paste("white", (0, 0, 32, 64))
    if kind == "alpha":  # of which only the alpha counts: what is opaque is repainted
        left = Pillow.merge("LA", [Pillow.new("L", (64, 64), "black"), left])
    sent = {"init_images": [f"data:image/png;base64,{PICTURE}"], "mask": png(left), "inpainting_mask_invert": invert}
    answer = (await post(running, IMG2IMG, denoising_strength=0.6, mask_blur=4, **sent)).json()
    (request,) = running.fake().requests
    assert Pillow.open(BytesIO(request.mask.data)).getbbox() == ((32, 0, 64, 64) if invert else (0, 0, 32, 64))
    assert request.strength == 0.6
    assert answer["parameters"]["init_images"] is answer["parameters"]["mask"] is None


async def test_a_job_can_be_watched_and_interrupted(running: Any) -> None:
    fake = running.fake()
    fake.gated = True
    assert (await progress(running))["progress"] == 0  # whoever asks like this wants to see its next jobs
    drawing = asyncio.create_task(post(running, steps=8, n_iter=2, width=96, height=96, force_task_id="t-1"))
    waiting = asyncio.create_task(post(running, force_task_id="t-2"))
    assert (await fake.held())[0].partial_images == 3
    await running.waiting()
    seen = await progress(running)
    assert seen["progress"] == 1 / 8
    assert seen["eta_relative"] >= 0
    state = {name: seen["state"][name] for name in ("job", "job_count", "job_no", "sampling_step", "sampling_steps")}
    assert state == {
        "job": "scripts_txt2img", "job_count": 2, "job_no": 0, "sampling_step": 1, "sampling_steps": 8,
    }  # fmt: skip
    preview = opened(seen["current_image"])
    assert (await progress(running, "?skip_current_image=true"))["current_image"] is None
    tasks = [
        (await running.http.post("/internal/progress", json={"id_task": f"t-{number}"})).json() for number in (1, 2, 3)
    ]
    assert [(task["active"], task["queued"], task["completed"]) for task in tasks] == [
        (True, False, False), (False, True, False), (False, False, False),
    ]  # fmt: skip
    assert tasks[0]["live_preview"].endswith(seen["current_image"])
    assert (await running.http.get("/internal/pending-tasks")).json() == {"size": 1, "tasks": ["t-2"]}
    assert (await running.http.post("/sdapi/v1/skip")).json() is None  # one of two pictures, which goes on
    assert (await running.http.post("/sdapi/v1/interrupt")).json() == {}
    stopped, never_begun = (await drawing).json(), (await waiting).json()
    assert [opened(image).size for image in stopped["images"]] == [preview.size]
    assert json.loads(stopped["info"])["interrupted"]
    assert never_begun["images"] == []
    assert fake.outcomes == ["cancelled"]
    state = (await progress(running))["state"]
    assert (state["job_count"], state["interrupted"], state["skipped"]) == (0, True, True)
    done = await running.http.post("/internal/progress", json={"id_task": "t-1"})
    assert done.json()["completed"]


async def test_who_does_not_look_costs_no_previews(running: Any) -> None:
    await progress(running, "?skip_current_image=true")
    await post(running)
    assert running.fake().requests[0].partial_images == 0


async def test_each_key_has_its_own_settings_and_jobs(start: Any) -> None:
    running = await start(
        KEYS + "providers: {a: {type: 'imagerouter.testing:FakeProvider', models: [one, two], gated: true}}"
    )
    chosen = await running.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "TWO"}, auth=ALICE)
    assert (chosen.status_code, chosen.json()) == (200, None)
    told = [(await running.http.get("/sdapi/v1/options", auth=auth)).json() for auth in (ALICE, BOB)]
    assert [options["sd_model_checkpoint"] for options in told] == ["two", "one"]
    drawing = asyncio.create_task(post(running, auth=ALICE))
    fake: FakeProvider = running.fake("a")
    assert [request.model for request in await fake.held()] == ["two"]
    await running.http.post("/sdapi/v1/interrupt", auth=BOB)
    assert (await progress(running, auth=BOB))["state"]["job_count"] == 0
    assert (await progress(running, auth=ALICE))["state"]["job_count"] == 1
    fake.gated = False
    fake.release()
    assert len((await drawing).json()["images"]) == 1
    await post(running, auth=BOB)
    await post(running, auth=ALICE, override_settings={"sd_model_checkpoint": "one"})
    assert [request.model for request in fake.requests] == ["two", "one", "one"]
    unknown = await running.http.post("/sdapi/v1/options", json={"sd_model_checkpoint": "three"}, auth=ALICE)
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "The model `three` does not exist")


async def test_open_webui_sends_all_settings_back_with_another_model(start: Any) -> None:
    running = await start("providers: {a: {type: 'imagerouter.testing:FakeProvider', models: [one, two]}}")
    rows = (await running.http.get("/sdapi/v1/sd-models")).json()
    options = (await running.http.get("/sdapi/v1/options")).json()
    changed = await running.http.post("/sdapi/v1/options", json={**options, "sd_model_checkpoint": rows[1]["title"]})
    assert changed.is_success
    assert (await running.http.get("/sdapi/v1/options")).json() == {**options, "sd_model_checkpoint": "two"}
    drawn = await post(running, batch_size=2, width=512, height=512, steps=8, negative_prompt="blurry")
    (request,) = running.fake("a").requests
    assert (request.model, request.n, request.steps, request.clip_skip, request.vae) == ("two", 2, 8, None, None)
    assert [opened(image).format for image in drawn.json()["images"]] == ["PNG", "PNG"]


async def test_sillytavern_sends_more_than_has_a_meaning(running: Any) -> None:
    reply = await post(
        running,
        url="http://127.0.0.1:7860", negative_prompt="", sampler_name="Euler a", scheduler="karras", steps=20,
        cfg_scale=7, width=512, height=512, restore_faces=False, enable_hr=False, hr_upscaler="Latent", hr_scale=1,
        hr_additional_modules=[], denoising_strength=0.7, hr_second_pass_steps=0, clip_skip=1, save_images=True,
        override_settings={"CLIP_stop_at_last_layers": 1}, override_settings_restore_afterwards=True,
        send_images=True, do_not_save_grid=False, do_not_save_samples=False,
    )  # fmt: skip
    (request,) = running.fake().requests
    assert (request.sampler, request.scheduler, request.strength, request.hires) == (
        "euler_ancestral", "karras", None, None,
    )  # fmt: skip
    assert reply.json()["imagerouter"]["ignored"] == ["clip_skip", "hr_additional_modules", "save_images", "url"]


async def test_without_a_key_it_says_how_to_send_one(start: Any) -> None:
    running = await start(KEYS)
    for auth in (None, ("alice", "wrong"), ("", "")):
        reply = await post(running, auth=auth)
        assert (reply.status_code, reply.headers["www-authenticate"]) == (
            401,
            'Basic realm="imagerouter", charset="UTF-8"',
        )
        assert "API key" in reply.json()["detail"]
    assert (await running.http.get("/sdapi/v1/options", headers={"authorization": "Bearer bob-secret"})).is_success
    assert (await running.http.get("/v1/models", auth=ALICE)).is_success  # the other doors know it, too


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"steps": [20]}, "steps"),
    ({"steps": 0}, "steps"),
    ({"width": 10**9, "height": 64}, "width"),
    ({"width": "9" * 5000}, "width"),
    ({"cfg_scale": "nan"}, "cfg_scale"),
    ({"denoising_strength": "inf"}, "denoising_strength"),
    ({"batch_size": 10_000, "n_iter": 10_000}, "batch_size*n_iter"),
    ({"sampler_name": "Nope"}, "sampler_name"),
    ({"prompt": ["a fox"]}, "prompt"),
    ({"prompt": "<lora:ink:99>"}, "prompt"),
    ({"override_settings": []}, "override_settings"),
    ({"override_settings": {"sd_model_checkpoint": {}}}, "override_settings.sd_model_checkpoint"),
    ({"override_settings": {"samples_format": "bmp"}}, "override_settings.samples_format"),
    ({"enable_hr": True, "hr_scale": 99}, "hr_scale"),
    ({"enable_hr": True, "width": 0, "height": 0, "hr_resize_x": 512}, "width"),
    ({"init_images": None}, "init_images"),
    ({"init_images": ["no picture"]}, "init_images"),
    ({"init_images": [PICTURE], "mask": "no mask"}, "mask"),
    ({"init_images": [PICTURE, PICTURE], "batch_size": 2}, "init_images"),
    ({"alwayson_scripts": 1}, "alwayson_scripts"),
]
"""Bodies, and the field that is at fault."""


async def test_what_is_wrong_is_named_by_its_own_field(running: Any) -> None:
    for body, field in WRONG:
        reply = await post(running, IMG2IMG if "init_images" in body else TXT2IMG, **body)
        told = reply.json()
        assert (reply.status_code, [detail["loc"] for detail in told["detail"]]) == (422, [["body", *field.split(".")]])
        assert told["detail"][0]["msg"] == told["errors"]
    assert not running.fake().calls


async def test_failures_keep_their_status(start: Any) -> None:
    running = await start("limits: {max_body: 1000}")
    large = await post(running, prompt="x" * 2000)
    assert (large.status_code, large.json()["error"]) == (413, "RequestTooLargeError")
    running.fake().fail_with(RuntimeError("boom"))
    failed = await post(running)
    assert (failed.status_code, failed.json().keys()) == (502, {"error", "detail", "body", "errors"})
    assert (await running.http.post(TXT2IMG, content=b"[]")).status_code == 422


async def test_what_is_not_there_is_said_in_the_same_shape(running: Any) -> None:
    cases = [("GET", "/sdapi/v1/nope", ""), ("GET", TXT2IMG, "POST"), ("POST", "/internal/nope", "")]
    for method, path, allowed in cases:
        reply = await running.http.request(method, path)
        told = reply.json()
        assert (reply.status_code, told.keys()) == (405 if allowed else 404, {"error", "detail", "body", "errors"})
        assert path in told["detail"]
        assert allowed in reply.headers.get("allow", "")
    assert (await running.http.get("/nope")).json()["error"]["code"] == "not_found"


async def test_lists_hold_what_the_fleet_has(start: Any) -> None:
    running = await start("models: {house: {aliases: [home], targets: [{provider: fake, model: fake}]}}")
    got = {
        name: (await running.http.get(f"/sdapi/v1/{name}")).json() for name in ("sd-models", "samplers", "schedulers")
    }
    assert [(row["title"], row["model_name"], row["hash"]) for row in got["sd-models"]] == [
        ("house", "house", None), ("fake", "fake", None),
    ]  # fmt: skip
    assert [row["name"] for row in got["samplers"]] == ["Euler", "Euler a", "DPM++ 2M"]
    assert [(row["name"], row["label"]) for row in got["schedulers"]] == [
        ("automatic", "Automatic"), ("normal", "Normal"), ("karras", "Karras"),
    ]  # fmt: skip
    assert (await post(running, override_settings={"sd_model_checkpoint": "home"})).is_success
    assert (await running.http.post("/sdapi/v1/refresh-checkpoints")).json() is None


async def test_what_the_providers_have_beside_models_is_listed_by_names_that_requests_take(start: Any) -> None:
    fake = "type: 'imagerouter.testing:FakeProvider'"
    running = await start(
        "providers:\n"
        f"  desk: {{{fake}, loras: [ink, 'a:b', 'x<y>'], upscalers: [Latent, lanczos, 4x-UltraSharp], vaes: [soft]}}\n"
        f"  tower: {{{fake}, loras: [snow, ink], upscalers: [4x-UltraSharp]}}\n"
    )

    async def listed(name: str) -> list[dict[str, Any]]:
        return (await running.http.get(f"/sdapi/v1/{name}")).json()

    assert await listed("loras") == [
        {"name": name, "alias": name, "path": name, "metadata": {}} for name in ("ink", "snow")
    ]
    assert [(row["name"], row["model_name"], row["scale"]) for row in await listed("upscalers")] == [
        ("None", None, 4), ("Lanczos", None, 4), ("Nearest", None, 4), ("4x-UltraSharp", "4x-UltraSharp", 4),
    ]  # fmt: skip
    assert [row["model_name"] for row in await listed("sd-vae")] == ["soft"]
    running.fake("tower").fail_with(RuntimeError("boom"), on="extras")
    assert (await running.http.post("/sdapi/v1/refresh-loras")).is_success
    assert [row["name"] for row in await listed("loras")] == ["ink", "snow"]
    assert (await post(running, prompt="<lora:snow:1>")).is_success


async def test_the_parameters_come_back_out_of_the_file(start: Any) -> None:
    running = await start("results: {metadata: embed}")
    drawn = (await post(running, steps=3, sampler_name="Euler a", seed=9, width=64, height=64)).json()["images"][0]
    told = (await running.http.post("/sdapi/v1/png-info", json={"image": drawn})).json()
    assert told["info"].startswith("a fox\nSteps: 3, Sampler: Euler a")
    parameters = told["parameters"]
    assert {name: parameters[name] for name in ("Prompt", "Steps", "Seed", "Size-1", "Model")} == {
        "Prompt": "a fox", "Steps": "3", "Seed": "9", "Size-1": "64", "Model": "fake",
    }  # fmt: skip
    assert (await running.http.post("/sdapi/v1/png-info", json={"image": "nothing"})).status_code == 422


async def test_it_can_be_switched_off(start: Any) -> None:
    running = await start("dialects: {a1111: false}")
    replies = [await post(running), await running.http.get("/internal/pending-tasks")]
    assert [reply.status_code for reply in replies] == [404, 404]
    assert "`dialects.a1111` is off" in replies[0].json()["detail"]
