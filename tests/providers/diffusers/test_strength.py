from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from imagerouter_diffusers.strength import schedule


@given(steps=some.integers(1, 200), strength=some.floats(0.001, 1))
def test_exactly_the_promised_steps_are_run_however_a_pipeline_rounds(steps: int, strength: float) -> None:
    made = schedule(steps, strength)
    assert 1 <= made.run <= steps
    assert min(int(made.steps * made.strength), made.steps) == made.run


@pytest.mark.parametrize(("steps", "strength", "whole"), [(20, 0.5, 40), (20, 1.0, 20), (6, 0.3, 20)])
def test_an_edit_runs_all_its_steps_on_a_longer_schedule(steps: int, strength: float, whole: int) -> None:
    made = schedule(steps, strength)
    assert (made.run, made.steps) == (steps, whole)


def test_a_strength_too_small_for_a_step_still_runs_one() -> None:
    assert schedule(1, 0.0001).run == 1


@pytest.mark.parametrize(
    ("model", "strength"), [("sd1", 0.05), ("sd1", 0.9), ("sd1", 1.0), ("sdxl", 0.3), ("flux", 0.3), ("flux", 0.05)]
)
async def test_as_many_steps_are_reported_as_are_asked_for(
    studio: Any, scene: Any, model: str, strength: float
) -> None:
    images = await studio.draw(model, images=(scene,), strength=strength, steps=3)
    assert images.applied["steps"] == 3
    assert [progress.step for progress in studio.progress if progress.stage == "render"] == [1, 2, 3]
