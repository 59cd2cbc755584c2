"""Checkpoints: how they are asked for, what was really drawn with, and what becomes of the owner's settings.

No server of the family says that it doesn't know a checkpoint: it draws with another one.
"""

import json

import pytest
from tests.providers.a1111.replay import Sink, desk, drawn_with, jobs, recorded, request, sent
from tests.providers.a1111.tapes import Family, family_tape, lines, usual_answers

from imagerouter import (
    GenerationError,
    MisconfiguredError,
    ModelNotFoundError,
    ProviderRejectedError,
    ProviderResponseError,
)
from imagerouter.testing import Response, Tape

A, B, C = "tinyA.safetensors", "tinyB.safetensors", "sub/tinyC.safetensors"
SDA, SDB = "Diffusers/tiny/sdA", "Diffusers/tiny/sdB"

SPELLED = [
    json.loads(line["text"].removeprefix("spelled "))
    for line in lines("a1111/checkpoints")
    if line["kind"] == "note" and line["text"].startswith("spelled ")
]
UNDERSTOOD = {
    "tinyA.safetensors [7852620a74]": A,
    "tinyA": A,
    "7852620a74": A,
    "7852620a74c2ef3bd99a342d9cf3b516d8866f1c22281db5da2f3d494ad80062": A,
    "tinyA.safetensors": A,
    "sub/tinyC.safetensors": C,
    "sub_tinyC": C,
    "tinyC": C,
}
"""What the server took for these, and all others of `SPELLED` for nothing at all."""


def checkpoint(body):
    return body["override_settings"]["sd_model_checkpoint"]


def hashed():
    """The list of checkpoints once their hashes are known, as far as they were recorded."""
    sha = {A: "7852620a74c2ef3bd99a342d9cf3b516d8866f1c22281db5da2f3d494ad80062"}
    listed = next(line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/sd-models")
    rows = [
        row | {"sha256": sha[row["title"]], "hash": sha[row["title"]][:10], "title": f"{row['title']} [7852620a74]"}
        if row["title"] in sha
        else row
        for row in listed
    ]
    return {("GET", "/sdapi/v1/sd-models"): rows}


class TestSpelling:
    @pytest.mark.parametrize(("model", "section"), [(A, '"tinyA"'), (C, '"sub_tinyC"'), (B, "B, given back")])
    @pytest.mark.parametrize("fresh", [True, False])
    async def test_what_is_sent_is_what_the_server_was_seen_to_understand(self, model, section, fresh):
        answers = {} if fresh else hashed()
        tape = family_tape("a1111/checkpoints", section=section, answers=answers)
        async with tape, desk(tape) as provider:
            drawn = await provider.generate(request(model=model), Sink())
            (body,) = jobs(tape)
            known = {spelling for spelling, file in UNDERSTOOD.items() if file == model} | {"tinyB", B}
            assert checkpoint(body) in known
            assert len(drawn.images) == 1
            assert drawn_with("a1111/checkpoints", section) == model
            assert tape.unanswered == []

    @pytest.mark.parametrize("spelled", UNDERSTOOD)
    async def test_a_name_of_the_servers_own_means_what_it_meant_there(self, spelled):
        section, models = f'spelled "{spelled}"', {"mine": {"checkpoint": spelled}}
        tape = family_tape("a1111/checkpoints", section=section, answers=hashed())
        async with tape, desk(tape, models=models) as provider:
            await provider.generate(request(model="mine"), Sink())
            assert drawn_with("a1111/checkpoints", section) == UNDERSTOOD[spelled]
            assert UNDERSTOOD[checkpoint(jobs(tape)[0])] == UNDERSTOOD[spelled]
            assert tape.unanswered == []

    @pytest.mark.parametrize("spelled", [spelled for spelled in SPELLED if spelled not in UNDERSTOOD])
    async def test_a_name_that_it_did_not_understand_is_never_sent(self, spelled):
        section, models = f'spelled "{spelled}"', {"mine": {"checkpoint": spelled}}
        tape = family_tape("a1111/checkpoints", section=section, answers=hashed())
        async with tape, desk(tape, models=models) as provider:
            assert drawn_with("a1111/checkpoints", section) == B  # which was the owner's
            with pytest.raises((MisconfiguredError, GenerationError, ProviderResponseError)):
                await provider.generate(request(model="mine"), Sink())
            assert all(checkpoint(body) in UNDERSTOOD for body in jobs(tape))

    @pytest.mark.parametrize(
        ("section", "model"), [("A", SDA), ("B, given back", SDB), ("B, kept", SDB)], ids=["A", "given back", "kept"]
    )
    async def test_sdnext_is_told_to_leave_the_checkpoint_where_it_is(self, section, model):
        """Giving it back would load two checkpoints for each picture."""
        async with family_tape("sdnext/checkpoints", section=section) as tape, desk(tape) as provider:
            await provider.generate(request(model=model), Sink())
            (body,) = jobs(tape)
            assert checkpoint(body).partition(" [")[0] == model
            assert body["override_settings_restore_afterwards"] is False
            assert (await provider.status()).resident == {model}
            assert tape.unanswered == []

    async def test_a_choice_of_the_owners_whose_file_was_replaced_is_not_repeated(self):
        """Its hash is no longer right, and with it the server understands the name no more."""
        stale = "tinyA.safetensors [deadbeef00]"
        settings = next(
            line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/options"
        )
        answers = hashed() | {("GET", "/sdapi/v1/options"): settings | {"sd_model_checkpoint": stale}}
        tape = family_tape("a1111/checkpoints", section='spelled "tinyA"', answers=answers)
        async with tape, desk(tape) as provider:
            (model,) = [model.id for model in await provider.models() if "tinyA" in model.id]
            await provider.generate(request(model=model), Sink())
            assert checkpoint(jobs(tape)[0]) in UNDERSTOOD
            assert tape.unanswered == []


class TestUnknown:
    @pytest.mark.parametrize("name", ["a1111/checkpoints", "sdnext/checkpoints", "sdcpp/sdapi"])
    @pytest.mark.parametrize("model", ["nope.safetensors", "nope", "tiny", "../tinyA.safetensors"])
    async def test_a_model_that_is_not_listed_never_reaches_the_server(self, name, model):
        async with family_tape(name) as tape, desk(tape) as provider:
            with pytest.raises(ModelNotFoundError) as raised:
                await provider.generate(request(model=model), Sink())
            assert (raised.value.param, raised.value.fallback) == ("model", True)
            assert jobs(tape) == []
            assert tape.unanswered == []

    async def test_a_picture_of_another_checkpoint_is_found_out_and_not_delivered(self):
        """The file has gone from the server, and its list still has it."""
        twice = lines("a1111/checkpoints", "one that is not there") * 2
        async with Tape(twice, Family(), answers=usual_answers("a1111")) as tape, desk(tape) as provider:
            with pytest.raises(ProviderResponseError, match="another checkpoint") as raised:
                await provider.generate(request(model=B), Sink())
            assert "tinyA" in raised.value.message
            assert [checkpoint(body) for body in jobs(tape)] == ["tinyB", "tinyB"]
            assert len({body["force_task_id"] for body in jobs(tape)}) == 2
            assert tape.unanswered == []

    async def test_a_list_that_was_out_of_date_is_read_again(self):
        """The first picture is of another checkpoint; the second time the server has found the file."""
        script = lines("a1111/checkpoints", "one that is not there") + lines("a1111/checkpoints", "B, given back")
        async with Tape(script, Family(), answers=usual_answers("a1111")) as tape, desk(tape) as provider:
            before = len(sent(tape, "GET", "/sdapi/v1/sd-models"))
            drawn = await provider.generate(request(model=B, n=1), Sink())
            assert len(drawn.images) == 1
            assert len(jobs(tape)) == 2
            assert len(sent(tape, "GET", "/sdapi/v1/sd-models")) == before + 1
            assert tape.unanswered == []

    async def test_sdnext_tells_it_in_the_texts_of_its_pictures_only(self):
        twice = lines("sdnext/checkpoints", "one that is not there") * 2
        loaded = {("POST", "/sdapi/v1/checkpoint"): {"ok": True}}
        async with Tape(twice, Family(), answers=usual_answers("sdnext") | loaded) as tape, desk(tape) as provider:
            with pytest.raises(ProviderResponseError, match="another checkpoint"):
                await provider.generate(request(model=SDB), Sink())
            assert len(jobs(tape)) == 2
            assert tape.unanswered == []

    async def test_sdcpp_has_one_and_is_never_told_which(self):
        answers = {("GET", "/sdcpp/v1/capabilities"): Response(status=404)}
        tape = family_tape("sdcpp/sdapi", section="checkpoint that is not there", answers=answers)
        async with tape, desk(tape, dialect="sdcpp") as provider:
            drawn = await provider.generate(request(model="full-random-sd15-f16", steps=1), Sink())
            assert len(drawn.images) == 1
            assert "override_settings" not in jobs(tape)[0]


class TestNothingLoaded:
    """SD.Next after a checkpoint that it couldn't load, or after unloading: success, and no pictures."""

    SECTIONS = ("after a checkpoint that is not there", "after unloading")

    @pytest.mark.parametrize("section", SECTIONS)
    async def test_the_checkpoint_is_loaded_and_the_picture_drawn(self, section):
        script = lines("sdnext/checkpoints", section) + lines("sdnext/checkpoints", "A")
        loaded = {("POST", "/sdapi/v1/checkpoint"): {"ok": True}}
        async with Tape(script, Family(), answers=usual_answers("sdnext") | loaded) as tape, desk(tape) as provider:
            drawn = await provider.generate(request(model=SDA), Sink())
            assert len(drawn.images) == 1
            asked = [one.query for one in tape.requests if (one.method, one.path) == ("POST", "/sdapi/v1/checkpoint")]
            assert asked == [{"sd_model_checkpoint": f"{SDA} [fedcba9876]"}]
            assert tape.unanswered == []

    @pytest.mark.parametrize("section", SECTIONS)
    async def test_success_without_a_picture_is_none(self, section):
        script = lines("sdnext/checkpoints", section) * 2
        loaded = {("POST", "/sdapi/v1/checkpoint"): {"ok": False}}
        async with Tape(script, Family(), answers=usual_answers("sdnext") | loaded) as tape, desk(tape) as provider:
            with pytest.raises(ProviderResponseError, match="no picture") as raised:
                await provider.generate(request(model=SDA), Sink())
            assert raised.value.fallback
            assert len(jobs(tape)) == 2
            assert tape.unanswered == []

    async def test_no_checkpoint_is_ever_chosen_by_a_setting_that_unloads_it(self):
        """The answer to `nope` was success, too."""
        async with family_tape("sdnext/checkpoints", section="settings") as tape, desk(tape) as provider:
            with pytest.raises(ModelNotFoundError):
                await provider.generate(request(model="nope"), Sink())
        assert sent(tape, "POST", "/sdapi/v1/options") == []


class TestOwnersSettings:
    """A server without a configuration file forgets to give back what its owner never saved."""

    async def test_clip_skip_that_stayed_is_given_back(self):
        stayed = {"CLIP_stop_at_last_layers": 1, "sd_model_checkpoint": "tinyA"}
        settings = next(
            line["response"] for line in lines("a1111/discovery") if line.get("path") == "/sdapi/v1/options"
        )

        def given(asked):
            if jobs(tape):
                stayed["CLIP_stop_at_last_layers"] = 2
            return settings | stayed

        answers = {("GET", "/sdapi/v1/options"): given}
        tape = family_tape("a1111_auth/restore", section="B and clip skip, given back", answers=answers)
        async with tape, desk(tape) as provider:
            await provider.generate(request(model=B, steps=1, clip_skip=2), Sink())
        (body,) = jobs(tape)
        assert body["override_settings"]["CLIP_stop_at_last_layers"] == 2
        assert checkpoint(body) == "tinyB"
        assert {"CLIP_stop_at_last_layers": 1} in sent(tape, "POST", "/sdapi/v1/options")
        assert tape.unanswered == []

    async def test_what_the_server_gives_back_itself_is_left_to_it(self):
        async with family_tape("a1111/checkpoints", section="B, given back") as tape, desk(tape) as provider:
            await provider.generate(request(model=B), Sink())
        assert jobs(tape)[0]["override_settings_restore_afterwards"] is True
        assert sent(tape, "POST", "/sdapi/v1/options") == []

    async def test_where_nobody_else_uses_it_nothing_is_given_back(self):
        async with (
            family_tape("a1111/checkpoints", section="B, kept") as tape,
            desk(tape, keep_settings=False) as provider,
        ):
            drawn = await provider.generate(request(model=B), Sink())
            assert len(recorded("a1111/checkpoints", "B, kept")) == len(drawn.images)
        assert jobs(tape)[0]["override_settings_restore_afterwards"] is False
        assert sent(tape, "POST", "/sdapi/v1/options") == []

    async def test_a_setting_that_the_server_lacks_is_never_sent(self):
        """One unknown setting costs the whole request: AUTOMATIC1111 fails, SD.Next draws without it."""
        for name, model in (("a1111/errors", A), ("sdnext/checkpoints", SDA)):
            async with family_tape(name, section="unknown setting") as tape, desk(tape) as provider:
                for unknown in ({"forge_additional_modules": ["x"]}, {"nope_key": 1}):
                    with pytest.raises(ProviderRejectedError) as raised:
                        await provider.generate(request(model=model, options={"override_settings": unknown}), Sink())
                    assert raised.value.param == "provider.options.override_settings"
                assert jobs(tape) == []

    async def test_a_setting_that_it_has_lost_since_is_no_mistake_of_the_clients(self):
        async with family_tape("a1111/errors", section="unknown setting") as tape, desk(tape) as provider:
            with pytest.raises(MisconfiguredError, match="forge_additional_modules"):
                await provider.generate(request(), Sink())
            assert tape.unanswered == []
