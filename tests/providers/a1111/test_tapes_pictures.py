"""Pictures that real servers drew: what was asked of them, and how they come back."""

import base64

import pytest
from tests.providers.a1111.replay import Sink, desk, drawn_with, jobs, recorded, request
from tests.providers.a1111.tapes import family_tape, lines

from imagerouter import Hires, ProviderRejectedError
from imagerouter.images import dimensions
from imagerouter.metadata import has_texts, stripped
from imagerouter.testing import make_image

PICTURE = make_image(64, 64, "teal")
MASK = make_image(64, 64, "white")
SDNEXT = "Diffusers/tiny/sdA"

DRAWN = [
    ("a1111/txt2img", "two at once, with a task id", 2),
    ("a1111/txt2img", "two at once, random seed", 2),
    ("a1111/txt2img", "two times two", 4),
    ("a1111/txt2img", "three after another", 3),
    ("a1111/txt2img", "seed of 2**40", 1),
    ("a1111/txt2img", "empty prompt", 1),
    ("a1111/txt2img", "after an interrupt while idle", 1),
    ("a1111_auth/restore", "none after that", 1),
    ("sdnext/txt2img", "twice the same", 1),
    ("sdnext/txt2img", "once more", 1),
    ("sdnext/txt2img", "plain", 1),
    ("sdnext/txt2img", "two times two", 4),
    ("sdnext/txt2img", "two at once, random seed", 2),
    ("sdnext/txt2img", "webp, kept", 1),
]
"""Tape, section, and how many pictures there are."""


def files(images):
    return [image.data for image in images.images]


@pytest.mark.parametrize(("name", "section", "n"), DRAWN)
@pytest.mark.parametrize("batch_size", [1, 2])
async def test_pictures_come_in_their_order_and_without_their_texts(name, section, n, batch_size):
    async with family_tape(name, section=section) as tape, desk(tape, batch_size=batch_size) as provider:
        drawn = await provider.generate(request(model=drawn_with(name, section), n=n), Sink())
        whole = [base64.b64decode(picture) for picture in recorded(name, section)]
        assert files(drawn) == [stripped(file) for file in whole]
        assert len(set(files(drawn))) == n
        assert not any(has_texts(image) for image in drawn.images)
        (body,) = jobs(tape)
        assert (body["seed"], body["batch_size"] * body["n_iter"]) == (42, n)
        assert body["batch_size"] == (1 if n % batch_size else batch_size)
        assert tape.unanswered == []


@pytest.mark.parametrize(("name", "section", "n"), DRAWN)
async def test_where_texts_are_kept_nothing_is_decoded(name, section, n):
    async with family_tape(name, section=section) as tape, desk(tape, keep_metadata=True) as provider:
        drawn = await provider.generate(request(model=drawn_with(name, section), n=n), Sink())
        assert all(image.is_encoded for image in drawn.images)
        assert [image.b64.decode() for image in drawn.images] == recorded(name, section)
        assert all(has_texts(image) for image in drawn.images)
        assert "enable_pnginfo" not in jobs(tape)[0].get("override_settings", {})
        assert tape.unanswered == []


async def test_a_server_that_writes_no_texts_is_passed_on_undecoded():
    async with family_tape("a1111/formats", section="without texts") as tape, desk(tape) as provider:
        drawn = await provider.generate(request(model="tinyB.safetensors"), Sink())
        assert [image.b64.decode() for image in drawn.images] == recorded("a1111/formats", "without texts")
        assert drawn.images[0].is_encoded
        assert jobs(tape)[0]["override_settings"]["enable_pnginfo"] is False
        assert tape.unanswered == []


async def test_the_grid_of_an_owner_who_saves_everything_is_skipped():
    section = "two times two, saved, with a grid"
    async with family_tape("a1111/txt2img", section=section) as tape, desk(tape, keep_metadata=True) as provider:
        drawn = await provider.generate(request(model="tinyB.safetensors", n=4), Sink())
        pictures = recorded("a1111/txt2img", section)
        assert len(pictures) == 5
        assert [image.b64.decode() for image in drawn.images] == pictures[1:]
        assert [dimensions(image) for image in drawn.images] == [(64, 64)] * 4
        assert jobs(tape)[0]["save_images"] is False
        assert tape.unanswered == []


@pytest.mark.parametrize(
    ("section", "kind"),
    [("png", "png"), ("jpg, given back", "jpeg"), ("jpg, kept", "jpeg"), ("webp, set before", "webp")],
)
async def test_the_format_is_told_from_the_picture_whatever_was_set(section, kind):
    async with family_tape("a1111/formats", section=section) as tape, desk(tape) as provider:
        drawn = await provider.generate(request(model=drawn_with("a1111/formats", section)), Sink())
        assert drawn.images[0].media_type == f"image/{kind}"
        assert not has_texts(drawn.images[0])
        assert "samples_format" not in jobs(tape)[0]["override_settings"]
        assert tape.unanswered == []


async def test_jobs_on_the_same_server_are_drawn_in_turn():
    async with family_tape("a1111/formats", section="formats in a row") as tape, desk(tape) as provider:
        kinds = [(await provider.generate(request(), Sink())).images[0].media_type for _ in range(5)]
        assert kinds == ["image/png"] * 4 + ["image/webp"]
        assert len({body["force_task_id"] for body in jobs(tape)}) == 5
        assert tape.unanswered == []


class TestSizes:
    """AUTOMATIC1111 and SD.Next round sides down, and the first of them doesn't even say so."""

    @pytest.mark.parametrize(
        ("name", "section", "size"),
        [
            ("a1111/txt2img", "width 65", (65, 64)),
            ("a1111/txt2img", "width 65 again", (65, 64)),
            ("a1111/txt2img", "100x70", (100, 70)),
            ("sdnext/txt2img", "width 65", (65, 64)),
        ],
    )
    async def test_a_side_that_cannot_be_drawn_is_drawn_larger_and_cut(self, name, section, size):
        async with family_tape(name, section=section) as tape, desk(tape) as provider:
            drawn = await provider.generate(
                request(model=drawn_with(name, section), width=size[0], height=size[1]), Sink()
            )
            (body,) = jobs(tape)
            assert body["width"] >= size[0]
            assert body["height"] >= size[1]
            assert body["width"] % 8 == body["height"] % 8 == 0
            assert [dimensions(image) for image in drawn.images] == [size]
            assert (drawn.applied["width"], drawn.applied["height"]) == size
            assert tape.unanswered == []

    @pytest.mark.parametrize("section", ["second pass", "second pass without its steps"])
    async def test_a_second_pass_is_larger_than_info_says(self, section):
        async with family_tape("a1111/txt2img", section=section) as tape, desk(tape) as provider:
            drawn = await provider.generate(
                request(model=drawn_with("a1111/txt2img", section), hires=Hires(scale=2, strength=0.5)), Sink()
            )
            assert [dimensions(image) for image in drawn.images] == [(128, 128)]
            (body,) = jobs(tape)
            (line,) = lines("a1111/txt2img", section)
            same = ("enable_hr", "denoising_strength", "hr_upscaler", "width", "height")
            assert {name: body[name] for name in same} == {name: line["request"][name] for name in same}
            assert (body["hr_resize_x"], body["hr_resize_y"], body["hr_second_pass_steps"]) == (128, 128, 2)
            assert tape.unanswered == []


class TestOverPictures:
    @pytest.mark.parametrize("section", ["over a picture", "over two pictures"])
    async def test_a_picture_goes_along_as_it_is(self, section):
        async with family_tape("a1111/img2img", section=section) as tape, desk(tape) as provider:
            drawn = await provider.generate(request(model="tinyB.safetensors", images=(PICTURE,), strength=0.6), Sink())
            (body,) = jobs(tape)
            assert body["init_images"] == [PICTURE.b64.decode()]
            assert body["denoising_strength"] == 0.6
            assert body["include_init_images"] is False
            assert "mask" not in body
            pictures = recorded("a1111/img2img", section)
            assert files(drawn) == [stripped(base64.b64decode(pictures[0]))]
            assert tape.unanswered == []

    async def test_a_mask_goes_along_in_the_servers_own_fields(self):
        async with family_tape("a1111/img2img", section="with a mask") as tape, desk(tape) as provider:
            drawn = await provider.generate(request(model="tinyB.safetensors", images=(PICTURE,), mask=MASK), Sink())
            (body,) = jobs(tape)
            (line,) = lines("a1111/img2img", "with a mask")
            assert {"init_images", "mask", "denoising_strength"} <= body.keys() & line["request"].keys()
            assert body["inpainting_mask_invert"] == 0
            assert body["denoising_strength"] == 1.0
            assert [dimensions(image) for image in drawn.images] == [(64, 64)]
            assert tape.unanswered == []

    async def test_a_second_picture_is_refused_before_the_server_mixes_them(self):
        async with family_tape("a1111/img2img", section="over two pictures") as tape, desk(tape) as provider:
            with pytest.raises(ProviderRejectedError) as raised:
                await provider.generate(request(images=(PICTURE, PICTURE)), Sink())
            assert raised.value.param == "images[1]"
            assert jobs(tape) == []


class TestWhatIsSent:
    """Servers ignore fields that they don't know, and draw with what wasn't meant."""

    @pytest.mark.parametrize(
        ("name", "model"),
        [
            ("a1111/txt2img", "tinyA.safetensors"),
            ("a1111_auth/restore", "tinyB.safetensors"),
            ("sdnext/txt2img", SDNEXT),
        ],
    )
    async def test_every_field_is_one_that_the_server_has(self, name, model):
        server = name.partition("/")[0]
        described = next(
            line["response"]
            for line in lines("a1111_auth/auth" if server == "a1111_auth" else f"{server}/discovery")
            if line.get("path") == "/openapi.json"
        )
        known = {field for schema in described["components"]["schemas"].values() for field in schema["properties"]}
        async with family_tape(name, section=0) as tape, desk(tape) as provider:
            whole = {"negative_prompt": "a dog", "cfg_scale": 5, "sampler": "euler_a", "clip_skip": 2}
            await provider.generate(request(model=model, n=1, hires=Hires(scale=2), **whole), Sink())
            (body,) = jobs(tape)
            assert body.keys() <= known
            assert (body["sampler_name"], body["cfg_scale"], body["negative_prompt"]) == ("Euler a", 5, "a dog")
            assert tape.unanswered == []

    @pytest.mark.parametrize("section", ["no sampler", "scheduler as a field"])
    async def test_nothing_is_left_to_a_default(self, section):
        """Of 1.7 those are 50 steps and Euler; and it has no field for a scheduler, which it doesn't say."""
        async with family_tape("a1111/txt2img", section=section) as tape, desk(tape) as provider:
            drawn = await provider.generate(request(steps=None, sampler="dpmpp_2m", scheduler="karras"), Sink())
            (body,) = jobs(tape)
            assert {
                "steps",
                "cfg_scale",
                "width",
                "height",
                "sampler_name",
                "seed",
                "batch_size",
                "n_iter",
            } <= body.keys()
            assert body["sampler_name"] == "DPM++ 2M Karras"
            assert "scheduler" not in body
            assert (drawn.applied["sampler"], drawn.applied["scheduler"]) == ("dpmpp_2m", "karras")

    @pytest.mark.parametrize(
        ("name", "section", "model"),
        [("a1111/formats", "formats in a row", "tinyA.safetensors"), ("sdnext/txt2img", "twice the same", SDNEXT)],
    )
    async def test_seeds_begin_again_behind_the_last_one(self, name, section, model):
        """The servers would count on beyond 32 bits, and take a seed of 2**40 as well."""
        async with family_tape(name, section=section) as tape, desk(tape) as provider:
            drawn = await provider.generate(request(model=model, seed=2**32 - 1, n=2), Sink())
            assert [(body["seed"], body["n_iter"]) for body in jobs(tape)] == [(2**32 - 1, 1), (0, 1)]
            assert len(drawn.images) == 2
            assert tape.unanswered == []

    async def test_a_lora_that_is_not_there_is_never_left_out_in_silence(self):
        async with family_tape("a1111/txt2img", section="a LoRA that is not there") as tape, desk(tape) as provider:
            with pytest.raises(ProviderRejectedError) as raised:
                await provider.generate(request(prompt="a cat <lora:nope:1>"), Sink())
            assert raised.value.param == "prompt"
            assert jobs(tape) == []

    async def test_a_field_that_the_server_would_ignore_is_refused(self):
        async with family_tape("a1111/txt2img", section="unknown field") as tape, desk(tape) as provider:
            with pytest.raises(ProviderRejectedError) as raised:
                await provider.generate(request(options={"foo": 1}), Sink())
            assert raised.value.param == "provider.options.foo"
            assert jobs(tape) == []

    async def test_sdnext_gets_no_task_id_since_it_would_ignore_it(self):
        async with family_tape("sdnext/txt2img", section="with a task id") as tape, desk(tape) as provider:
            await provider.generate(request(model=SDNEXT), Sink())
            assert "force_task_id" not in jobs(tape)[0]
            assert tape.unanswered == []
