import asyncio
import subprocess
import sys

import pytest
from pydantic import ValidationError

from imagerouter import ImageRequest, errors
from imagerouter.testing import FakeConfig, FakeProvider, decode, make_image


def request(**fields):
    return ImageRequest(**({"model": "fake", "prompt": "a lighthouse", "seed": 7} | fields))


def ignore(progress):
    pass


def jobs(provider, count):
    return [asyncio.create_task(provider.generate(request(seed=seed), ignore)) for seed in range(count)]


async def test_gated_jobs_wait_and_are_released_in_order():
    provider = FakeProvider("desk", FakeConfig(gated=True))
    running = jobs(provider, 3)
    assert [held.seed for held in await provider.held(3)] == [0, 1, 2]
    assert provider.outcomes == ["held", "held", "held"]
    assert (await provider.status()).running == 3
    provider.release(1)
    await running[0]
    assert provider.outcomes == ["done", "held", "held"]
    provider.release()
    await asyncio.gather(*running)
    assert provider.most_running == 3
    assert provider.running == 0


async def test_a_gated_job_has_reported_its_first_step():
    provider = FakeProvider("desk", FakeConfig(gated=True, steps=9))
    reported = []
    job = asyncio.create_task(provider.generate(request(), reported.append))
    await provider.held()
    assert [(progress.stage, progress.step) for progress in reported] == [("load", 0), ("render", 1)]
    provider.release()
    await job
    assert (reported[-1].step, reported[-1].steps) == (9, 9)


async def test_a_cancelled_job_is_remembered_and_lets_the_others_go_on():
    provider = FakeProvider("desk", FakeConfig(gated=True))
    first, second = jobs(provider, 2)
    await provider.held(2)
    first.cancel()
    await provider.until(lambda: bool(provider.cancelled))
    provider.release()
    await second
    assert [cancelled.seed for cancelled in provider.cancelled] == [0]
    assert provider.outcomes == ["cancelled", "done"]


async def test_it_fails_as_configured_and_then_works():
    provider = FakeProvider("desk", FakeConfig(fail="OutOfMemoryError", fail_times=2))
    for _ in range(2):
        with pytest.raises(errors.OutOfMemoryError, match="'desk'"):
            await provider.generate(request(), ignore)
    await provider.generate(request(), ignore)
    assert provider.outcomes == ["failed", "failed", "done"]


async def test_a_test_may_make_it_fail_at_any_time_and_with_anything():
    provider = FakeProvider()
    provider.fail_with(errors.ProviderBusyError("busy", retry_after=9), times=1)
    with pytest.raises(errors.ProviderBusyError) as raised:
        await provider.generate(request(), ignore)
    assert raised.value.retry_after == 9
    provider.fail_with(KeyError("defect"), on="models")
    with pytest.raises(KeyError):
        await provider.models()
    provider.down = "unplugged"
    with pytest.raises(errors.ProviderUnavailableError, match="unplugged"):
        await provider.status()


@pytest.mark.parametrize("wrong", [{"fail": "NoSuchError"}, {"fail": "ConfigError"}, {"parameters": ["loras"]}])
def test_a_configuration_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        FakeConfig(**wrong)


async def test_models_are_loaded_when_needed_and_the_oldest_makes_room():
    provider = FakeProvider("desk", FakeConfig(models=("a", "b", "c"), memory=2))
    for model in "abacb":
        await provider.generate(request(model=model), ignore)
    assert provider.loads == ["a", "b", "c", "b"]
    assert (await provider.status()).resident == {"c", "b"}


async def test_base64_is_delivered_as_base64():
    provider = FakeProvider("desk", FakeConfig(delivers="base64"))
    images = await provider.generate(request(), ignore)
    assert images.images[0].is_encoded


async def test_previews_come_only_when_asked_for():
    provider = FakeProvider()
    previews = {}
    for wanted in (0, 2):
        reported = []
        await provider.generate(request(partial_images=wanted), reported.append)
        previews[wanted] = [progress.preview for progress in reported if progress.preview]
    assert previews[0] == []
    assert [decode(preview).size for preview in previews[2]] == [(16, 16)] * 3


async def test_images_drawn_one_by_one_say_which_one_they_are_about():
    reported = []
    await FakeProvider("desk", FakeConfig(batched=False, steps=2)).generate(request(n=2), reported.append)
    steps = [(progress.image_index, progress.step) for progress in reported if progress.steps]
    assert steps == [(0, 1), (0, 2), (1, 1), (1, 2)]


@pytest.mark.parametrize("change", [{"steps": 9}, {"cfg_scale": 2.0}, {"negative_prompt": "fog"}, {"strength": 0.1}])
async def test_every_parameter_that_it_honours_changes_the_picture(change):
    plain, changed = [await FakeProvider().generate(request(**fields), ignore) for fields in ({}, change)]
    assert plain.images[0].data != changed.images[0].data
    assert changed.applied.items() >= change.items()


async def test_a_parameter_that_it_does_not_honour_changes_nothing():
    provider = FakeProvider("desk", FakeConfig(parameters=["seed"]))
    plain, changed = [await provider.generate(request(**fields), ignore) for fields in ({}, {"steps": 9})]
    assert plain.images[0].data == changed.images[0].data
    assert changed.ignored == {"steps"}


def test_pictures_for_tests_have_the_colour_and_the_format_that_were_asked_for():
    assert decode(make_image(8, 4, (9, 9, 9))).getpixel((7, 3)) == (9, 9, 9)
    assert decode(make_image(8, 4, (9, 9, 9, 0))).mode == "RGBA"
    assert make_image(file_format="jpeg").media_type == "image/jpeg"


def test_a_file_that_is_cut_short_or_mislabelled_does_not_pass_for_a_picture():
    image = make_image(colour="navy")
    image.media_type = "image/webp"
    with pytest.raises(AssertionError, match="image/png"):
        decode(image)
    with pytest.raises(OSError, match="truncated"):
        decode(type(image)(data=image.data[:60], media_type="image/png"))


def test_the_fake_needs_no_pytest():
    program = "import sys; sys.modules['pytest'] = None; import imagerouter.testing as it; it.FakeProvider()"
    subprocess.run([sys.executable, "-c", program], check=True)
