"""What a real server refused, and what failed in it: whose mistake it is, in whose words."""

import asyncio

import pytest
from tests.providers.comfyui.replay import (
    Recorded,
    Sink,
    cancelled,
    desk,
    drawing_of,
    easel,
    no_global_interrupt,
    recorded_graphs,
    request,
    submitted,
    submitted_by_now,
)
from tests.providers.comfyui.tapes import comfy_tape

from imagerouter import (
    GenerationError,
    InvalidParameterError,
    MisconfiguredError,
    ModelNotFoundError,
    ProviderError,
)
from imagerouter.testing.drawing import make_image

pytestmark = pytest.mark.usefixtures("impatient")

PICTURE = make_image(64, 64, "teal")
PRIVATE = ("/comfyui", "tiny_", "nope", "missing.png", "Traceback", "array", "tensor", "input_config")
"""What an answer on the tapes has in it and no client may see."""


def is_presentable(message):
    return "\n" not in message and not any(word in message for word in PRIVATE)


class TestValidation:
    """The graph was refused: nothing has run."""

    async def refused(self, section, expected, **changes):
        async with comfy_tape("validation_errors", section=section) as tape, desk(tape) as provider:
            with pytest.raises(expected) as raised:
                await provider.generate(request(**changes), Sink())
            assert len(submitted(tape)) == 1
            assert cancelled(tape) == []
            assert tape.unanswered == []
        assert is_presentable(raised.value.message.replace(f"`{changes.get('model', 'tiny_a.ckpt')}`", ""))
        return raised.value

    async def test_a_checkpoint_that_is_gone_may_be_elsewhere(self):
        error = await self.refused("model not in list", ModelNotFoundError)
        assert (error.param, error.fallback) == ("model", True)

    async def test_a_sampler_that_it_does_not_have_is_the_parameter_s_fault(self):
        error = await self.refused("sampler not in list", InvalidParameterError, sampler="euler")
        assert error.param == "sampler"

    async def test_a_size_that_is_too_large_is_told_with_the_limit(self):
        error = await self.refused("width too big", InvalidParameterError)
        assert error.param == "width"
        assert "16384" in error.message

    @pytest.mark.parametrize(
        ("section", "limit"), [("seed bigger", "18446744073709551615"), ("negative seed", "at least 0")]
    )
    async def test_a_seed_out_of_its_range_is_told_with_the_limit(self, section, limit):
        error = await self.refused(section, InvalidParameterError)
        assert error.param == "seed"
        assert limit in error.message

    @pytest.mark.parametrize(
        ("section", "words"),
        [
            ("unknown class_type", "NoSuchNode"),
            ("no class_type", "no class_type"),
            ("missing required input", "`cfg`"),
            ("link to a missing node", "KSampler"),
            ("type mismatch link", "Return type mismatch"),
            ("no outputs", "no outputs"),
            ("no prompt key", "No prompt"),
            ("empty prompt", "no outputs"),
            ("prompt_id not a uuid", "valid UUID"),
            ("prompt_id uppercase uuid", "valid UUID"),
        ],
    )
    async def test_what_is_wrong_with_the_graph_is_no_fault_of_the_client(self, section, words):
        error = await self.refused(section, MisconfiguredError)
        assert words in error.message
        assert error.fallback

    async def test_a_workflow_that_feeds_on_itself_is_no_fault_of_the_client(self):
        graph = recorded_graphs("validation_errors", status=400)[-1]
        async with comfy_tape("validation_errors", section="dependency cycle") as tape, easel(tape) as drawing:
            with pytest.raises(MisconfiguredError, match=r"node 6 \(`CLIPTextEncode`\)"):
                await drawing.draw(request(), Recorded(graph), Sink())
            assert tape.unanswered == []

    @pytest.mark.parametrize("section", ["UI-format workflow", "invalid JSON"])
    async def test_a_crash_of_the_server_may_be_made_up_for_elsewhere(self, section):
        error = await self.refused(section, GenerationError)
        assert "500" in error.message
        assert error.fallback

    async def test_refused_jobs_leave_a_running_one_alone(self):
        tape = comfy_tape("validation_errors", section="width not multiple of 8", until="two outputs, one invalid")
        async with tape, desk(tape, concurrency=9) as provider:
            kept = drawing_of(provider, Sink(), width=100, height=68)
            await submitted_by_now(tape, 1)
            for _ in range(7):
                with pytest.raises(ProviderError):
                    await provider.generate(request(), Sink())
            await tape.end()
            assert not kept.done()
            assert cancelled(tape) == []
            kept.cancel()
            await asyncio.wait([kept])
            assert cancelled(tape) == [submitted(tape)[0]["prompt_id"]]
            assert tape.unanswered == []


class TestPartialValidation:
    """Of two outputs one is invalid: the server answers 200, draws the other one and says nothing more."""

    graph = recorded_graphs("validation_errors")[-1]
    section = "two outputs, one invalid"

    async def test_a_picture_that_was_left_out_is_an_error_and_its_job_is_stopped(self):
        recipe = Recorded(self.graph, ("11",), {("10", "image"): "images[0]"})
        async with comfy_tape("validation_errors", section=self.section) as tape, easel(tape) as drawing:
            with pytest.raises(InvalidParameterError) as raised:
                await drawing.draw(request(images=(PICTURE,)), recipe, Sink())
            assert raised.value.param == "images[0]"
            assert is_presentable(raised.value.message)
            assert cancelled(tape) == [submitted(tape)[0]["prompt_id"]]
            assert tape.unanswered == []

    async def test_a_workflow_s_own_missing_file_is_no_fault_of_the_client(self):
        async with comfy_tape("validation_errors", section=self.section) as tape, easel(tape) as drawing:
            with pytest.raises(MisconfiguredError, match="LoadImage") as raised:
                await drawing.draw(request(), Recorded(self.graph, ("9", "11")), Sink())
            assert is_presentable(raised.value.message)
            assert tape.unanswered == []

    async def test_an_output_that_nobody_asked_for_may_be_left_out(self):
        async with comfy_tape("validation_errors", section=self.section) as tape, easel(tape) as drawing:
            assert len((await drawing.draw(request(), Recorded(self.graph, ("9",)), Sink())).images) == 1
            assert cancelled(tape) == []
            assert tape.unanswered == []


class TestFailuresWhileRunning:
    """The graph was accepted, and a node has failed."""

    @pytest.mark.parametrize(
        ("section", "words"),
        [("checkpoint broken", "header too large"), ("checkpoint not_a_checkpoint", "Could not detect model type")],
    )
    async def test_a_checkpoint_that_cannot_be_loaded_is_told_with_its_reason(self, section, words):
        model = f"{section.split()[1]}.safetensors"
        async with comfy_tape("runtime_errors", section=section) as tape, desk(tape) as provider:
            with pytest.raises(GenerationError, match=words) as raised:
                await provider.generate(request(model=model), Sink())
            assert "CheckpointLoaderSimple" in raised.value.message
            assert is_presentable(raised.value.message)
            assert raised.value.fallback
            assert cancelled(tape) == []
            assert no_global_interrupt(tape)
            assert tape.unanswered == []

    async def test_a_picture_that_it_cannot_read_is_the_clients(self):
        async with comfy_tape("runtime_errors", section="corrupt uploaded image") as tape, desk(tape) as provider:
            with pytest.raises(InvalidParameterError) as raised:
                await provider.generate(request(images=(PICTURE,), strength=0.6), Sink())
            assert raised.value.param == "images[0]"
            assert is_presentable(raised.value.message)
            assert tape.unanswered == []

    async def test_the_next_job_on_the_same_connection_goes_well(self):
        async with comfy_tape("runtime_errors") as tape, desk(tape) as provider:
            with pytest.raises(GenerationError):
                await provider.generate(request(model="broken.safetensors"), Sink())
            with pytest.raises(GenerationError):
                await provider.generate(request(model="not_a_checkpoint.safetensors"), Sink())
            assert len({body["client_id"] for body in submitted(tape)}) == 1
            assert tape.unanswered == []
