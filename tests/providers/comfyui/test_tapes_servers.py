"""What a real server says about itself, keeps loaded, and does when it or the connection goes away."""

import asyncio

import pytest
from tests.providers.comfyui.replay import (
    Sink,
    cancelled,
    desk,
    drawing_of,
    no_global_interrupt,
    queued,
    request,
    submitted,
    submitted_by_now,
)
from tests.providers.comfyui.tapes import comfy_tape

from imagerouter import (
    ModelNotFoundError,
    ProviderError,
    ProviderUnavailableError,
)
from imagerouter.testing import Response

pytestmark = pytest.mark.usefixtures("impatient")

A, B, C = "tiny_a.ckpt", "tiny_b.ckpt", "tiny_c.safetensors"


async def test_the_checkpoints_that_it_lists_are_its_models():
    async with comfy_tape("info") as tape, desk(tape) as provider:
        models = {model.id: model for model in await provider.models()}
        assert {A, B, C, "tiny_inpaint.ckpt"} <= models.keys()
        assert not any(model.problem for model in models.values())
        assert (models[A].width, models[A].height) == (512, 512)
        assert models[A].options == {"controlnet"}
        status = await provider.status()
        assert (status.ready, status.running, status.queued, status.resident) == (True, 0, 0, frozenset())
        assert tape.unanswered == []


class TestResidency:
    """`execution_cached` tells what the server still had; what it has loaded now it never says."""

    async def resident_after(self, tape_name, *models):
        """What is called resident after each of the jobs, in their recorded order."""
        seen = []
        async with comfy_tape(tape_name) as tape, desk(tape) as provider:
            for model in models:
                await provider.generate(request(model=model, steps=1), Sink())
                seen.append((await provider.status()).resident)
            assert tape.unanswered == []
        return seen

    async def test_a_server_keeps_the_last_checkpoint_only(self):
        assert await self.resident_after("model_swaps", A, A, B, B, A, C, A, C) == [
            {A}, {A}, {B}, {B}, {A}, {C}, {A}, {C}
        ]  # fmt: skip

    async def test_one_with_a_larger_cache_is_found_out(self):
        seen = await self.resident_after("cache_lru", A, A, B, A, B, C, A)
        assert seen[:3] == [{A}, {A}, {B}]
        assert seen[3] == {A, B}
        assert seen[4] == {A, B}
        assert seen[-1] == {A, B, C}

    async def test_loading_is_told_where_something_is_loaded(self):
        jobs = (A, A, B, B, A, C, A, C, C, C)  # the last two after `/free` of the models, and of everything
        async with comfy_tape("model_swaps") as tape, desk(tape) as provider:
            drawn = [await provider.generate(request(model=model, steps=1), Sink()) for model in jobs]
            assert [images.load_seconds > 0 for images in drawn] == [0, 0, 1, 0, 1, 1, 1, 1, 0, 1]
            assert tape.unanswered == []

    async def test_a_checkpoint_whose_file_has_just_gone_is_not_found(self):
        async with comfy_tape("model_swaps", section="has just gone") as tape, desk(tape) as provider:
            with pytest.raises(ModelNotFoundError) as raised:
                await provider.generate(request(), Sink())
            assert (raised.value.param, raised.value.fallback) == ("model", True)
            assert tape.unanswered == []

    async def test_a_checkpoint_that_has_just_appeared_is_drawn_with(self):
        files = [A, B]
        answers = {("GET", "/models/checkpoints"): lambda asked: files}
        tape = comfy_tape("model_swaps", section="has just appeared", answers=answers)
        async with tape, desk(tape) as provider:
            files.append("new_file.ckpt")
            assert "new_file.ckpt" in [model.id for model in await provider.models()]
            drawn = await provider.generate(request(model="new_file.ckpt", steps=1), Sink())
            assert drawn.load_seconds > 0
            assert (await provider.status()).resident == {"new_file.ckpt"}
            assert tape.unanswered == []


@pytest.mark.parametrize(
    ("section", "steps"),
    [("64x64, 1 step", 1), ("64x64, 4 steps", 4), ("128x128, 4 steps", 4), ("256x256, 4 steps", 4)],
)
async def test_every_step_is_counted_at_any_size(section, steps):
    async with comfy_tape("sizes", section=section) as tape, desk(tape) as provider:
        sink = Sink()
        side = int(section.split("x")[0])
        drawn = await provider.generate(request(width=side, height=side, steps=steps), sink)
        assert sink.counted == [(step, steps) for step in range(1, steps + 1)]
        assert drawn.load_seconds == 0
        assert tape.unanswered == []


class TestBehindAProxy:
    """With a path in front, and a token on every request and on the websocket's handshake."""

    def tape(self):
        required = {"authorization": "Bearer s3cret"}
        return comfy_tape("reverse_proxy", prefix="/comfy", required_headers=required)

    async def test_pictures_are_drawn_as_anywhere(self):
        async with self.tape() as tape, desk(tape, token="s3cret") as provider:
            assert len((await provider.generate(request(), Sink())).images) == 1
            assert tape.unanswered == []

    @pytest.mark.parametrize("keys", [{}, {"token": "wr0ng"}], ids=["no token", "another token"])
    async def test_a_wrong_token_is_told_as_the_operators_mistake(self, keys):
        async with self.tape() as tape:
            with pytest.raises(ProviderError, match="credentials") as raised:
                async with desk(tape, **keys):
                    pass
            assert raised.value.status == 502
            assert "wr0ng" not in raised.value.message
            assert tape.requests == []


class TestLostConnections:
    """Events are gone for good; the job isn't."""

    @staticmethod
    def answers(tape):
        """The job is in the queue as long as the tape plays; its end is on the tape."""

        def jobs(asked):
            running = [(body["prompt_id"], "in_progress") for body in submitted(tape)[-1:]]
            return queued(*(() if tape.finished else running))

        tape.answers[("GET", "/api/jobs")] = jobs

    async def test_a_connection_lost_in_mid_job_costs_no_picture(self):
        tape = comfy_tape("drops_and_restart", section="drop the socket mid-job")
        self.answers(tape)
        async with tape, desk(tape) as provider:
            drawn = await provider.generate(request(), Sink())
            assert len(drawn.images) == 1
            assert len(submitted(tape)) == 1
            ids = [socket.request.query["clientId"] for socket in tape.server.sockets]
            assert submitted(tape)[0]["client_id"] not in ids
            assert cancelled(tape) == []
            assert no_global_interrupt(tape)
            assert tape.unanswered == []

    async def test_no_two_connections_share_a_client_id(self):
        """So that the death of one never mutes another, as it did on the tape."""
        tape = comfy_tape("drops_and_restart", section="second socket with the SAME clientId", sockets=["dup2"])
        async with tape, desk(tape) as provider, desk(tape) as other:
            await provider.generate(request(), Sink())
            ids = [socket.request.query["clientId"] for socket in tape.server.sockets]
            assert len(set(ids)) == 2
            assert (await other.status()).ready
            assert tape.unanswered == []

    @pytest.mark.parametrize(
        ("section", "socket"), [("closing the NEWER one", "dup1"), ("closing the OLDER duplicate", "d4")]
    )
    async def test_a_job_that_nobody_tells_about_is_asked_about(self, section, socket):
        """The recorder's socket was muted there: the server drew the picture and sent nothing."""
        answered = []

        def history(asked):
            prompt_id = asked.path.rpartition("/")[2]
            answered.append(prompt_id)
            picture = {"save": {"images": [{"filename": "muted.png", "subfolder": "", "type": "output"}]}}
            status = {"status_str": "success", "completed": True, "messages": []}
            return {prompt_id: {"outputs": picture, "status": status}}

        answers = {("GET", "/history/*"): history}
        tape = comfy_tape("drops_and_restart", section=section, answers=answers, sockets=[socket])
        async with tape, desk(tape) as provider:
            drawn = await provider.generate(request(), Sink())
            assert len(drawn.images) == 1
            assert answered == [submitted(tape)[0]["prompt_id"]]
            assert tape.unanswered == []

    async def test_a_killed_server_has_lost_its_jobs_and_draws_the_next_ones(self):
        section = "server SIGKILLed"
        tape = comfy_tape("drops_and_restart", section=section, until="<end>", sockets=["K"])
        async with tape, desk(tape, concurrency=2) as provider:
            first = drawing_of(provider, Sink())
            await submitted_by_now(tape, 1)
            second = drawing_of(provider, Sink())
            await submitted_by_now(tape, 2)
            for task in (first, second):
                with pytest.raises(ProviderUnavailableError, match="lost the job") as raised:
                    await task
                assert raised.value.retry_same
            again = drawing_of(provider, Sink())
            await submitted_by_now(tape, 3)
            assert len({body["client_id"] for body in submitted(tape)}) == 2
            again.cancel()
            await asyncio.wait([again])
            assert cancelled(tape)[-1] == submitted(tape)[-1]["prompt_id"]
            assert tape.unanswered == []

    async def test_while_it_is_down_nothing_is_sent(self):
        tape = comfy_tape("drops_and_restart", section="server SIGKILLed", until="<end>", sockets=["K"])
        async with tape, desk(tape) as provider:
            await tape.server.abort()
            with pytest.raises(ProviderUnavailableError) as raised:
                await provider.generate(request(), Sink())
            assert raised.value.retry_same
            assert submitted(tape) == []


async def test_a_server_without_the_newer_routes_is_asked_for_its_whole_queue():
    missing = Response(status=404, json={"error": "not found"})
    async with comfy_tape("info", answers={("GET", "/api/jobs"): missing}) as tape, desk(tape) as provider:
        status = await provider.status()
        assert (status.ready, status.running, status.queued) == (True, 0, 0)
        assert [one.path for one in tape.requests].count("/queue") >= 1
        assert tape.unanswered == []
