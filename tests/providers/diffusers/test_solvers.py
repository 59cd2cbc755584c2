"""Samplers against what ComfyUI's own made of a toy model, step noise included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from imagerouter_diffusers import latents, schedules
from imagerouter_diffusers.canonical import sigmas_of
from imagerouter_diffusers.samplers import Choice
from imagerouter_diffusers.solvers import SOLVERS
from imagerouter_diffusers.strength import schedule

TAPE = json.loads((Path(__file__).parents[2] / "tapes" / "parity" / "samplers.json").read_text())["samplers"]
SEED, STEPS, SHAPE = 5, 6, (1, 2, 4, 4)


def toy(x: Any, sigma: Any) -> Any:
    seen = x / (sigma**2 + 1) ** 0.5
    return 2 * torch.tanh(1.7 * seen + 0.5 * torch.roll(seen, 1, -1))


def drawn(name: str, seeds: list[int]) -> tuple[Any, list[float]]:
    """Latents, and the sigmas at which the model was looked at."""
    solver, table = SOLVERS[name], schedules.table()
    sigmas = sigmas_of(Choice(name, "karras", solver), schedule(STEPS, 1.0), table)
    if solver.noise == "brownian":
        pytest.importorskip("torchsde")
        noise: Any = latents.BrownianNoise(SHAPE, seeds, "cpu", sigmas)
    else:
        noise = latents.FreshNoise(SHAPE, seeds, "cpu")
    start = latents.draw_noise(SHAPE, latents.generators(seeds)) * table.start(sigmas[0])
    run, looks = solver.run(start, sigmas.unbind(), noise), []
    try:
        x, sigma = next(run)
        while True:
            looks.append(float(sigma))
            x, sigma = run.send(toy(x, sigma))
    except StopIteration as done:
        return done.value, looks


@pytest.mark.parametrize("name", SOLVERS)
def test_a_sampler_draws_what_it_draws_in_comfyui(name: str) -> None:
    found, looks = drawn(name, [SEED])
    assert looks == pytest.approx(TAPE[name]["sigmas"], abs=2e-6)
    assert found.flatten().tolist() == pytest.approx(TAPE[name]["latents"], abs=1e-4)
    assert len(looks) == SOLVERS[name].calls * (STEPS - 1) + 1


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2m", "dpmpp_2m_sde"])
def test_pictures_drawn_together_are_those_drawn_alone(name: str) -> None:
    together, _ = drawn(name, [SEED, SEED + 1])
    for place, seed in enumerate((SEED, SEED + 1)):
        assert torch.allclose(together[place], drawn(name, [seed])[0][0], atol=1e-5)
