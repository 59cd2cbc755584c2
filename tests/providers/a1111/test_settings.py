"""The settings of a server's owner: after our jobs they are as before, and none of our jobs feels another's."""

import asyncio

import pytest
from tests.providers.a1111.desk import desk, drawing_of, drawn, eventually, request, sent
from tests.providers.a1111.fake import FakeA1111

from imagerouter import GenerationError, ProviderRejectedError
from imagerouter.testing.wire import Response
from imagerouter_a1111 import settings

pytestmark = pytest.mark.usefixtures("impatient")

A, B, C = "tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors"
SDNEXT = ("Diffusers/tiny/sdA", "Diffusers/tiny/sdB", "tinyC")
CHECKPOINT = "sd_model_checkpoint"


def owners(fake):
    """Every setting that is somebody's choice."""
    return {name: fake.settings.get(name) for name in fake.settings.labels if name != "sd_checkpoint_hash"}


def writes(fake):
    """What was set for good."""
    return [one.json() for one in fake.requests if (one.method, one.path) == ("POST", "/sdapi/v1/options")]


@pytest.fixture
def late(monkeypatch):
    """Settings are given back at the end, and no earlier."""
    monkeypatch.setattr(settings, "IDLE_SECONDS", 1000.0)


@pytest.mark.parametrize("dialect", ["a1111", "reforge"])
async def test_a_fresh_servers_settings_are_given_back_after_each_job_and_no_job_feels_another(dialect):
    async with FakeA1111(dialect, fresh=True) as fake, desk(fake) as provider:
        before = owners(fake)
        plain = await drawn(provider, request(A))
        for _ in range(2):
            special = await drawn(provider, request(B, clip_skip=2, vae="tinyvae"))
            assert special != plain
            assert await drawn(provider, request(A)) == plain
            await eventually(lambda: owners(fake) == before)
        given = writes(fake)
        await drawn(provider, request(C, clip_skip=3, vae="tinyvae", sampler="euler"))
        await eventually(lambda: owners(fake) == before)
        assert writes(fake) == given  # since they were stored once, the server puts them back itself
        assert all(body["override_settings_restore_afterwards"] for body in sent(fake))


async def test_a_server_that_puts_its_settings_back_is_not_written_to(a1111):
    async with desk(a1111) as provider:
        before = owners(a1111)
        for model in (B, C):
            await drawn(provider, request(model, clip_skip=2))
            assert owners(a1111) == before
    assert not writes(a1111)


async def test_a_fresh_server_has_its_settings_back_although_there_is_always_a_next_job(launch, monkeypatch):
    async def never(self, stock):
        """What waits for a moment without a job, or is killed before it comes."""

    monkeypatch.setattr(settings.Settings, "give_back", never)
    fake = await launch(fresh=True)
    async with desk(fake) as provider:
        before = owners(fake)
        await drawn(provider, request(A))
        assert owners(fake) != before
        await drawn(provider, request(A))
        assert owners(fake) == before


async def test_a_job_that_was_refused_proves_nothing(launch):
    fake = await launch(fresh=True)
    async with desk(fake) as provider:
        before = owners(fake)
        plain = await drawn(provider, request(A))
        refusal = Response(422, {}, b'{"detail": "no"}')
        fake.answer("POST", "/sdapi/v1/txt2img", lambda asked: refusal)
        with pytest.raises(ProviderRejectedError):
            await drawn(provider, request(A, clip_skip=2))
        fake.answers.clear()
        await drawn(provider, request(A, clip_skip=2))
        assert await drawn(provider, request(A)) == plain
        await eventually(lambda: owners(fake) == before)


async def test_settings_that_could_not_be_given_back_are_given_back_later(launch, capsys):
    fake = await launch(fresh=True)
    async with desk(fake) as provider:
        before = owners(fake)
        fake.answer("POST", "/sdapi/v1/options", lambda asked: Response(500, {}, b"{}"))
        await drawn(provider, request(A, clip_skip=2))
        await eventually(lambda: bool(writes(fake)))
        assert owners(fake) != before
        fake.answers.clear()
        mixed = await drawn(provider, request(A))
        await eventually(lambda: owners(fake) == before)
        assert mixed == await drawn(provider, request(A))
    assert "a1111.settings_kept" in capsys.readouterr().out


async def test_two_jobs_at_once_do_not_mix_their_settings(launch):
    fake = await launch(fresh=True)
    async with desk(fake, concurrency=2) as provider:
        before = owners(fake)
        fake.hold()
        one = drawing_of(provider, request(A, clip_skip=2, vae="tinyvae"))
        await fake.held()
        other = drawing_of(provider, request(B))
        await fake.waiting()
        fake.release()
        special, plain = [(await task).images[0].data for task in (one, other)]
        await eventually(lambda: owners(fake) == before)
        assert plain == await drawn(provider, request(B))
        assert special == await drawn(provider, request(A, clip_skip=2, vae="tinyvae"))


@pytest.mark.parametrize("dialect", ["a1111", "sdnext"])
async def test_where_nobody_uses_the_interface_settings_stay_but_no_job_feels_another(dialect):
    first, second = SDNEXT[:2] if dialect == "sdnext" else (A, B)
    async with FakeA1111(dialect, fresh=dialect == "a1111") as fake:
        async with desk(fake, keep_settings=False) as provider:
            plain = await drawn(provider, request(first))
            assert await drawn(provider, request(second, clip_skip=2, vae="tinyvae")) != plain
            assert await drawn(provider, request(first)) == plain
            await drawn(provider, request(second))
        assert not writes(fake)
        assert not any(body["override_settings_restore_afterwards"] for body in sent(fake))
        assert fake.find(fake.settings.get(CHECKPOINT)).file == second


@pytest.mark.parametrize("dialect", ["sdnext", "forge"])
async def test_another_checkpoint_is_loaded_once_and_the_owners_is_given_back_at_the_end(dialect, late):
    owner, wanted = SDNEXT[:2] if dialect == "sdnext" else (A, B)
    async with FakeA1111(dialect) as fake:
        before = owners(fake)
        async with desk(fake) as provider:
            for seed in range(3):
                await drawn(provider, request(wanted, seed=seed))
            assert fake.loaded == ([owner, wanted] if dialect == "sdnext" else [wanted])
            assert not writes(fake)
            assert not any(body["override_settings_restore_afterwards"] for body in sent(fake))
        assert fake.unloads == 0
        assert owners(fake) == before


async def test_settings_go_back_when_the_server_is_idle_and_not_while_a_job_runs(launch, monkeypatch):
    monkeypatch.setattr(settings, "IDLE_SECONDS", 0.0)
    fake = await launch("sdnext")
    async with desk(fake, concurrency=2) as provider:
        fake.hold()
        one = drawing_of(provider, request(SDNEXT[1]))
        await fake.held()
        other = drawing_of(provider, request(SDNEXT[1], seed=8))
        await fake.waiting()
        await fake.step(2)
        await one
        await fake.turn(200)
        assert not writes(fake)
        fake.release()
        await other
        await eventually(lambda: fake.resident.file == SDNEXT[0])
        assert len(writes(fake)) == 1


@pytest.mark.parametrize("goes_on", [False, True], ids=["after the last job", "between two jobs"])
async def test_what_the_owner_has_chosen_since_is_kept(launch, late, goes_on):
    fake = await launch("sdnext")
    async with desk(fake) as provider:
        await drawn(provider, request(SDNEXT[1], vae="tinyvae"))
        fake.settings.data |= {CHECKPOINT: fake.checkpoints[2].title, "sd_vae": "None"}
        if goes_on:
            await drawn(provider, request(SDNEXT[1]))
    assert fake.settings.get(CHECKPOINT) == fake.checkpoints[2].title
    assert fake.settings.get("sd_vae") == "None"


async def test_a_job_that_never_came_to_load_its_checkpoint_does_not_hide_what_the_last_one_left(launch, late):
    fake = await launch("sdnext")
    async with desk(fake) as provider:
        await drawn(provider, request(SDNEXT[1]))
        fake.answer("POST", "/sdapi/v1/txt2img", lambda asked: Response(500, {}, b"{}"))
        with pytest.raises(GenerationError):
            await drawn(provider, request(SDNEXT[2]))
    assert fake.resident.file == SDNEXT[0]


async def test_a_server_that_is_away_takes_its_settings_with_it(launch, late):
    fake = await launch("sdnext")
    async with desk(fake) as provider:
        await drawn(provider, request(SDNEXT[1]))
        await fake.abort()


async def test_a_job_that_is_cancelled_before_it_is_sent_is_no_job(launch, late):
    """The settings are asked for before the first one."""
    fake = await launch("sdnext")
    async with desk(fake) as provider:
        for path in ("/sdapi/v1/progress", "/sdapi/v1/options"):
            task = drawing_of(provider, request(SDNEXT[1]))
            seen = fake.paths().count(f"GET {path}")
            await eventually(lambda path=path, seen=seen: fake.paths().count(f"GET {path}") > seen)
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        assert not sent(fake)
        assert (await provider.status()).running == 0
        await drawn(provider, request(SDNEXT[1]))
    assert fake.resident.file == SDNEXT[0]
