"""imagerouter in front of a real ComfyUI."""

import asyncio
import json
import os
import subprocess
import time
from base64 import b64decode, b64encode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as Pillow
from PIL import ImageDraw

pytestmark = pytest.mark.live


async def test_every_checkpoint_is_a_model(live):
    listed = (await live.comfy.get("/models/checkpoints")).json()
    names = {model["id"] for model in (await live.http.get("/v1/models")).json()["data"]}
    assert {Path(name.replace("\\", "/")).stem for name in listed} <= names


async def test_text_to_image_through_the_openai_sdk(live):
    answer = await live.sdk.images.generate(
        model=live.model, prompt="a red fox", size="64x64", extra_body={"seed": 4711, "steps": 2}
    )
    picture = decoded(b64decode(answer.data[0].b64_json))
    assert picture.size == (64, 64)
    assert "prompt" not in picture.info
    assert "workflow" not in picture.info
    assert len(picture.convert("RGB").getcolors(4096) or []) > 1


async def test_each_of_three_images_is_the_one_that_its_seed_gives_alone(live):
    together = await live.pictures(n=3)
    alone = [(await live.pictures(seed=4711 + index))[0] for index in range(3)]
    assert [decoded(file).tobytes() for file in together] == [decoded(file).tobytes() for file in alone]


async def test_the_parameters_change_the_picture_and_are_told(live):
    plain = await live.draw()
    assert not plain["imagerouter"]["ignored"]
    assert plain["imagerouter"]["applied"]["steps"] == 2
    # In two steps, `karras` and `exponential` are the same.
    other = "exponential" if plain["imagerouter"]["applied"]["scheduler"] == "simple" else "simple"
    for change in (
        {"steps": 3},
        {"cfg_scale": 2},
        {"sampler": "euler_ancestral"},
        {"scheduler": other},
        {"negative_prompt": "fog"},
    ):
        changed = await live.draw(**change)
        assert changed["data"][0]["b64_json"] != plain["data"][0]["b64_json"], change
        assert not changed["imagerouter"]["ignored"]


@pytest.mark.parametrize("size", ["64x64", "128x64", "100x68", "72x136"])
async def test_the_asked_size_is_what_comes_back(live, size):
    (picture,) = await live.pictures(size=size)
    assert "x".join(map(str, decoded(picture).size)) == size


async def test_image_to_image_keeps_more_of_the_picture_the_less_strength_there_is(live):
    source = data_url(Pillow.new("RGB", (64, 64), "navy"))
    weak = await live.pictures(images=[source], strength=0.1)
    strong = await live.pictures(images=[source], strength=0.9)
    assert weak != strong
    assert decoded(weak[0]).size == (64, 64)


async def test_inpainting_leaves_every_pixel_outside_the_mask_as_it_was(live):
    source = Pillow.new("RGB", (64, 64), "navy")
    ImageDraw.Draw(source).line((0, 0, 63, 63), fill="gold", width=3)
    mask = Pillow.new("RGBA", (64, 64), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 0, 32, 64))  # the left half is transparent: to be repainted
    (file,) = await live.pictures(images=[data_url(source)], mask=data_url(mask))
    drawn = decoded(file).convert("RGB")
    right = (40, 0, 64, 64)
    assert drawn.crop(right).tobytes() == source.crop(right).tobytes()
    assert drawn.crop((0, 0, 24, 64)).tobytes() != source.crop((0, 0, 24, 64)).tobytes()


async def test_a_lora_changes_the_picture(live):
    names = (await live.comfy.get("/models/loras")).json()
    if not names:
        pytest.skip("the server has no LoRA")
    lora = {"name": Path(names[0]).stem, "weight": 1.0}
    assert await live.pictures(loras=[lora]) != await live.pictures()


async def test_a_lora_that_is_not_there_is_told_by_its_name(live):
    answer = await live.ask(loras=[{"name": "no-such-lora"}])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "loras[0].name"


async def test_a_second_pass_enlarges_the_picture(live):
    (file,) = await live.pictures(hires={"scale": 2, "steps": 1, "strength": 0.5})
    assert decoded(file).size == (128, 128)


async def test_a_graph_in_the_shape_of_flux_is_a_model(launch, live, tmp_path):
    checkpoint = (await live.comfy.get("/models/checkpoints")).json()[0]
    path = tmp_path / "flux.json"
    path.write_text(json.dumps(flux_shaped(await file_of(live, checkpoint))))
    flux = await launch(models=f"{{flux: {{targets: [{{provider: desk, workflow: '{path}'}}]}}}}")
    body = {"model": "flux", "cfg_scale": None}
    first = await flux.draw(**body, guidance=3.5)
    assert not first["imagerouter"]["ignored"]
    assert first["data"][0]["b64_json"] != (await flux.draw(**body, seed=1))["data"][0]["b64_json"]
    (file,) = await flux.pictures(**body, size="96x64")
    assert decoded(file).size == (96, 64)


async def test_a_workflow_as_the_editor_saves_it_is_a_model(launch, live, tmp_path):
    path = tmp_path / "editor.json"
    path.write_text(json.dumps(editor_format(await file_of(live))))
    editor = await launch(models=f"{{editor: {{targets: [{{provider: desk, workflow: '{path}'}}]}}}}")
    drawn = await editor.draw(model="editor", negative_prompt="fog")
    assert not drawn["imagerouter"]["ignored"]
    assert decoded((await editor.pictures(model="editor", size="64x128"))[0]).size == (64, 128)


async def test_pictures_can_come_over_the_websocket(launch):
    live = await launch(keys="transfer: websocket")
    before = await live.pictures()
    assert await live.pictures() == before
    assert decoded(before[0]).size == (64, 64)


async def test_previews_are_streamed(live):
    stream = await live.sdk.images.generate(
        model=live.model,
        prompt="a red fox",
        size="64x64",
        stream=True,
        partial_images=2,
        extra_body={"steps": 6, "seed": 9},
    )
    events = [event async for event in stream]
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]


async def test_a_client_that_goes_away_stops_its_own_job_and_no_other(live):
    await live.until_idle()
    asked = asyncio.create_task(live.ask(steps=150, n=3))
    await live.until_running()
    bystander = await live.comfy.post("/prompt", json={"prompt": api_format(await file_of(live)), "client_id": "x"})
    asked.cancel()
    await asyncio.wait([asked])
    await live.until_idle()
    history = (await live.comfy.get(f"/history/{bystander.json()['prompt_id']}")).json()
    assert next(iter(history.values()))["status"]["status_str"] == "success"


async def test_nothing_of_a_job_stays_in_the_history(live):
    await live.until_idle()
    before = set((await live.comfy.get("/history")).json())
    await live.draw(n=2)
    for _ in range(100):
        left = set((await live.comfy.get("/history")).json()) - before
        if not left:
            return
        await asyncio.sleep(0.02)
    assert not left


async def test_fifty_requests_at_once_are_all_drawn(live):
    answers = await asyncio.gather(*(live.ask(seed=seed, steps=1) for seed in range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert len({answer.json()["data"][0]["b64_json"] for answer in answers}) == 50
    assert [answer.json()["data"][0]["seed"] for answer in answers] == list(range(50))


async def test_what_the_server_refuses_is_told_in_the_clients_words(live):
    answer = await live.ask(sampler="no_such_sampler")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "sampler"


async def test_a_server_that_is_killed_and_comes_back_in_mid_job_costs_no_request(live):
    kill, start = (os.environ.get(f"IMAGEROUTER_LIVE_COMFYUI_{name}") for name in ("KILL", "START"))
    if not kill or not start:
        pytest.skip("IMAGEROUTER_LIVE_COMFYUI_KILL and _START are not set")
    asked = asyncio.create_task(live.pictures(steps=150, seed=time.time_ns() % 2**32))
    await live.until_running()
    await asyncio.to_thread(subprocess.run, kill, shell=True, check=True)
    await asyncio.to_thread(subprocess.run, start, shell=True, check=True)
    assert decoded((await asked)[0]).size == (64, 64)


def decoded(data: bytes) -> Pillow.Image:
    picture = Pillow.open(BytesIO(data))
    picture.load()
    return picture


def data_url(picture: Pillow.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"


async def file_of(live, fallback: str = "") -> str:
    """The file of the model under test."""
    listed = (await live.comfy.get("/models/checkpoints")).json()
    return next((name for name in listed if Path(name.replace("\\", "/")).stem == live.model), fallback or listed[0])


def api_format(checkpoint: str) -> dict:
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "somebody else's", "clip": ["4", 1]}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 3,
                "steps": 1,
                "cfg": 7.0,
                "sampler_name": "euler",
                "scheduler": "normal",
                "denoise": 1.0,
                "model": ["4", 0],
                "positive": ["6", 0],
                "negative": ["6", 0],
                "latent_image": ["5", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}},
    }


def flux_shaped(checkpoint: str) -> dict:
    return {
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": checkpoint}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "anything", "clip": ["4", 1]}},
        "41": {"class_type": "FluxGuidance", "inputs": {"conditioning": ["6", 0], "guidance": 3.5}},
        "42": {"class_type": "BasicGuider", "inputs": {"model": ["4", 0], "conditioning": ["41", 0]}},
        "43": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "44": {
            "class_type": "BasicScheduler",
            "inputs": {"model": ["4", 0], "scheduler": "simple", "steps": 2, "denoise": 1.0},
        },
        "45": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
        "46": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
        "47": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {
                "noise": ["45", 0],
                "guider": ["42", 0],
                "sampler": ["43", 0],
                "sigmas": ["44", 0],
                "latent_image": ["46", 0],
            },
        },
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["47", 0], "vae": ["4", 2]}},
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "flux", "images": ["8", 0]}},
    }


def editor_format(checkpoint: str) -> dict:
    """What "Save" writes: nodes with widget values in the order of their inputs, and links by number."""

    def node(number, kind, widgets, inputs=(), outputs=()):
        return {
            "id": number,
            "type": kind,
            "mode": 0,
            "inputs": [{"name": name, "type": kind_, "link": link} for name, kind_, link in inputs],
            "outputs": [{"name": kind_, "type": kind_, "links": list(links)} for kind_, links in outputs],
            "widgets_values": widgets,
        }

    nodes = [
        node(
            1,
            "CheckpointLoaderSimple",
            [checkpoint],
            outputs=[("MODEL", [1]), ("CLIP", [2, 3]), ("VAE", [4])],
        ),
        node(2, "CLIPTextEncode", ["a lighthouse"], [("clip", "CLIP", 2)], [("CONDITIONING", [5])]),
        node(3, "CLIPTextEncode", ["blurry"], [("clip", "CLIP", 3)], [("CONDITIONING", [6])]),
        node(4, "EmptyLatentImage", [64, 64, 1], outputs=[("LATENT", [7])]),
        node(
            5,
            "KSampler",
            [42, "randomize", 2, 7.0, "euler", "normal", 1.0],
            [
                ("model", "MODEL", 1),
                ("positive", "CONDITIONING", 5),
                ("negative", "CONDITIONING", 6),
                ("latent_image", "LATENT", 7),
            ],
            [("LATENT", [8])],
        ),
        node(6, "VAEDecode", [], [("samples", "LATENT", 8), ("vae", "VAE", 4)], [("IMAGE", [9])]),
        node(7, "SaveImage", ["ComfyUI"], [("images", "IMAGE", 9)]),
        node(8, "Note", ["drawn by nobody"]),
    ]
    links = [
        [1, 1, 0, 5, 0, "MODEL"],
        [2, 1, 1, 2, 0, "CLIP"],
        [3, 1, 1, 3, 0, "CLIP"],
        [4, 1, 2, 6, 1, "VAE"],
        [5, 2, 0, 5, 1, "CONDITIONING"],
        [6, 3, 0, 5, 2, "CONDITIONING"],
        [7, 4, 0, 5, 3, "LATENT"],
        [8, 5, 0, 6, 0, "LATENT"],
        [9, 6, 0, 7, 0, "IMAGE"],
    ]
    return {"nodes": nodes, "links": links, "version": 0.4}
