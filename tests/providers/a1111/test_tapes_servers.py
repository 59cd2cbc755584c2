"""What real servers say about themselves, and what is made of it."""

import pytest
from tests.providers.a1111.replay import Sink, desk, hurry, jobs, request, sent
from tests.providers.a1111.tapes import GONE, family_tape, lines, usual_answers

from imagerouter import ImageRouterError, MisconfiguredError, ProviderError, ProviderUnavailableError
from imagerouter.testing import Response
from imagerouter.testing.script import response_of

A, B, C = "tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors"
NATIVE = "full-random-sd15-f16"
SDA, SDB = "Diffusers/tiny/sdA", "Diffusers/tiny/sdB"

SHA = {
    A: "7852620a74c2ef3bd99a342d9cf3b516d8866f1c22281db5da2f3d494ad80062",
    B: "6da5305858".ljust(64, "0"),  # the rest wasn't recorded
}

WEB = {"negative_prompt", "steps", "cfg_scale", "seed", "sampler", "scheduler", "strength", "clip_skip", "hires"}
COMMON = WEB | {"images", "mask", "width", "height"}


class TestDetection:
    @pytest.mark.parametrize(
        ("name", "title", "models"),
        [
            ("a1111", "AUTOMATIC1111", [A, B, C]),
            ("a1111_auth", "AUTOMATIC1111", [A, B, C]),
            ("sdnext", "SD.Next", [SDA, SDB]),
            ("sdcpp", "stable-diffusion.cpp", [NATIVE]),
        ],
    )
    async def test_a_server_is_known_by_what_it_serves(self, name, title, models):
        tape = family_tape("a1111_auth/restore" if name == "a1111_auth" else f"{name}/discovery")
        async with tape, desk(tape) as provider:
            found = await provider.models()
            assert [model.id for model in found] == models
            assert all(model.description.endswith(f" checkpoint on {title}") for model in found)
            assert not any(model.problem for model in found)
            assert tape.unanswered == []

    @pytest.mark.parametrize(
        ("name", "missing", "more", "multiple"),
        [
            # None of them has a VAE, and only one has LoRAs.
            ("a1111", {"vae", "loras", "guidance"}, {"partial_images"}, 8),
            ("sdnext", {"vae", "loras", "guidance"}, {"partial_images"}, 8),
            ("sdcpp", {"vae", "guidance", "partial_images"}, {"loras"}, 64),
        ],
    )
    async def test_parameters_are_those_that_have_an_effect_there(self, name, missing, more, multiple):
        async with family_tape(f"{name}/discovery") as tape, desk(tape) as provider:
            for model in await provider.models():
                assert model.parameters.keys() >= COMMON | more
                assert not model.parameters.keys() & missing
                assert (model.width, model.height, model.size_multiple) == (512, 512, multiple)

    @pytest.mark.parametrize(
        ("name", "samplers", "schedulers"),
        [
            ("a1111", {"euler", "euler_ancestral", "dpmpp_2m", "dpmpp_sde"}, {"karras", "exponential", "normal"}),
            ("sdnext", {"euler", "euler_ancestral", "dpmpp_2m", "uni_pc"}, {"karras", "exponential", "beta"}),
            ("sdcpp", {"euler", "euler_ancestral", "dpmpp_2m", "lcm"}, {"karras", "normal", "simple", "beta"}),
        ],
    )
    async def test_samplers_and_schedulers_have_their_canonical_names(self, name, samplers, schedulers):
        async with family_tape(f"{name}/discovery") as tape, desk(tape) as provider:
            parameters = (await provider.models())[0].parameters
            assert set(parameters["sampler"].values) >= samplers
            assert set(parameters["scheduler"].values) >= schedulers
            assert not {"default", "DPM++ 2M Karras"} & set(parameters["sampler"].values)

    async def test_a_list_that_always_fails_costs_no_more_than_itself(self):
        """SD.Next's list of schedulers is an error 500 with a page of them in its body."""
        async with family_tape("sdnext/discovery") as tape, desk(tape) as provider:
            assert len(sent(tape, "GET", "/sdapi/v1/schedulers")) == 1
            assert len(await provider.models()) == 2

    async def test_sdnext_is_known_even_while_it_refuses_to_say_so(self):
        async with (
            family_tape("sdnext/errors", section="too many requests, of version") as tape,
            desk(tape) as provider,
        ):
            assert {model.id for model in await provider.models()} == {SDA, SDB}
            assert tape.unanswered == []

    async def test_what_a_server_does_not_serve_is_not_asked_for(self):
        async with family_tape("a1111/discovery") as tape, desk(tape):
            assert sent(tape, "GET", "/sdapi/v1/schedulers") == []
            assert sent(tape, "GET", "/sdapi/v1/version") == []
            assert sent(tape, "GET", "/sdcpp/v1/capabilities") == []

    async def test_a_server_before_its_first_job_has_nothing_loaded(self):
        async with family_tape("a1111/discovery", section="discovery") as tape, desk(tape) as provider:
            status = await provider.status()
            assert (status.ready, status.running, status.queued, status.resident) == (True, 0, 0, frozenset())

    async def test_a_server_that_is_loading_its_first_checkpoint_has_none(self):
        async with family_tape("sdnext/discovery", section="discovery") as tape, desk(tape) as provider:
            assert (await provider.status()).resident == frozenset()

    @pytest.mark.parametrize(("name", "model"), [("sdnext", SDA), ("sdcpp", NATIVE)])
    async def test_what_is_loaded_is_resident(self, name, model):
        tape = family_tape("sdnext/txt2img" if name == "sdnext" else "sdcpp/jobs")
        async with tape, desk(tape) as provider:
            assert (await provider.status()).resident == {model}

    async def test_a_server_without_its_api_is_not_ready(self):
        answers = {("GET", "/*"): GONE}
        async with family_tape("a1111/errors", section="no such route", answers=answers) as tape:
            tape.answers = answers
            with pytest.raises(ProviderUnavailableError, match="--api"):
                async with desk(tape):
                    pass

    @pytest.mark.parametrize("name", ["a1111", "sdnext", "sdcpp"])
    async def test_what_was_recorded_for_the_interest_of_it_is_never_asked(self, name):
        """Embeddings, memory, sizes of queues and whole pages: they cost the server time and tell nothing."""
        async with family_tape(f"{name}/discovery") as tape, desk(tape) as provider:
            await provider.models()
            await provider.status()
            idle = ("embeddings", "memory", "history", "status", "sysinfo", "ping", "extensions", "png-info", "extra")
            assert not [one.path for one in tape.requests if any(word in one.path for word in idle)]
            looks = [one for one in tape.requests if one.path == "/sdapi/v1/progress"]
            assert all(look.query == {"skip_current_image": "true"} for look in looks)

    async def test_answers_are_asked_for_as_they_are(self):
        """Compressing pictures, which are compressed already, keeps a server busy for longer than sending them."""
        async with family_tape("a1111/txt2img", section="empty prompt") as tape, desk(tape) as provider:
            await provider.generate(request(model=B), Sink())
            assert {one.headers["accept-encoding"] for one in tape.requests} == {"identity"}


class TestCredentials:
    """``--api-auth``: every route of the API is closed, its description is open."""

    @staticmethod
    def tape():
        """It answers as it did to nobody, to a wrong password and to the right one."""
        nobody, wrong = (
            response_of(line, line["response"])
            for line in lines("a1111_auth/auth")
            if line.get("path") == "/sdapi/v1/options"
        )

        def guarded(answer):
            def told(asked):
                given = asked.headers.get("authorization")
                return answer if given == "Basic Ym9iOnNlY3JldA==" else nobody if given is None else wrong

            return told

        usual = usual_answers("a1111_auth").items()
        answers = {question: guarded(answer) for question, answer in usual if question[1].startswith("/sdapi/")}
        return family_tape("a1111_auth/restore", section="none after that", answers=answers)

    async def test_with_them_everything_goes_as_anywhere(self):
        async with self.tape() as tape, desk(tape, username="bob", password="secret") as provider:
            assert len((await provider.generate(request(), Sink())).images) == 1
            assert all("authorization" in one.headers for one in tape.requests if one.path.startswith("/sdapi/"))
            assert tape.unanswered == []

    @pytest.mark.parametrize("keys", [{}, {"username": "bob", "password": "bad"}], ids=["nobody", "bob:bad"])
    async def test_without_them_it_is_the_operators_mistake(self, keys):
        async with self.tape() as tape:
            with pytest.raises(ProviderError, match="credentials") as raised:
                async with desk(tape, **keys):
                    pass
            assert raised.value.status == 502
            assert "bad" not in raised.value.message

    async def test_credentials_that_hold_no_longer_do_not_blame_the_client(self):
        refusal = next(line for line in lines("a1111_auth/auth") if line.get("method") == "POST")
        tape = family_tape("a1111_auth/auth", section="POST /sdapi/v1/txt2img")
        async with tape, desk(tape) as provider:
            with pytest.raises(ImageRouterError) as raised:
                await provider.generate(request(), Sink())
            assert refusal["status"] == 401
            assert raised.value.status == 502
            assert tape.unanswered == []


class TestWithoutUserInterface:
    """``--nowebui``: there are no ids of tasks."""

    async def test_no_task_id_is_sent_and_none_asked_about(self):
        async with family_tape("a1111_auth/restore", section="none after that") as tape, desk(tape) as provider:
            await provider.generate(request(), Sink())
            await provider.status()
            assert "force_task_id" not in jobs(tape)[0]
            assert not [one.path for one in tape.requests if one.path.startswith("/internal/")]
            assert tape.unanswered == []


class TestConfiguration:
    async def test_an_entry_for_a_checkpoint_that_is_not_there_is_told(self):
        models = {"mine": {"checkpoint": "tinyB"}, "gone": {"checkpoint": "tinyX.safetensors"}}
        async with family_tape("a1111/discovery") as tape, desk(tape, models=models) as provider:
            found = {model.id: model for model in await provider.models()}
            assert not found["mine"].problem
            assert B not in found
            assert "tinyX" in found["gone"].problem
            with pytest.raises(MisconfiguredError):
                await provider.generate(request(model="gone"), Sink())

    async def test_a_dialect_that_is_set_is_not_asked_for(self):
        async with family_tape("sdnext/discovery") as tape, desk(tape, dialect="sdnext"):
            assert sent(tape, "GET", "/sdapi/v1/version") == []


class TestResidency:
    """After a job with settings given back, the setting names one checkpoint and the hash another: that is loaded."""

    async def test_the_hash_tells_what_is_loaded(self, monkeypatch):
        hurry(monkeypatch)
        listed = next(
            line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/sd-models"
        )
        rows = [row | {"sha256": SHA.get(row["title"]), "hash": SHA.get(row["title"], "")[:10]} for row in listed]
        settings = next(
            line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/options"
        )
        loaded = {"sd_model_checkpoint": f"{A} [7852620a74]", "sd_checkpoint_hash": SHA[A]}
        answers = {
            ("GET", "/sdapi/v1/sd-models"): rows,
            ("GET", "/sdapi/v1/options"): lambda asked: Response(json=settings | loaded),
        }
        tape = family_tape("a1111/checkpoints", section="B, given back", until="B, kept", answers=answers)
        async with tape, desk(tape) as provider:
            assert (await provider.status()).resident == {A}
            await provider.generate(request(model=B), Sink())
            loaded["sd_checkpoint_hash"] = SHA[B]
            assert (await provider.status()).resident == {B}
            await provider.generate(request(model=A), Sink())
            loaded["sd_checkpoint_hash"] = SHA[A]
            assert (await provider.status()).resident == {A}
            assert tape.unanswered == []
