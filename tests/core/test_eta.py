"""How long a job will still take."""

from hypothesis import given
from hypothesis import strategies as st

from imagerouter.dispatching.eta import Eta
from imagerouter.types import Progress


def at(step: int, steps: int = 20, image: int | None = 0) -> Progress:
    return Progress(step=step, steps=steps, image_index=image)


def test_what_was_learned_counts_until_the_job_shows_its_own_speed() -> None:
    eta = Eta(expected=10.0, n=1, started=100.0)
    assert eta.left(Progress(stage="load"), 102.0) == 8.0
    assert eta.left(at(1), 103.0) == 7.0
    assert eta.left(at(11), 113.0) == 9.0, "half of the work took 10 seconds, and 9 steps are left"


def test_a_job_that_takes_longer_than_expected_is_never_late_by_less_than_nothing() -> None:
    assert Eta(expected=1.0, n=1, started=0.0).left(Progress(stage="load"), 5.0) == 0.0


def test_images_that_are_drawn_one_by_one_all_count() -> None:
    eta = Eta(expected=100.0, n=4, started=0.0)
    eta.left(at(0), 0.0)
    assert eta.left(at(0, image=1), 5.0) == 15.0
    assert eta.left(at(20, image=3), 20.0) == 0.0


def test_images_that_are_drawn_together_count_as_one() -> None:
    eta = Eta(expected=100.0, n=4, started=0.0)
    eta.left(at(0, image=None), 0.0)
    assert eta.left(at(10, image=None), 5.0) == 5.0


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.none() | st.integers(0, 9), st.floats(0, 100))),
    st.integers(1, 10),
)
def test_it_is_a_number_of_seconds_whatever_an_adapter_reports(
    reports: list[tuple[int, int, int | None, float]], n: int
) -> None:
    eta, now = Eta(expected=5.0, n=n, started=0.0), 0.0
    for step, steps, image, passed in reports:
        now += passed
        assert 0.0 <= eta.left(at(step, steps, image), now) < float("inf")
