"""Sigmas and timesteps against those that real servers computed, and what holds for all of them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as some

from imagerouter_diffusers import canonical, schedules
from imagerouter_diffusers.samplers import Choice
from imagerouter_diffusers.solvers import SOLVERS
from imagerouter_diffusers.strength import schedule

TAPE = json.loads((Path(__file__).parents[2] / "tapes" / "parity" / "sigmas.json").read_text())
WITHOUT_SCIPY = sorted(set(schedules.SCHEDULERS) - {"beta"})


def made(sampler: str, scheduler: str, key: str) -> tuple[list[float], list[int]]:
    """:param key: as in the recording, ``"8"`` or ``"8 strength 0.5"``."""
    steps, _, strength = key.partition(" strength ")
    table = schedules.table()
    planned = schedule(int(steps), float(strength or 1))
    sigmas = canonical.sigmas_of(Choice(sampler, scheduler, SOLVERS[sampler]), planned, table)
    return sigmas.tolist(), [table.timestep(sigma) for sigma in sigmas[:-1]]


@pytest.mark.parametrize(
    ("server", "group", "scheduler"),
    [
        (server, group, scheduler)
        for server in ("comfyui", "a1111")
        for group in ("schedules", "schedules_of_dpm_2")
        for scheduler in TAPE[server][group]
    ],
)
def test_steps_begin_where_those_of_real_servers_do(server: str, group: str, scheduler: str) -> None:
    sampler = "dpm_2" if group == "schedules_of_dpm_2" else "euler"
    for key, (sigmas, timesteps) in TAPE[server][group][scheduler].items():
        ours = made(sampler, scheduler, key)
        # A1111 keeps the table behind its sigmas in single precision.
        tolerance = 1e-6 if server == "comfyui" else 2e-5
        assert torch.allclose(torch.tensor(ours[0]), torch.tensor(sigmas), rtol=tolerance, atol=1e-7), key
        assert ours[1] == timesteps, key


def test_beta_takes_quantiles_of_its_distribution() -> None:
    pytest.importorskip("scipy")
    _, timesteps = made("euler", "beta", "6")
    assert timesteps == [999, 908, 724, 500, 275, 91]


@given(
    scheduler=some.sampled_from(WITHOUT_SCIPY),
    steps=some.integers(1, 200),
    zero_snr=some.booleans(),
)
def test_every_schedule_goes_down_to_0_over_training_steps(scheduler: str, steps: int, zero_snr: bool) -> None:
    table = schedules.table(zero_snr=zero_snr)
    sigmas = schedules.sigmas(scheduler, steps, table)
    assert sigmas[-1] == 0
    assert all(later < earlier for earlier, later in itertools.pairwise(sigmas.tolist()))
    if scheduler != "ddim_uniform":
        assert len(sigmas) == steps + 1
    timesteps = [table.timestep(sigma) for sigma in sigmas[:-1]]
    assert timesteps == sorted(timesteps, reverse=True)
    assert 0 <= timesteps[-1] <= timesteps[0] <= 999


def test_ddim_uniform_takes_a_step_more_where_the_steps_do_not_divide_the_training_steps() -> None:
    table = schedules.table()
    assert [len(schedules.sigmas("ddim_uniform", steps, table)) - 1 for steps in (5, 6, 8)] == [5, 7, 8]


@pytest.mark.parametrize("zero_snr", [False, True])
def test_only_a_run_from_the_top_starts_from_pure_noise(zero_snr: bool) -> None:
    table = schedules.table(zero_snr=zero_snr)
    top, below = table.sigmas[-1], table.sigmas[-2]
    assert float(table.start(top)) == pytest.approx((1 + float(top) ** 2) ** 0.5)
    assert table.start(below) == below


def test_a_model_trained_down_to_no_signal_has_another_top() -> None:
    plain, zero = schedules.table(), schedules.table(zero_snr=True)
    assert plain.high == pytest.approx(14.614643)
    assert zero.high == pytest.approx(4518.7, rel=1e-3)
    assert plain.low == pytest.approx(zero.low)
