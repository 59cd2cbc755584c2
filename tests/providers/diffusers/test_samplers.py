"""The sampler table against the real classes, and on the built-in model's real weights."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from imagerouter import InvalidParameterError, ProviderRejectedError
from imagerouter.samplers import SAMPLERS, SCHEDULERS
from imagerouter_diffusers import samplers
from imagerouter_diffusers.samplers import FLOW_TABLE, SPACINGS, TABLE
from imagerouter_diffusers.schedules import SCHEDULERS as SCHEDULES_OF_OURS
from imagerouter_diffusers.solvers import SOLVERS, Solver
from imagerouter_diffusers.traits import Traits

SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
SD1 = Traits("StableDiffusionPipeline", "PNDMScheduler", SD, multiple=8, is_canonical=True, family="sd1")
OLD = Traits("StableDiffusionPipeline", "PNDMScheduler", SD, multiple=8)
TRAILING = Traits("StableDiffusionPipeline", "EulerDiscreteScheduler", SD | {"timestep_spacing": "trailing"})
FLOW = Traits("FluxPipeline", "FlowMatchEulerDiscreteScheduler", {})
ROWS = sorted(samplers.available(OLD))
CANONICAL = samplers.available(SD1)
# Making one of these takes long, and their schedules are made by the same lines.
SLOW = {"dpm_2", "dpm_2_ancestral"}
PAIRS = [
    (name, schedule)
    for name in ROWS
    for schedule in TABLE[name].schedules
    if schedule != "beta" and (name not in SLOW or schedule in ("normal", "karras"))
]


def built(sampler: str, scheduler: str | None = None, steps: int = 5, traits: Traits = OLD) -> Any:
    import diffusers

    own = getattr(diffusers, traits.scheduler)(**traits.scheduler_config)
    made = samplers.build(samplers.choose(traits, sampler, scheduler), own, steps)
    made.set_timesteps(steps)
    return made


def test_every_name_in_the_table_is_a_canonical_one() -> None:
    assert set(TABLE) | set(FLOW_TABLE) | set(SOLVERS) <= set(SAMPLERS)
    used = {name for row in [*TABLE.values(), *FLOW_TABLE.values(), *SOLVERS.values()] for name in row.schedules}
    assert set(SCHEDULES_OF_OURS) <= set(SPACINGS)
    assert used <= set(SPACINGS) <= set(SCHEDULERS)


@pytest.mark.parametrize(("sampler", "scheduler"), PAIRS)
def test_every_pair_makes_a_scheduler_that_goes_from_noise_to_picture(sampler: str, scheduler: str) -> None:
    times = [float(time) for time in built(sampler, scheduler).timesteps]
    assert times[0] > 750
    assert times[-1] < 300
    # Second-order samplers look half a step ahead, which may round to the same time.
    assert all(later < earlier + 0.5 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize("sampler", ROWS)
async def test_every_sampler_draws_something_with_the_built_in_model(studio: Any, sampler: str) -> None:
    picture = await studio.pixels("builtin", sampler=sampler, steps=2, width=96, height=64)
    assert picture.std() > 5
    assert studio.progress[-1].step == 2


@pytest.mark.parametrize("sampler", sorted(CANONICAL))
async def test_every_sampler_runs_through_an_edit(studio: Any, scene: Any, sampler: str) -> None:
    images = await studio.draw("sd1", images=(scene,), sampler=sampler, strength=0.4)
    assert images.applied["sampler"] == sampler
    assert images.applied["scheduler"] == CANONICAL[sampler].schedules[0]
    assert studio.progress[-1].step == studio.progress[-1].steps == 2


def test_karras_sigmas_are_those_of_comfyui() -> None:
    low, high, rho = 0.0291675, 14.614643, 7.0
    ramp = np.linspace(0, 1, 5)
    expected = (high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    assert np.allclose(built("dpmpp_2m", "karras").sigmas[:-1], expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("scheduler", "first", "last"), [("normal", 999, 0), ("simple", 999, 199), ("ddim_uniform", 801, 1)]
)
def test_uniform_schedulers_space_their_steps_as_comfyui_does(scheduler: str, first: int, last: int) -> None:
    times = built("euler", scheduler).timesteps
    assert (round(float(times[0])), round(float(times[-1]))) == (first, last)


def test_a_repositorys_leading_spacing_is_never_taken_over() -> None:
    assert built("euler").config.timestep_spacing == "linspace"
    assert samplers.default(OLD).scheduler == "karras"
    assert samplers.default(OLD).sampler == "dpmpp_2m"


def test_a_model_made_for_trailing_spacing_keeps_it_with_every_sampler() -> None:
    assert samplers.default(TRAILING).row is None
    assert (samplers.default(TRAILING).sampler, samplers.default(TRAILING).scheduler) == ("euler", "simple")
    assert built("heun", traits=TRAILING).config.timestep_spacing == "trailing"


def test_a_model_that_is_used_to_karras_from_pure_noise_keeps_that() -> None:
    karras = replace(TRAILING, scheduler_config=(TRAILING.scheduler_config or {}) | {"use_karras_sigmas": True})
    assert samplers.default(karras) == samplers.Choice("euler", "karras", None)
    assert samplers.choose(karras, "dpmpp_2m", None).scheduler == "karras"
    assert samplers.choose(karras, "euler", "normal").scheduler == "normal"


def test_what_other_programs_draw_too_is_drawn_by_our_own_solvers() -> None:
    assert isinstance(samplers.default(SD1).row, Solver)
    turbo = Traits(TRAILING.pipeline, TRAILING.scheduler, TRAILING.scheduler_config, is_canonical=True, family="sdxl")
    assert samplers.default(turbo) == samplers.Choice("euler", "simple", SOLVERS["euler"])
    # Nobody has compared these.
    assert not isinstance(samplers.choose(SD1, "uni_pc", None).row, Solver)


def test_a_flow_matching_model_gets_only_what_can_drive_it() -> None:
    assert list(samplers.available(FLOW)) == ["euler"]
    sd3 = Traits("StableDiffusion3Pipeline", "FlowMatchEulerDiscreteScheduler", {})
    assert list(samplers.available(sd3)) == ["euler", "heun"]


def test_a_sampler_whose_package_is_missing_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samplers, "find_spec", lambda name: None)
    assert not {"lms", "dpmpp_sde"} & set(samplers.available(OLD))
    assert "dpmpp_sde" not in samplers.available(SD1)
    assert "beta" not in samplers.schedules(OLD)
    monkeypatch.setattr(samplers, "find_spec", lambda name: object())
    assert {"lms", "dpmpp_sde"} <= set(samplers.available(OLD))
    assert "beta" in samplers.schedules(OLD)


def test_an_unknown_sampler_is_refused_with_the_list_of_known_ones() -> None:
    with pytest.raises(InvalidParameterError, match="dpmpp_2m") as raised:
        samplers.choose(OLD, "ddim_magic", None)
    assert raised.value.param == "sampler"


def test_a_pair_that_does_not_go_together_is_left_to_another_provider() -> None:
    with pytest.raises(ProviderRejectedError, match="euler_ancestral") as raised:
        samplers.choose(OLD, "euler_ancestral", "karras")
    assert raised.value.param == "scheduler"


def test_lcm_takes_more_steps_than_it_was_distilled_for() -> None:
    assert len(built("lcm", steps=60).timesteps) == 60
