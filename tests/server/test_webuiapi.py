"""The most used Python client of AUTOMATIC1111's API draws with the built-in model and sees no difference."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import webuiapi
from PIL import Image as Pillow
from PIL import ImageChops


@pytest.fixture
def api(builtin: Any) -> Any:
    return webuiapi.WebUIApi(baseurl=f"{builtin.url}/sdapi/v1", steps=4)


def changed(one: Pillow.Image, two: Pillow.Image) -> tuple[int, int, int, int] | None:
    """The box outside which both are the same."""
    return ImageChops.difference(one.convert("RGB"), two.convert("RGB")).getbbox()


def test_it_draws_from_texts_from_pictures_and_under_masks(api: Any) -> None:
    size: dict[str, Any] = {"width": 64, "height": 64, "seed": 5}
    drawn = api.txt2img(prompt="a red circle", negative_prompt="blue", batch_size=2, **size)
    assert [image.size for image in drawn.images] == [(64, 64)] * 2
    assert (drawn.info["all_seeds"], drawn.info["sd_model_name"]) == ([5, 6], "builtin")
    assert (drawn.parameters["sampler_name"], drawn.parameters["steps"]) == ("Euler a", 4)
    again = api.img2img(images=[drawn.image], prompt="a green square", denoising_strength=0.6, **size)
    assert (again.image.size, again.info["denoising_strength"]) == ((64, 64), 0.6)
    assert changed(drawn.image, again.image)
    mask = Pillow.new("L", (64, 64), "black")
    mask.paste("white", (0, 0, 32, 64))
    for invert, box in ((0, (0, 0, 32, 64)), (1, (32, 0, 64, 64))):
        repainted = api.img2img(
            images=[drawn.image], mask_image=mask, inpainting_mask_invert=invert, prompt="a green square", **size
        )
        assert changed(drawn.image, repainted.image) == box


def test_it_finds_models_samplers_and_settings(api: Any) -> None:
    assert api.util_get_model_names() == ["builtin"]
    assert {"Euler a", "DPM++ 2M", "DDIM"} <= {*api.util_get_sampler_names()}
    assert {"automatic", "karras"} <= {*api.util_get_scheduler_names()}
    api.util_set_model("Built-in")  # which waits until nothing is being loaded
    assert api.util_get_current_model() == "builtin"
    assert [one["name"] for one in api.get_upscalers()][:2] == ["None", "Lanczos"]
    assert api.get_latent_upscale_modes()[0] == {"name": "Latent"}
    empty = (api.get_loras, api.get_hypernetworks, api.get_face_restorers, api.get_prompt_styles, api.get_sd_vae)
    assert [ask() for ask in empty] == [[]] * 5
    assert api.get_scripts() == {"txt2img": [], "img2img": []}


def test_it_watches_its_job_and_interrupts_it(api: Any) -> None:
    assert api.get_progress()["current_image"] is None  # who has asked once is shown the pictures of its next job
    with ThreadPoolExecutor(1) as thread:
        drawing = thread.submit(api.txt2img, prompt="a red circle", steps=80, width=256, height=256)
        while not (seen := api.get_progress())["current_image"]:
            assert not drawing.done()
        assert 0 < seen["progress"] < 1
        assert seen["state"]["sampling_steps"] == 80
        assert seen["state"]["job_count"] == 1
        api.interrupt()
        stopped = drawing.result(timeout=60)
    assert stopped.info["interrupted"]
    assert len(stopped.images) == 1
    assert api.get_progress()["state"]["job_count"] == 0
    api.util_wait_for_ready()


def test_it_is_told_in_words_what_was_wrong(api: Any) -> None:
    with pytest.raises(RuntimeError, match=r"must be one of euler,.*Nope") as caught:
        api.txt2img(prompt="x", sampler_name="Nope")
    assert caught.value.args[0] == 422
    with pytest.raises(RuntimeError, match=r"The model `nope` does not exist\. Available: `builtin`"):
        api.txt2img(prompt="x", override_settings={"sd_model_checkpoint": "nope"})
