"""The main job: the unmodified OpenAI SDK gets a real picture from the real diffusion model of a fresh install."""

import base64
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import httpx
import openai
import pytest
from PIL import Image as Pillow
from PIL import ImageChops, ImageStat


def picture(b64: str) -> Pillow.Image:
    return Pillow.open(BytesIO(base64.b64decode(b64))).convert("RGB")


def draw(builtin: Any, prompt: str = "a red circle on a blue background", **extra: Any) -> Any:
    """A quick one: a quarter of the model's own pixels."""
    wanted = {"seed": 7, "steps": 4, "size": "128x128", **extra}
    return builtin.sdk.images.generate(model="builtin", prompt=prompt, extra_body=wanted)


@pytest.fixture(scope="module")
def plain(builtin: Any) -> str:
    """What `draw` draws by default."""
    return str(draw(builtin).data[0].b64_json)


def middle(drawn: Pillow.Image) -> tuple[int, ...]:
    return drawn.getpixel((drawn.width // 2, drawn.height // 2))


def difference(one: Pillow.Image, two: Pillow.Image) -> float:
    return max(ImageStat.Stat(ImageChops.difference(one, two)).mean)


def test_it_draws_what_it_is_told(builtin: Any) -> None:
    answer = builtin.sdk.images.generate(prompt="a red circle on a blue background", extra_body={"seed": 7})
    drawn = picture(answer.data[0].b64_json)
    assert drawn.size == (256, 256)
    red, green, blue = middle(drawn)
    assert red > 150
    assert max(green, blue) < 110
    corner = drawn.getpixel((12, 12))
    assert corner[2] > 150
    assert corner[0] < 110


def test_the_same_request_gives_the_same_bytes_and_n_gives_the_single_images(builtin: Any) -> None:
    batch = draw(builtin, n=3).data
    assert [item.seed for item in batch] == [7, 8, 9]
    singles = [draw(builtin, seed=seed).data[0].b64_json for seed in (7, 8, 9)]
    assert [item.b64_json for item in batch] == singles
    assert len(set(singles)) == 3


def test_every_parameter_is_honoured_or_listed_as_ignored(builtin: Any) -> None:
    answer = builtin.sdk.images.generate(
        model="builtin", prompt="a green square", n=1, size="192x128", quality="high", background="opaque",
        output_format="jpeg", output_compression=90, moderation="low", style="vivid", user="someone",
        extra_body={
            "negative_prompt": "red", "steps": 10, "cfg_scale": 2.5, "seed": 1, "sampler": "DPM++ 2M Karras",
            "clip_skip": 1, "guidance": 3, "hires": {"scale": 2},
        },
    )  # fmt: skip
    told = answer.model_extra["imagerouter"]
    assert told["applied"] | {
        "steps": 10, "cfg_scale": 2.5, "sampler": "dpmpp_2m", "scheduler": "karras", "width": 192, "height": 128,
    } == told["applied"]  # fmt: skip
    assert {"quality", "background", "style", "guidance", "hires"} <= set(told["ignored"])
    drawn = Pillow.open(BytesIO(base64.b64decode(answer.data[0].b64_json)))
    assert (drawn.format, drawn.size) == ("JPEG", (192, 128))


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 2},
        {"cfg_scale": 6},
        {"negative_prompt": "a blue background"},
        {"seed": 8},
        {"sampler": "euler_ancestral"},
    ],
    ids=str,
)
def test_each_parameter_changes_the_picture(builtin: Any, plain: str, change: dict[str, Any]) -> None:
    before = picture(plain)
    after = picture(draw(builtin, **change).data[0].b64_json)
    assert difference(before, after) > 0.3


@pytest.mark.parametrize("size", ["512x256", "200x300", "64x64"])
def test_other_sizes_and_aspect_ratios_come_back_exactly(builtin: Any, size: str) -> None:
    drawn = picture(draw(builtin, size=size, steps=8).data[0].b64_json)
    assert f"{drawn.width}x{drawn.height}" == size
    assert middle(drawn)[0] > middle(drawn)[2]


def test_strength_says_how_far_an_input_picture_may_change(builtin: Any) -> None:
    start = draw(builtin, steps=8).data[0].b64_json
    wish = "a red star on the left on a blue background"
    little, much = (
        picture(draw(builtin, wish, image=start, strength=s, steps=8).data[0].b64_json) for s in (0.2, 0.95)
    )
    assert difference(picture(start), little) < difference(picture(start), much)


def test_inpainting_changes_only_what_the_mask_says(builtin: Any) -> None:
    start = draw(builtin, steps=8).data[0].b64_json
    mask = Pillow.new("RGBA", (128, 128), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (64, 0, 128, 128))
    out = BytesIO()
    mask.save(out, "PNG")
    encoded = base64.b64encode(out.getvalue()).decode()
    answer = draw(builtin, "a yellow background", image=start, mask=encoded, strength=1.0, steps=12)
    after, before = picture(answer.data[0].b64_json), picture(start)
    assert difference(before.crop((0, 0, 56, 128)), after.crop((0, 0, 56, 128))) == 0
    assert difference(before.crop((72, 0, 128, 128)), after.crop((72, 0, 128, 128))) > 3


def test_a_stream_has_previews_and_ends_with_the_picture_itself(builtin: Any) -> None:
    events = list(
        builtin.sdk.images.generate(
            prompt="a red circle on a blue background", stream=True, partial_images=2,
            size="128x128", extra_body={"seed": 7, "steps": 6, "stream_progress": True},
        )
    )  # fmt: skip
    kinds = [event.type.rpartition(".")[2] for event in events]
    assert kinds.count("partial_image") == 2
    assert kinds[-1] == "completed"
    steps = [event.step for event in events if event.type.endswith("progress") and event.stage == "render"]
    assert steps[-1] == 6
    assert steps == sorted(steps)
    assert events[-1].b64_json == draw(builtin, steps=6).data[0].b64_json


def test_models_are_listed_with_what_they_can_do(builtin: Any) -> None:
    model = builtin.sdk.models.retrieve("builtin")
    assert {"generate", "edit", "inpaint"} == set(model.operations)
    assert {"steps", "cfg_scale", "negative_prompt", "seed", "sampler", "strength"} <= set(model.supported_parameters)
    assert "builtin" in [model.id for model in builtin.sdk.models.list()]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"steps": "many"}, "steps"),
        ({"steps": 10_000}, "steps"),
        ({"size": "90000x90000"}, "size"),
        ({"sampler": "eulerish"}, "sampler"),
        ({"scheduler": "karass"}, "scheduler"),
        ({"model": "buildin"}, "model"),
        ({"loras": [{"name": "none-such"}]}, "loras"),
        ({"n": 500}, "n"),
    ],
)
def test_bad_input_is_a_clear_4xx(builtin: Any, body: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        draw(builtin, **body)
    assert caught.value.status_code in (400, 404)
    assert (caught.value.param or "").startswith(param)
    assert "/" not in caught.value.message.replace("/v1/models", "")


def test_a_prompt_in_any_language_or_length_draws_something(builtin: Any) -> None:
    for prompt in ("красный круг на синем фоне 🔴", "red " * 3000, "(((a red circle:1.3))) [x] \\(y\\)", "\n\t"):
        assert draw(builtin, prompt, steps=2).data[0].b64_json


def test_words_that_it_does_not_know_are_told_in_the_reply(builtin: Any) -> None:
    answer = draw(builtin, "a scarlet sphere on a zebra", steps=2)
    read, lost = answer.model_extra["imagerouter"]["notes"]
    assert read.startswith("read ")
    assert "`sphere` as `circle`" in read
    assert lost == "left out words that this model doesn't know: `zebra`"
    assert draw(builtin, steps=2).model_extra["imagerouter"]["notes"] == []


def test_curl_works_as_in_the_readme(builtin: Any) -> None:
    body = json.dumps({"prompt": "a yellow star on a black background", "seed": 3, "steps": 4})
    command = [
        "curl",
        "-sS",
        f"{builtin.url}/v1/images/generations",
        "-H",
        "content-type: application/json",
        "-d",
        body,
    ]
    answer = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert picture(answer["data"][0]["b64_json"]).size == (256, 256)


def test_requests_at_once_all_get_their_own_picture(builtin: Any) -> None:
    alone = {seed: draw(builtin, seed=seed, steps=4).data[0].b64_json for seed in range(2)}
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda seed: draw(builtin, seed=seed % 2, steps=4).data[0].b64_json, range(6)))
    assert together == [alone[seed % 2] for seed in range(6)]


def test_hanging_up_stops_the_work_within_a_step(builtin: Any) -> None:
    with pytest.raises(httpx.TimeoutException):
        httpx.post(f"{builtin.url}/v1/images/generations", json={"prompt": "x", "steps": 150, "n": 10}, timeout=1)
    assert draw(builtin, steps=2).data[0].b64_json
