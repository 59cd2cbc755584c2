"""Pictures that go to a real server, and the graphs that use them."""

import base64

import pytest
from tests.providers.comfyui.replay import Recorded, Sink, desk, easel, nodes_of, recorded_graphs, request, submitted
from tests.providers.comfyui.tapes import comfy_tape

from imagerouter import Hires, Lora
from imagerouter.testing.drawing import make_image

pytestmark = pytest.mark.usefixtures("impatient")

PICTURE = make_image(64, 64, "teal")
MASK = make_image(64, 64, "white")


def uploads(tape):
    """Bodies of the pictures that were sent."""
    return [one.body for one in tape.requests if (one.method, one.path) == ("POST", "/upload/image")]


def stored(subfolder="imagerouter", kind="temp"):
    """The server's answer to an upload, as it is recorded: under the name that was sent."""

    def answer(asked):
        name = asked.body.split(b'filename="')[1].split(b'"')[0].decode()
        return {"name": name, "subfolder": subfolder, "type": kind}

    return {("POST", "/upload/image"): answer}


@pytest.mark.parametrize(
    ("tape_name", "section"),
    [("uploads_and_edits", "img2img denoise 0.6"), ("masks_and_controls", "img2img from temp")],
)
async def test_a_picture_is_uploaded_once_and_drawn_over(tape_name, section):
    async with comfy_tape(tape_name, section=section, answers=stored()) as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(images=(PICTURE,), strength=0.6), sink)
        assert len(drawn.images) == 1
        assert len(uploads(tape)) == 1
        (graph,) = [body["prompt"] for body in submitted(tape)]
        (source,) = nodes_of(graph, "LoadImage")
        assert source["image"].startswith("imagerouter/")
        assert source["image"].endswith(".png [temp]")
        assert nodes_of(graph, "KSampler")[0]["denoise"] == 0.6
        assert sink.counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert tape.unanswered == []


async def test_a_picture_that_the_server_stores_elsewhere_is_taken_from_there():
    elsewhere = stored(subfolder="", kind="input")
    tape = comfy_tape("uploads_and_edits", section="img2img denoise 0.6", answers=elsewhere)
    async with tape, desk(tape) as provider:
        await provider.generate(request(images=(PICTURE,)), Sink())
        (source,) = nodes_of(submitted(tape)[0]["prompt"], "LoadImage")
        assert "/" not in source["image"]
        assert source["image"].endswith(".png [input]")
        assert tape.unanswered == []


@pytest.mark.parametrize(
    ("tape_name", "section"),
    [
        ("uploads_and_edits", "inpaint: LoadImageMask + SetLatentNoiseMask"),
        ("masks_and_controls", "inpaint: LoadImage alpha"),
        ("masks_and_controls", "inpaint: 9-channel"),
    ],
)
async def test_a_mask_goes_along_with_its_picture(tape_name, section):
    model = "tiny_inpaint.ckpt" if "9-channel" in section else "tiny_a.ckpt"
    async with comfy_tape(tape_name, section=section, answers=stored()) as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(model=model, images=(PICTURE,), mask=MASK), sink)
        assert len(drawn.images) == 1
        assert len(uploads(tape)) == 2
        graph = submitted(tape)[0]["prompt"]
        conditioned = nodes_of(graph, "InpaintModelConditioning")
        masked = nodes_of(graph, "SetLatentNoiseMask")
        assert bool(conditioned) is (model == "tiny_inpaint.ckpt")
        assert conditioned or masked
        assert sink.counted[-1] == (4, 4)
        assert tape.unanswered == []


async def test_a_lora_is_applied_and_its_loading_is_told():
    async with comfy_tape("uploads_and_edits", section="LoRA") as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(loras=(Lora("tiny_lora", 0.8),)), sink)
        (node,) = nodes_of(submitted(tape)[0]["prompt"], "LoraLoader")
        assert (node["lora_name"], node["strength_model"]) == ("tiny_lora.safetensors", 0.8)
        assert drawn.load_seconds > 0
        assert "loras" not in drawn.ignored
        assert sink.stages == ["load", "render"]
        assert tape.unanswered == []


async def test_a_controlnet_gets_the_picture_of_its_own():
    answers = stored() | {("GET", "/models/controlnet"): ["tiny_cn.safetensors"]}
    async with comfy_tape("masks_and_controls", section="ControlNet", answers=answers) as tape, desk(tape) as provider:
        control = {"name": "tiny_cn", "image": base64.b64encode(PICTURE.data).decode(), "strength": 0.5}
        drawn = await provider.generate(request(options={"controlnet": [control]}), Sink())
        graph = submitted(tape)[0]["prompt"]
        assert nodes_of(graph, "ControlNetLoader")[0]["control_net_name"] == "tiny_cn.safetensors"
        assert nodes_of(graph, "ControlNetApplyAdvanced")[0]["strength"] == 0.5
        assert nodes_of(graph, "LoadImage")[0]["image"].endswith("[temp]")
        assert (len(uploads(tape)), len(drawn.images)) == (1, 1)
        assert tape.unanswered == []


async def test_both_passes_of_a_larger_picture_count_as_one_run():
    async with comfy_tape("masks_and_controls", section="hires fix") as tape, desk(tape) as provider:
        sink = Sink()
        drawn = await provider.generate(request(steps=4, hires=Hires(scale=2.0)), sink)
        graph = submitted(tape)[0]["prompt"]
        assert len(nodes_of(graph, "KSampler")) == 2
        assert nodes_of(graph, "LatentUpscale")
        shares = [seen.fraction for seen in sink if seen.steps]
        assert shares == sorted(shares)
        assert shares[-1] == 1.0
        assert len(drawn.images) == 1
        assert tape.unanswered == []


async def test_a_vae_of_its_own_is_loaded():
    answers = {("GET", "/models/vae"): ["tiny_vae.safetensors"]}
    async with (
        comfy_tape("masks_and_controls", section="external VAE", answers=answers) as tape,
        desk(tape) as provider,
    ):
        drawn = await provider.generate(request(vae="tiny_vae"), Sink())
        assert nodes_of(submitted(tape)[0]["prompt"], "VAELoader")[0]["vae_name"] == "tiny_vae.safetensors"
        assert "vae" not in drawn.ignored
        assert tape.unanswered == []


async def test_a_tall_picture_is_drawn_at_its_own_size():
    async with comfy_tape("masks_and_controls", section="64x256") as tape, desk(tape) as provider:
        await provider.generate(request(width=64, height=256), Sink())
        (start,) = nodes_of(submitted(tape)[0]["prompt"], "EmptyLatentImage")
        assert (start["width"], start["height"]) == (64, 256)
        assert tape.unanswered == []


async def test_a_sampler_in_parts_tells_its_steps_as_well():
    graph = recorded_graphs("uploads_and_edits")[-1]
    async with comfy_tape("uploads_and_edits", section="flux-shaped") as tape, easel(tape) as drawing:
        sink = Sink()
        drawn = await drawing.draw(request(), Recorded(graph), sink)
        assert len(drawn.images) == 1
        assert sink.counted == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert tape.unanswered == []
