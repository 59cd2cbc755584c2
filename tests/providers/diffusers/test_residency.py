"""Which loaded model has to go."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from imagerouter_diffusers.residency import Residents, bytes_of

MEGABYTE = 2**20


def pipe(megabytes: int) -> Any:
    return torch.nn.Linear(megabytes * MEGABYTE // 4, 1, bias=False)


@pytest.fixture
def residents() -> Residents:
    made = Residents("cpu")
    made.budget = 10 * MEGABYTE
    return made


def use(residents: Residents, key: str, megabytes: int) -> None:
    with residents.use(key, megabytes * MEGABYTE, lambda: pipe(megabytes)):
        pass


def test_a_loaded_model_is_not_loaded_again(residents: Residents) -> None:
    loads = []
    for _ in range(3):
        with residents.use("a", 0, lambda: loads.append(1) or pipe(1)):
            pass
    assert len(loads) == 1


def test_the_one_that_was_not_used_for_longest_goes_first(residents: Residents) -> None:
    for key in ("a", "b", "a", "c"):
        use(residents, key, 4)
    assert residents.keys() == {"a", "c"}


def test_room_is_made_before_a_model_is_loaded(residents: Residents) -> None:
    use(residents, "a", 8)
    seen = []
    with residents.use("b", 8 * MEGABYTE, lambda: seen.append(residents.keys()) or pipe(8)):
        pass
    assert seen == [frozenset()]


def test_what_is_in_use_is_never_dropped(residents: Residents) -> None:
    with residents.use("a", 8 * MEGABYTE, lambda: pipe(8)):
        use(residents, "b", 8)
        assert "a" in residents.keys()  # noqa: SIM118 - not a mapping
        residents.evict_idle()
        assert residents.keys() == {"a"}


def test_a_model_larger_than_the_budget_is_still_loaded_alone(residents: Residents) -> None:
    use(residents, "a", 4)
    use(residents, "huge", 20)
    assert residents.keys() == {"huge"}


def test_a_load_that_fails_leaves_nothing_behind(residents: Residents) -> None:
    def fail() -> Any:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"), residents.use("a", 0, fail):
        pass
    assert residents.keys() == frozenset()


def test_shared_weights_are_counted_once() -> None:
    one = pipe(2)
    other = torch.nn.Sequential(one, one)
    assert bytes_of(one, other) == 2 * MEGABYTE
