"""Which of a server's settings a job changes, and how its checkpoint is spelled."""

from __future__ import annotations

import pytest
from tests.providers.a1111.orders_of import FOLDER, INK, SUB, order, recipe, stock

from imagerouter_a1111.config import A1111Config, DialectName
from imagerouter_a1111.recipe import Checkpoint
from imagerouter_a1111.sdapi.payload import settings, spelling

CONFIG = A1111Config()


def test_pictures_come_without_their_prompt_unless_metadata_is_kept() -> None:
    assert settings(order(), stock(), CONFIG) == {"sd_model_checkpoint": "ink", "enable_pnginfo": False}
    assert settings(order(), stock(), A1111Config(keep_metadata=True)) == {"sd_model_checkpoint": "ink"}


def test_a_vae_is_a_setting() -> None:
    assert settings(order(vae="soft.pt"), stock(), CONFIG)["sd_vae"] == "soft.pt"


def test_forge_takes_a_vae_together_with_the_models_modules() -> None:
    one = order(vae="ae.safetensors", of=recipe(modules=["clip_l.safetensors", "ae.safetensors"]))
    modules = settings(one, stock("forge"), CONFIG)["forge_additional_modules"]
    assert modules == ["clip_l.safetensors", "ae.safetensors"]


def test_forge_keeps_its_owners_modules_for_a_model_that_names_none() -> None:
    assert "forge_additional_modules" not in settings(order(), stock("forge"), CONFIG)


def test_settings_of_model_client_and_parameters_go_before_each_other_in_this_order() -> None:
    of = recipe(settings={"eta_noise_seed_delta": 1, "sd_vae": "a.pt", "CLIP_stop_at_last_layers": 3})
    client = {"override_settings": {"eta_noise_seed_delta": 2, "CLIP_stop_at_last_layers": 4}}
    found = settings(order(of=of, options=client, clip_skip=2), stock(), CONFIG)
    assert (found["eta_noise_seed_delta"], found["sd_vae"], found["CLIP_stop_at_last_layers"]) == (2, "a.pt", 2)


def test_an_owners_settings_that_would_spoil_the_answer_are_turned_off() -> None:
    owners = {**stock().settings, "return_mask": True, "use_old_hires_fix_width_height": True}
    found = settings(order(), stock(settings=owners), CONFIG)
    assert found["return_mask"] is found["use_old_hires_fix_width_height"] is False
    assert "return_mask_composite" not in found


@pytest.mark.parametrize("dialect", ["forge", "sdnext"])
def test_servers_that_list_only_changed_settings_are_told_the_checkpoint_and_the_vae_anyway(
    dialect: DialectName,
) -> None:
    server = stock(dialect, settings={})
    found = settings(order(vae="soft.pt"), server, CONFIG)
    assert found.keys() == {"sd_model_checkpoint", server.dialect.vae_setting}


# Checkpoints


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ("ink.safetensors [6da5305858]", "ink.safetensors [6da5305858]"),
        ("ink.safetensors", "ink.safetensors"),
        ("ink", "ink"),
        ("6da5305858", "6da5305858"),
        ("sub/oil.safetensors", "ink"),
        ("", "ink"),
        (None, "ink"),
    ],
)
def test_a_checkpoint_is_spelled_as_the_settings_have_it(current: str | None, expected: str) -> None:
    assert spelling(INK, stock(settings={"sd_model_checkpoint": current})) == expected


def test_a_folder_that_has_never_been_chosen_goes_by_its_name() -> None:
    other = Checkpoint("Diffusers/tiny/sdB [0123456789]", "Diffusers/tiny/sdB", "Diffusers/tiny/sdB", "0123456789")
    assert spelling(other, stock("sdnext", checkpoints=(FOLDER, other))) == "Diffusers/tiny/sdB"


def test_a_name_that_could_mean_another_checkpoint_is_never_sent() -> None:
    twin = Checkpoint("sub/ink.safetensors", "sub_ink", "sub/ink.safetensors")
    clash = Checkpoint("sub_oil.safetensors", "sub_oil", "sub_oil.safetensors")
    server = stock(checkpoints=(INK, twin, SUB, clash), settings={"sd_model_checkpoint": "sub_oil"})
    assert [spelling(one, server) for one in server.checkpoints] == [INK.title, "sub_ink", SUB.title, clash.title]
