"""imagerouter in front of a real server of AUTOMATIC1111's family: what is drawn."""

import base64
import itertools
from io import BytesIO
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw, ImageStat

from imagerouter import Image
from imagerouter.testing import decode

pytestmark = pytest.mark.live


async def test_every_checkpoint_is_a_model(webui):
    files = {title.partition(" [")[0] for title in await webui.listed("sd-models", key="title")}
    targets = {target["model"] for model in (await webui.offered()).values() for target in model["targets"]}
    assert files == targets


async def test_text_to_image_through_the_openai_sdk(webui):
    answer = await webui.sdk.images.generate(
        model=webui.model, prompt="a red fox", size="64x64", extra_body={"seed": 4711, "steps": 2}
    )
    picture = decoded(base64.b64decode(answer.data[0].b64_json))
    assert picture.size == (64, 64)
    assert len(picture.convert("RGB").getcolors(4096) or []) > 1


async def test_one_step_draws_a_picture(webui):
    assert picture_of(await webui.draw(steps=1)).convert("RGB").getcolors(1) is None


async def test_each_of_three_images_is_the_one_that_its_seed_gives_alone(webui):
    together = await webui.pictures(n=3)
    alone = [(await webui.pictures(seed=4711 + index))[0] for index in range(3)]
    assert [decoded(file).tobytes() for file in together] == [decoded(file).tobytes() for file in alone]
    assert len(set(together)) == 3


async def test_seeds_count_on_from_zero_at_the_end_of_32_bits(webui):
    answer = await webui.draw(seed=2**32 - 1, n=2)
    assert [item["seed"] for item in answer["data"]] == [2**32 - 1, 0]
    assert answer["data"][1]["b64_json"] == (await webui.draw(seed=0))["data"][0]["b64_json"]


@pytest.mark.parametrize(
    "parameter", ["steps", "cfg_scale", "sampler", "scheduler", "negative_prompt", "clip_skip", "seed"]
)
async def test_a_parameter_changes_the_picture_and_is_told(webui, parameter):
    await webui.needs(parameter)
    plain = await webui.draw(steps=4)
    value = await another(webui, parameter, plain["imagerouter"]["applied"])
    changed = await webui.draw(**{"steps": 4, parameter: value})
    assert changed["imagerouter"]["applied"][parameter] == value
    assert not changed["imagerouter"]["ignored"]
    assert changed["data"][0]["b64_json"] != plain["data"][0]["b64_json"]


@pytest.mark.parametrize("size", ["64x64", "128x64", "100x68", "72x136"])
async def test_the_asked_size_is_what_comes_back(webui, size):
    (picture,) = await webui.pictures(size=size)
    assert "x".join(map(str, decoded(picture).size)) == size


async def test_image_to_image_keeps_more_of_its_source_the_less_strength_there_is(webui):
    sources = [data_url(Pillow.new("RGB", (64, 64), colour)) for colour in ("navy", "gold")]

    async def distance(strength: float) -> float:
        drawn = [await webui.pictures(images=[source], strength=strength, steps=6) for source in sources]
        one, other = (decoded(files[0]).convert("RGB") for files in drawn)
        return sum(ImageStat.Stat(ImageChops.difference(one, other)).mean)

    assert await distance(0.2) > await distance(0.9)


@pytest.mark.parametrize("polarity", ["transparent", "white"])
@pytest.mark.parametrize("size", ["64x64", "100x68"])
async def test_inpainting_leaves_every_pixel_outside_the_mask_as_it_was(webui, polarity, size):
    width, height = map(int, size.split("x"))
    left, right = (0, 0, width // 2, height), (width // 2, 0, width, height)
    source = Pillow.new("RGB", (width, height), "navy")
    ImageDraw.Draw(source).line((0, 0, width - 1, height - 1), fill="gold", width=3)
    mask = Pillow.new("RGBA", source.size, "black") if polarity == "transparent" else Pillow.new("L", source.size, 0)
    mask.paste((0, 0, 0, 0) if polarity == "transparent" else 255, left)
    (file,) = await webui.pictures(images=[data_url(source)], mask=data_url(mask), size=None)
    drawn = decoded(file).convert("RGB")
    assert drawn.size == source.size
    assert drawn.crop(right).tobytes() == source.crop(right).tobytes()
    assert drawn.crop(left).tobytes() != source.crop(left).tobytes()


async def test_a_lora_changes_the_picture(webui):
    await webui.needs("loras")
    name = (await webui.listed("loras"))[0]
    plain, changed = await webui.draw(), await webui.draw(loras=[{"name": name, "weight": 1.0}])
    assert changed["data"][0]["b64_json"] != plain["data"][0]["b64_json"]
    assert changed["imagerouter"]["applied"]["loras"][0]["weight"] == 1.0
    assert is_alike(picture_of(await webui.draw()), picture_of(plain))


async def test_a_lora_that_is_not_there_is_told_by_its_name(webui):
    await webui.needs("loras")
    answer = await webui.ask(loras=[{"name": "no-such-lora"}])
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "loras[0].name"
    assert "no-such-lora" in answer.json()["error"]["message"]


@pytest.mark.parametrize("parameter", ["prompt", "negative_prompt"])
async def test_a_tag_in_a_prompt_is_refused(webui, parameter):
    answer = await webui.ask(**{parameter: "a fox <lora:anything:1>"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == parameter


async def test_a_vae_changes_the_picture_and_stays_for_no_other(webui):
    await webui.needs("vae")
    name = (await webui.listed("sd-vae", "sd-modules", key="model_name"))[0]
    plain = await webui.pictures()
    assert await webui.pictures(vae=name) != plain
    assert await webui.pictures() == plain


async def test_a_second_pass_enlarges_the_picture(webui):
    await webui.needs("hires")
    answer = await webui.draw(hires={"scale": 2, "steps": 1, "strength": 0.5})
    assert picture_of(answer).size == (128, 128)
    assert answer["imagerouter"]["applied"]["hires"]["scale"] == 2


async def test_an_unknown_checkpoint_is_told_before_anything_is_sent(webui):
    await webui.until_idle()
    before = await webui.progress()
    answer = await webui.ask(model="no-such-checkpoint")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert await webui.progress() == before


async def test_another_checkpoint_is_really_another(webui):
    offered = await webui.offered()
    if len(offered) < 2:
        pytest.skip("the server has one checkpoint")
    drawn = {}
    for name in (*offered, *offered):
        picture = picture_of(await webui.draw(model=name))
        assert is_alike(drawn.setdefault(name, picture), picture)
        assert await webui.loaded() == offered[name]["targets"][0]["model"]
    assert not any(is_alike(one, other) for one, other in itertools.combinations(drawn.values(), 2))


async def test_previews_are_streamed_and_are_pictures(webui):
    await webui.needs("partial_images")
    stream = await webui.sdk.images.generate(
        model=webui.model,
        prompt="a red fox",
        size="128x128",
        stream=True,
        partial_images=2,
        extra_body={"steps": 100, "seed": 9},
    )
    events = [event async for event in stream]
    assert [event.type.rpartition(".")[2] for event in events][-1] == "completed"
    assert 1 <= len(events) - 1 <= 2
    assert all(decoded(base64.b64decode(event.b64_json)).width > 0 for event in events)


async def test_what_the_server_refuses_is_told_in_the_clients_words(webui):
    answer = await webui.ask(sampler="no_such_sampler")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "sampler"
    if not await webui.scripts():
        return
    answer = await webui.ask(**options(styles=5))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "provider.options.styles"


async def test_a_script_that_is_not_there_is_refused_and_one_that_is_passes(webui):
    there = await webui.scripts()
    if not there:
        pytest.skip("the server has no scripts")
    answer = await webui.ask(**options(alwayson_scripts={"No Such Script": {"args": []}}))
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "provider.options.alwayson_scripts"
    assert there[0] in answer.json()["error"]["message"]
    answer = await webui.ask(**options(alwayson_scripts={there[0]: {"args": []}}))
    assert answer.status_code == 200, answer.text[:500]


async def test_pictures_tell_nobody_their_prompt(webui):
    (file,) = await webui.pictures(prompt="an unlikely ocelot")
    assert not told(file)


async def test_pictures_keep_their_prompt_where_they_shall(serve_webui):
    async with serve_webui(keys="keep_metadata: true") as webui:
        (file,) = await webui.pictures(prompt="an unlikely ocelot")
        assert told(file)


def told(file: bytes) -> bool:
    """Whether the prompt is in it: in a PNG as it is, in the EXIF of other files in UTF-16."""
    return any("unlikely ocelot".encode(encoding) in file for encoding in ("ascii", "utf-16-be", "utf-16-le"))


def picture_of(answer: dict[str, Any]) -> Pillow.Image:
    return decoded(base64.b64decode(answer["data"][0]["b64_json"]))


def is_alike(one: Pillow.Image, other: Pillow.Image) -> bool:
    """Not to the last bit: a server that takes a LoRA out of its weights again does so with rounding errors."""
    return all(most <= 2 for _, most in ImageChops.difference(one.convert("RGB"), other.convert("RGB")).getextrema())


def decoded(file: bytes) -> Pillow.Image:
    return decode(Image(data=file))


def data_url(picture: Pillow.Image) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def options(**fields: Any) -> dict[str, Any]:
    return {"provider": {"options": {"desk": fields}}}


async def another(webui, parameter: str, applied: dict[str, Any]) -> Any:
    """A valid value that isn't the one in use."""
    if parameter in ("sampler", "scheduler"):
        values = (await webui.offered())[webui.model]["supported_parameters"][parameter]["values"]
        preferred = ["euler_ancestral", "heun", "exponential", "karras", *values]
        return next(one for one in preferred if one in values and one != applied.get(parameter))
    return {"steps": 5, "cfg_scale": 2, "negative_prompt": "fog", "clip_skip": 2, "seed": 4712}[parameter]
