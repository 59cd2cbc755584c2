"""What jobs cost is learned, from whatever providers tell; no estimate is ever absurd."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.config import Config
from imagerouter.config.loader import load_text
from imagerouter.engine import Engine
from imagerouter.jobs import Job, Target
from imagerouter.openai import Call
from imagerouter.parameters import between
from imagerouter.provider import Model
from imagerouter.scheduling.costs import GUESSED_LOAD, LONGEST, SURPRISE, Costs, work_of
from imagerouter.types import Hires

anything = st.floats(allow_nan=True, allow_infinity=True)
sensible = st.floats(0, 1000)
observations = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from("ABC"), anything, anything, anything, st.booleans()),
    max_size=60,
)


def learned(*jobs: tuple[float, float], provider: str = "one", model: str = "A") -> Costs:
    """Costs that have seen these (work, seconds) on one provider."""
    costs = Costs()
    for work, seconds in jobs:
        costs.rendered(provider, model, work, seconds)
    return costs


# Rendering


def test_seconds_per_unit_and_the_fixed_part_are_told_apart() -> None:
    costs = learned(*[(work, 2.0 + 0.1 * work) for work in (10.0, 20.0, 40.0)] * 20)
    assert costs.render("one", "A", 100.0) == pytest.approx(12.0, rel=0.05)
    assert costs.render("one", "A", 0.0) == pytest.approx(2.0, rel=0.15)


def test_the_fixed_part_counts_once_per_job() -> None:
    costs = learned(*[(work, 2.0 + 0.1 * work) for work in (10.0, 20.0, 40.0)] * 20)
    four = costs.render("one", "A", 80.0, jobs=4)
    assert four == pytest.approx(4 * costs.render("one", "A", 20.0))


def test_jobs_of_one_size_are_enough_to_know_what_that_size_takes() -> None:
    assert learned(*[(21.0, 3.0)] * 20).render("one", "A", 21.0) == pytest.approx(3.0, rel=0.05)


def test_a_gpu_that_becomes_slower_is_noticed_within_a_few_jobs() -> None:
    costs = learned(*[(20.0, 2.0)] * 50, *[(20.0, 20.0)] * 15)
    assert costs.render("one", "A", 20.0) > 12.0


def test_one_strange_observation_changes_little() -> None:
    costs = learned(*[(20.0, 10.0)] * 30, (20.0, 5000.0))
    assert costs.render("one", "A", 20.0) < 13.0


@given(st.lists(st.tuples(st.floats(1, 100), st.floats(1, 100)), min_size=10, max_size=40), st.floats(0, LONGEST))
def test_no_single_observation_moves_an_estimate_far_beyond_a_surprise(
    known: list[tuple[float, float]], outlier: float
) -> None:
    costs = learned(*known)
    work = known[-1][0]
    before = costs.render("one", "A", work)
    costs.rendered("one", "A", work, outlier)
    assert costs.render("one", "A", work) <= 1.25 * SURPRISE * before + 2.0


@given(observations, st.floats(0, 1000))
def test_estimates_are_finite_and_never_negative_whatever_was_told(jobs: list[Any], work: float) -> None:
    costs = Costs()
    for provider, model, done, seconds, load, cold in jobs:
        costs.ran(provider, model, done, seconds, load, cold=cold)
    for provider in ("one", "two", "three"):
        for model in "ABCD":
            for seconds in (costs.render(provider, model, work), costs.loading(provider, model)):
                assert seconds >= 0
                assert math.isfinite(seconds)


@given(st.lists(st.tuples(sensible, sensible), max_size=30), sensible, sensible)
def test_more_work_never_takes_less_time(jobs: list[tuple[float, float]], work: float, more: float) -> None:
    costs = learned(*jobs)
    assert costs.render("one", "A", work) <= costs.render("one", "A", work + more)


# What isn't known yet


def test_a_model_that_never_ran_is_taken_for_the_others_of_its_provider() -> None:
    costs = learned(*[(20.0, 30.0)] * 20)
    for _ in range(20):
        costs.rendered("two", "A", 20.0, 2.0)
    assert costs.render("one", "B", 20.0) == pytest.approx(costs.render("one", "A", 20.0), rel=0.05)
    assert costs.render("two", "B", 20.0) == pytest.approx(costs.render("two", "A", 20.0), rel=0.15)


def test_a_provider_that_never_ran_is_taken_for_the_others() -> None:
    costs = learned(*[(20.0, 30.0)] * 20)
    assert costs.render("two", "A", 20.0) == pytest.approx(30.0, rel=0.1)


def test_loads_are_guessed_until_one_was_seen_and_then_taken_from_what_is_nearest() -> None:
    costs = Costs()
    assert costs.loading("one", "A") == GUESSED_LOAD
    costs.loaded("one", "A", 4.0)
    costs.loaded("two", "A", 8.0)
    assert (costs.loading("one", "A"), costs.loading("one", "B")) == (4.0, 4.0)
    assert costs.loading("three", "A") == pytest.approx(6.0, rel=0.1)


# From whole jobs


def test_a_load_that_the_provider_tells_is_no_part_of_the_rendering() -> None:
    costs = Costs()
    for _ in range(20):
        costs.ran("one", "A", 20.0, 12.0, 10.0, cold=True)
    assert costs.loading("one", "A") == pytest.approx(10.0)
    assert costs.render("one", "A", 20.0) == pytest.approx(2.0, rel=0.2)


def test_a_load_that_nobody_tells_is_what_a_cold_job_takes_longer() -> None:
    costs = Costs()
    for number in range(60):
        cold = number % 3 == 2
        costs.ran("one", "A", 20.0, 12.0 if cold else 2.0, 0.0, cold=cold)
    assert costs.loading("one", "A") == pytest.approx(10.0, rel=0.1)
    assert costs.render("one", "A", 20.0) == pytest.approx(2.0, rel=0.1)


def test_a_provider_that_never_loads_comes_to_cost_no_load() -> None:
    costs = Costs()
    for number in range(60):
        costs.ran("cloud", "A", 20.0, 2.0, 0.0, cold=number % 3 == 2)
    assert costs.loading("cloud", "A") < 0.5


# The file


@given(observations, sensible)
def test_a_restart_forgets_nothing(tmp_path_factory: pytest.TempPathFactory, jobs: list[Any], work: float) -> None:
    path = tmp_path_factory.mktemp("costs") / "costs.json"
    costs, again = Costs(), Costs()
    for provider, model, done, seconds, load, cold in jobs:
        costs.ran(provider, model, done, seconds, load, cold=cold)
    costs.save(path)
    again.load(path)
    for model in "ABC":
        assert again.render("one", model, work) == pytest.approx(costs.render("one", model, work))
        assert again.loading("one", model) == pytest.approx(costs.loading("one", model))


def test_how_many_jobs_it_was_learned_from_survives_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    costs, again = Costs(), Costs()
    for _ in range(7):
        costs.ran("one", "A", 20.0, 3.0, 0.0, cold=False)
    costs.ran("one", "B", 20.0, 30.0, 25.0, cold=True)
    costs.save(path)
    again.load(path)
    assert {model: known.jobs for model, known in again.known("one").items()} == {"A": 7, "B": 1}
    assert again.jobs == costs.jobs == 8
    assert again.known("nowhere") == {}


def test_a_file_from_before_jobs_were_counted_is_read_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    learned(*[(20.0, 3.0)] * 20).save(path)
    old = re.sub(rb',"jobs":[0-9]+', b"", path.read_bytes())
    assert b"jobs" not in old
    path.write_bytes(old)
    again = Costs()
    again.load(path)
    assert again.render("one", "A", 20.0) == pytest.approx(3.0, rel=0.1)
    assert again.known("one")["A"].jobs == again.jobs == 0


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"version": 99}',
     '{"version": 1, "models": {"one": {"A": {"render": {"n": -1}}}}}',
     '{"version": 1, "models": {"one": {"A": {"load": {"n": 1, "value": 1e99}}}}}'],
)  # fmt: skip
def test_a_file_that_makes_no_sense_is_ignored(tmp_path: Path, content: str) -> None:
    path = tmp_path / "costs.json"
    path.write_text(content)
    costs = learned(*[(20.0, 3.0)] * 20)
    costs.load(path)
    assert costs.render("one", "A", 20.0) == pytest.approx(3.0, rel=0.1)


def test_a_file_with_sums_that_no_jobs_add_up_to_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(
        '{"version": 1, "models": {"one": {"A": {"render": {"n": 5, "x": 900, "xx": 1, "y": 3, "xy": 8}}}}}'
    )
    costs = Costs()
    costs.load(path)
    assert 0 <= costs.render("one", "A", 20.0) < LONGEST


def test_no_file_is_no_problem(tmp_path: Path) -> None:
    Costs().load(tmp_path / "costs.json")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    learned((20.0, 3.0)).save(path)
    before = path.read_bytes()
    (tmp_path / "costs.json.new").mkdir()
    with pytest.raises(IsADirectoryError):
        learned((20.0, 9.0)).save(path)
    assert path.read_bytes() == before


FAKE = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', load_seconds: 0.02}}"


async def test_every_picture_that_is_drawn_teaches_what_it_cost() -> None:
    async with Engine(load_text(FAKE)) as engine:
        await engine.fleet.settled()
        outcome = await engine.run(Call(job()))
        load = engine.scheduler.costs.loading(outcome.target.provider, outcome.target.model.id)
    assert load == pytest.approx(outcome.load_ms / 1000)
    assert 0.02 <= load < GUESSED_LOAD


async def test_what_the_engine_has_learned_outlives_it(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    async with Engine(Config(), costs_file=path) as engine:
        engine.scheduler.costs.loaded("one", "A", 4.0)
    async with Engine(Config(), costs_file=path) as engine:
        assert engine.scheduler.costs.loading("one", "A") == 4.0


async def test_costs_that_cannot_be_saved_keep_nobody_from_stopping(tmp_path: Path) -> None:
    async with Engine(Config(), costs_file=tmp_path / "nowhere" / "costs.json"):
        pass


# Work


def job(n: int = 1, **params: Any) -> Job:
    return Job("a cat", params, n=n)


SDXL = Target("one", Model(id="sdxl", width=1000, height=1000, parameters={"steps": between(1, 100, 30)}))


@pytest.mark.parametrize(
    ("wanted", "work"),
    [
        (job(), 30.0),
        (job(n=4), 120.0),
        (job(steps=10), 10.0),
        (job(steps=10, width=2000, height=500), 10.0),
        (job(steps=10, width=500, height=500), 2.5),
        (job(steps=10, hires=Hires(scale=2.0, steps=5, strength=0.5)), 20.0),
    ],
)
def test_work_is_steps_times_megapixels_of_all_images(wanted: Job, work: float) -> None:
    assert work_of(wanted.on(SDXL)) == pytest.approx(work)


def test_a_target_that_tells_nothing_still_has_work() -> None:
    assert work_of(job().on(Target("one", Model(id="x")))) > 0
