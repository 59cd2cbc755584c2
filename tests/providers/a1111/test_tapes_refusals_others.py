"""What SD.Next and stable-diffusion.cpp refused, what failed in them, and what they'd have passed over."""

import pytest
from tests.providers.a1111.replay import Sink, desk, jobs, never_sent, refused, request
from tests.providers.a1111.tapes import family_tape

from imagerouter import GenerationError, InvalidParameterError, Lora, ProviderBusyError, ProviderRejectedError
from imagerouter.testing import Response, make_image

PICTURE = make_image(64, 64, "teal")
SDA = "Diffusers/tiny/sdA"
NATIVE = "full-random-sd15-f16"
WITHOUT_JOBS = {("GET", "/sdcpp/v1/capabilities"): Response(status=404)}


class TestSdnext:
    async def refused(self, section, expected, **changes):
        return await refused("sdnext/errors", section, expected, **{"model": SDA} | changes)

    @pytest.mark.parametrize(
        ("section", "changes", "param"),
        [
            ("width is a word", {}, "width"),
            ("unknown sampler", {"sampler": "euler"}, "sampler"),
            ("script that is not installed", {}, None),
            ("picture that is none", {"images": (PICTURE,)}, "images[0]"),
            ("no picture", {"images": (PICTURE,)}, "images[0]"),
        ],
    )
    async def test_what_it_refuses_is_about_a_parameter_if_the_client_gave_it(self, section, changes, param):
        error = await self.refused(section, ProviderRejectedError, **changes)
        assert error.param == param
        assert "422:" not in error.message
        assert "500:" not in error.message

    async def test_too_many_requests_are_a_server_that_is_busy(self):
        """It has drawn the picture, and throws it away; its words are an address."""
        error = await self.refused("too many requests, of txt2img", ProviderBusyError)
        assert error.fallback
        assert "sdapi" not in error.message

    @pytest.mark.parametrize(
        ("section", "changes", "param"),
        [
            ("unknown sampler", {"sampler": "Nope"}, "sampler"),
            (
                "script that is not installed",
                {"options": {"alwayson_scripts": {"ControlNet": {}}}},
                "provider.options.alwayson_scripts",
            ),
        ],
    )
    async def test_a_name_that_it_does_not_have_never_reaches_it(self, section, changes, param):
        error = await never_sent("sdnext/errors", section, ProviderRejectedError, model=SDA, **changes)
        assert error.param == param

    @pytest.mark.parametrize(
        ("section", "changes"),
        [("script_name that is not there", {"script_name": "nope"}), ("unknown field", {"foo": 1})],
    )
    async def test_what_it_ignores_in_silence_is_refused(self, section, changes):
        error = await never_sent("sdnext/txt2img", section, ProviderRejectedError, model=SDA, options=changes)
        assert error.param == f"provider.options.{next(iter(changes))}"

    async def test_a_sampler_in_small_letters_is_written_as_it_writes_it(self):
        async with (
            family_tape("sdnext/txt2img", section="sampler in small letters") as tape,
            desk(tape) as provider,
        ):
            await provider.generate(request(model=SDA, sampler="euler A"), Sink())
            assert jobs(tape)[0]["sampler_name"] == "Euler a"


class TestSdcpp:
    """Its common routes, where it has no jobs of its own."""

    async def refused(self, section, expected, **changes):
        return await refused(
            "sdcpp/errors",
            section,
            expected,
            keys={"dialect": "sdcpp"},
            answers=WITHOUT_JOBS,
            **{"model": NATIVE} | changes,
        )

    async def test_an_empty_prompt_is_the_clients(self):
        error = await self.refused("empty prompt", ProviderRejectedError, prompt="")
        assert error.param == "prompt"

    @pytest.mark.parametrize("section", ["malformed JSON", "width is a word"])
    async def test_a_type_that_it_did_not_expect_is_an_error_of_its_own(self, section):
        error = await self.refused(section, GenerationError)
        assert error.fallback

    async def test_an_empty_body_is_refused(self):
        assert (await self.refused("empty body", ProviderRejectedError)).param is None

    @pytest.mark.parametrize("changes", [{"sampler": "Nope"}, {"scheduler": "Nope"}])
    async def test_a_sampler_or_scheduler_that_it_would_replace_never_reaches_it(self, changes):
        error = await never_sent(
            "sdcpp/sdapi",
            "unknown sampler",
            ProviderRejectedError,
            keys={"dialect": "sdcpp"},
            answers=WITHOUT_JOBS,
            model=NATIVE,
            **changes,
        )
        assert error.param in changes

    async def test_a_picture_that_it_would_ignore_never_reaches_it(self):
        broken = type(PICTURE)(data=PICTURE.data[:60])
        error = await never_sent(
            "sdcpp/sdapi",
            "picture that is none",
            InvalidParameterError,
            keys={"dialect": "sdcpp"},
            answers=WITHOUT_JOBS,
            model=NATIVE,
            images=(broken,),
        )
        assert error.param == "images[0]"

    async def test_a_lora_that_it_does_not_list_never_reaches_it(self):
        error = await never_sent(
            "sdcpp/sdapi",
            "plain",
            ProviderRejectedError,
            keys={"dialect": "sdcpp"},
            answers=WITHOUT_JOBS,
            model=NATIVE,
            loras=(Lora("nope", 1.0),),
        )
        assert error.param == "loras[0].name"
