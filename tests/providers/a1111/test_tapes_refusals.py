"""What AUTOMATIC1111 refused, and what failed in it: whose mistake it is, in whose words."""

import pytest
from tests.providers.a1111.replay import Sink, desk, jobs, never_sent, refused, request, sent
from tests.providers.a1111.tapes import family_tape, lines

from imagerouter import GenerationError, Hires, MisconfiguredError, ModelNotFoundError, ProviderRejectedError
from imagerouter.testing import make_image
from imagerouter.testing.script import response_of

PICTURE = make_image(64, 64, "teal")


class TestAutomatic1111:
    async def refused(self, section, expected, **changes):
        return await refused("a1111/errors", section, expected, **changes)

    async def never_sent(self, section, expected=ProviderRejectedError, **changes):
        return (await never_sent("a1111/errors", section, expected, **changes)).param

    @pytest.mark.parametrize(
        ("section", "changes", "param"),
        [
            ("width is a word", {}, "width"),
            ("seeds as a list", {}, "seed"),
            ("unknown sampler", {"sampler": "euler"}, "sampler"),
            ("alias of a sampler", {}, None),
            ("sampler in small letters", {}, None),
            ("picture that is none", {"images": (PICTURE,)}, "images[0]"),
            ("no picture", {"images": (PICTURE,)}, "images[0]"),
            ("unknown upscaler", {"hires": Hires(scale=2)}, "hires.upscaler"),
            ("script that is not installed", {}, None),
            ("script_name that is not there", {}, None),
        ],
    )
    async def test_what_it_refuses_is_about_a_parameter_if_the_client_gave_it(self, section, changes, param):
        error = await self.refused(section, ProviderRejectedError, **changes)
        assert error.param == param
        assert error.fallback

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ("batch of none", "list index out of range"),
            ("no steps", "integer division or modulo by zero"),
            ("steps below zero", "number of steps must be non-negative"),
            ("8x8", "Expected more than 1 value per channel"),
            ("second pass without a strength", "not supported between instances"),
        ],
    )
    async def test_what_breaks_in_it_is_told_in_its_own_words(self, section, words):
        error = await self.refused(section, GenerationError)
        assert words in error.message
        assert error.param is None
        assert error.fallback

    async def test_an_empty_list_of_pictures_breaks_it(self):
        error = await self.refused("empty list of pictures", GenerationError, images=(PICTURE,))
        assert "conv2d" in error.message

    async def test_json_that_it_cannot_read_was_not_the_clients(self):
        error = await self.refused("malformed JSON", ProviderRejectedError)
        assert error.param is None

    @pytest.mark.parametrize(
        ("section", "changes", "param"),
        [
            ("unknown sampler", {"sampler": "Nope"}, "sampler"),
            ("unknown upscaler", {"hires": Hires(upscaler="Nope")}, "hires.upscaler"),
            (
                "unknown setting",
                {"options": {"override_settings": {"nope_key": 1}}},
                "provider.options.override_settings",
            ),
            (
                "script that is not installed",
                {"options": {"alwayson_scripts": {"ControlNet": {"args": []}}}},
                "provider.options.alwayson_scripts",
            ),
            ("script_name that is not there", {"options": {"script_name": "nope"}}, "provider.options.script_name"),
            ("unknown refiner", {"options": {"refiner_checkpoint": "nope"}}, "provider.options.refiner_checkpoint"),
        ],
    )
    async def test_a_name_that_it_does_not_have_never_reaches_it(self, section, changes, param):
        assert await self.never_sent(section, **changes) == param

    @pytest.mark.parametrize("sampler", ["k_euler_a", "euler A", "Euler a"])
    async def test_other_spellings_of_a_sampler_are_written_as_it_writes_them(self, sampler):
        async with family_tape("a1111/txt2img", section="empty prompt") as tape, desk(tape) as provider:
            await provider.generate(request(model="tinyB.safetensors", sampler=sampler), Sink())
            assert jobs(tape)[0]["sampler_name"] == "Euler a"

    async def test_a_second_pass_always_has_a_strength(self):
        async with (
            family_tape("a1111/errors", section="second pass without a strength") as tape,
            desk(tape) as provider,
        ):
            with pytest.raises(GenerationError):
                await provider.generate(request(hires=Hires(scale=2)), Sink())
            assert jobs(tape)[0]["denoising_strength"] == 0.5
            assert jobs(tape)[0]["hr_second_pass_steps"] == 2

    async def test_sides_below_what_it_can_draw_are_drawn_larger(self):
        async with family_tape("a1111/errors", section="8x8") as tape, desk(tape) as provider:
            with pytest.raises(GenerationError):
                await provider.generate(request(width=8, height=8), Sink())
            assert (jobs(tape)[0]["width"], jobs(tape)[0]["height"]) == (64, 64)

    @pytest.mark.parametrize("script", ["Nope", "ControlNet"])
    async def test_scripts_that_a_server_lacks_are_told_where_they_are_allowed(self, script):
        options = {"alwayson_scripts": {script: {"args": []}}}
        assert (
            await self.never_sent("script that is not installed", keys={"allow_scripts": True}, options=options)
            == "provider.options.alwayson_scripts"
        )

    async def test_an_unknown_refiner_that_was_there_a_moment_ago_is_the_options_fault(self):
        there = lines("a1111/discovery")
        listed = next(line["response"] for line in there if line.get("path") == "/sdapi/v1/sd-models")
        more = [*listed, listed[0] | {"title": "nope", "model_name": "nope"}]
        error = await self.refused(
            "unknown refiner",
            ProviderRejectedError,
            answers={("GET", "/sdapi/v1/sd-models"): more},
            options={"refiner_checkpoint": "nope", "refiner_switch_at": 0.5},
        )
        assert error.param == "provider.options.refiner_checkpoint"

    async def test_a_checkpoint_that_has_gone_is_a_model_that_may_be_elsewhere(self):
        answer = next(
            response_of(line, line["response"])
            for line in lines("a1111/errors", "settings")
            if line["request"] == {"sd_model_checkpoint": "nope"}
        )
        answers = {("POST", "/sdapi/v1/txt2img"): answer}
        async with family_tape("a1111/discovery", answers=answers) as tape, desk(tape) as provider:
            with pytest.raises(ModelNotFoundError) as raised:
                await provider.generate(request(), Sink())
            assert (raised.value.param, raised.value.fallback) == ("model", True)

    @pytest.mark.parametrize("section", ["no such route", "wrong method"])
    async def test_routes_that_are_gone_are_a_server_without_its_api(self, section):
        missing = next(response_of(line, line["response"]) for line in lines("a1111/errors", section))
        answers = {("POST", "/sdapi/v1/txt2img"): missing}
        async with family_tape("a1111/discovery", answers=answers) as tape, desk(tape) as provider:
            with pytest.raises(MisconfiguredError, match="--api"):
                await provider.generate(request(), Sink())

    async def test_settings_that_cannot_be_given_back_cost_no_picture(self):
        """The owner's checkpoint is one that the server can't find any more."""
        failing = next(
            response_of(line, line["response"])
            for line in lines("a1111/errors", "settings")
            if line["request"] == {"sd_model_checkpoint": "nope"}
        )
        told = next(line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/options")

        def settings(asked):
            return told | {"sd_model_checkpoint": "tinyB" if jobs(tape) else "tinyC-gone"}

        answers = {("GET", "/sdapi/v1/options"): settings, ("POST", "/sdapi/v1/options"): failing}
        tape = family_tape("a1111/checkpoints", section="B, given back", answers=answers)
        async with tape, desk(tape) as provider:
            assert len((await provider.generate(request(model="tinyB.safetensors"), Sink())).images) == 1
        assert sent(tape, "POST", "/sdapi/v1/options") == [{"sd_model_checkpoint": "tinyC-gone"}]
