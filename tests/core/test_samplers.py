from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.samplers import SAMPLERS, SCHEDULERS, scheduler, split

SAMPLER_SPELLINGS = [(spelling, name) for name, labels in SAMPLERS.items() for spelling in (name, *labels)]
SCHEDULER_SPELLINGS = [(spelling, name) for name, labels in SCHEDULERS.items() for spelling in (name, *labels)]


@pytest.mark.parametrize(("spelling", "name"), SAMPLER_SPELLINGS)
def test_every_spelling_of_a_sampler_is_understood_in_any_case(spelling, name):
    for written in (spelling, spelling.lower(), spelling.upper(), f" {spelling} "):
        assert split(written) == (name, None)


@pytest.mark.parametrize(("spelling", "name"), SCHEDULER_SPELLINGS)
def test_every_spelling_of_a_scheduler_is_understood_in_any_case(spelling, name):
    for written in (spelling, spelling.lower(), spelling.upper(), f" {spelling} "):
        assert scheduler(written) == name


def test_every_sampler_can_be_followed_by_every_scheduler():
    for (sampler, name), (schedule, scheduled) in product(SAMPLER_SPELLINGS, SCHEDULER_SPELLINGS):
        assert split(f"{sampler} {schedule}") == (name, scheduled), f"{sampler} {schedule}"


def test_what_a1111_shows_becomes_a_pair():
    assert split("DPM++ 2M Karras") == ("dpmpp_2m", "karras")
    assert split("DPM++ 2M SDE Exponential") == ("dpmpp_2m_sde", "exponential")
    assert split("Euler a") == ("euler_ancestral", None)


@pytest.mark.parametrize("name", ["restart_v2", "Karras", "", "euler karras karras", "DPM++"])
def test_a_name_that_no_table_knows_comes_back_unchanged(name):
    assert split(name) == (name, None)


def test_no_spelling_stands_for_two_samplers():
    folded = [(spelling.casefold(), name) for spelling, name in SAMPLER_SPELLINGS]
    assert len(dict(folded)) == len({*folded})


words = st.sampled_from([spelling for spelling, _ in SAMPLER_SPELLINGS + SCHEDULER_SPELLINGS] + ["_", "-", " "])


@given(st.text() | st.lists(words, max_size=4).map(" ".join))
def test_splitting_never_fails_and_what_comes_out_is_settled(name):
    sampler, schedule = split(name)
    assert split(sampler)[0] == sampler
    assert schedule is None or (sampler in SAMPLERS and schedule in SCHEDULERS)
    assert scheduler(scheduler(name)) == scheduler(name)


@given(st.sampled_from(sorted(SAMPLERS)), st.sampled_from(sorted(SCHEDULERS)))
def test_canonical_names_stay_what_they_are(sampler, schedule):
    assert split(sampler) == (sampler, None)
    assert scheduler(schedule) == schedule
