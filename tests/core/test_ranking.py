"""In which tiers the targets are tried, and who of a tier goes first."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.jobs import Job, Preferences, Sort, Target
from imagerouter.provider import Model
from imagerouter.routing.prices import Price
from imagerouter.routing.ranking import ranked
from imagerouter.routing.rules import Rule
from imagerouter.scheduling.costs import Forecast

NAMES = ("desk", "attic", "cloud")
TYPES = {"desk": "comfyui", "attic": "a1111", "cloud": "openai"}
SECONDS = {
    "desk": Forecast(queue=30.0, load=0.0, render=2.0),
    "attic": Forecast(queue=0.0, load=9.0, render=8.0),
    "cloud": Forecast(queue=0.0, load=0.0, render=10.0),
}


def target(provider: str, order: int = 0, price: float = 0.0, model: str = "m") -> Target:
    return Target(provider, Model(id=model), order=order, price=Price(image=price))


def wishing(**wishes: Any) -> Job:
    return Job(prompt="x", preferences=Preferences(**wishes))


def rank(
    job: Job | None = None, rules: tuple[Rule, ...] = (), targets: tuple[Target, ...] = ()
) -> tuple[list[list[str]], dict[str, int]]:
    """The providers of each tier, and their places."""
    listed = targets or tuple(target(name) for name in NAMES)
    applied = {each.name: rules for each in listed}
    tiers, ranks = ranked(job or wishing(), listed, TYPES, applied, lambda _, to: SECONDS[to.provider])
    return [[each.provider for each in tier] for tier in tiers], ranks


def test_without_any_wish_all_are_equal() -> None:
    assert rank() == ([["desk", "attic", "cloud"]], {})


def test_where_nothing_can_serve_there_is_no_tier() -> None:
    assert ranked(wishing(), [], TYPES, {}, None) == ((), {})


def test_targets_of_a_higher_order_are_a_tier_of_their_own_in_their_order() -> None:
    targets = target("desk", order=5), target("attic"), target("cloud", order=5)
    assert rank(targets=targets) == ([["attic"], ["desk", "cloud"]], {})


@pytest.mark.parametrize("name", ["desk", "comfyui"])
def test_a_provider_that_a_rule_avoids_comes_after_all_others_whatever_their_order(name: str) -> None:
    targets = target("desk"), target("attic", order=1), target("cloud", order=2)
    assert rank(rules=(Rule(avoid=(name,)),), targets=targets)[0] == [["attic"], ["cloud"], ["desk"]]


def test_when_a_rule_avoids_all_of_them_it_changes_nothing() -> None:
    assert rank(rules=(Rule(avoid=NAMES),)) == ([["desk", "attic", "cloud"]], {})


@pytest.mark.parametrize("name", ["attic", "a1111"])
def test_a_preferred_provider_goes_first_within_its_tier(name: str) -> None:
    tiers, ranks = rank(rules=(Rule(prefer=(name,)),))
    assert tiers == [["attic", "desk", "cloud"]]
    assert ranks == {"attic": 0, "desk": 1, "cloud": 1}
    targets = target("desk"), target("attic", order=1)
    assert rank(rules=(Rule(prefer=(name,)),), targets=targets)[0] == [["desk"], ["attic"]]


def test_the_clients_order_goes_first_and_the_others_are_equal_behind_it() -> None:
    tiers, ranks = rank(wishing(order=("openai", "attic")))
    assert tiers == [["cloud", "attic", "desk"]]
    assert ranks == {"cloud": 0, "attic": 1, "desk": 2}


def test_the_clients_order_outdoes_that_of_the_file_and_what_rules_prefer_or_avoid() -> None:
    targets = target("desk"), target("attic", order=1), target("cloud", order=2)
    rules = (Rule(prefer=("desk",), avoid=("cloud",)),)
    tiers, ranks = rank(wishing(order=("cloud",)), rules, targets)
    assert tiers == [["cloud", "desk", "attic"]]
    assert ranks == {"cloud": 0, "desk": 1, "attic": 2}


def test_who_asks_for_nothing_but_an_avoided_provider_isnt_avoiding_it() -> None:
    assert rank(wishing(only=("cloud", "desk")), (Rule(avoid=("cloud",)),), (target("cloud"), target("desk"))) == (
        [["cloud", "desk"]],
        {},
    )


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("price", ["attic", "desk", "cloud"]),
        ("latency", ["cloud", "attic", "desk"]),
        ("throughput", ["desk", "attic", "cloud"]),
    ],
)
def test_the_client_may_sort_by_price_by_latency_or_by_throughput(sort: Sort, order: list[str]) -> None:
    targets = target("cloud", price=0.04), target("desk", price=0.02), target("attic", price=0.01)
    tiers, ranks = rank(wishing(sort=sort), targets=targets)
    assert tiers == [order]
    assert ranks == {name: place for place, name in enumerate(order)}


def test_equal_prices_are_equal_places() -> None:
    targets = target("cloud", price=0.04), target("desk"), target("attic")
    assert rank(wishing(sort="price"), targets=targets)[1] == {"desk": 0, "attic": 0, "cloud": 1}
    assert rank(wishing(sort="price"), targets=targets[1:])[1] == {}


def test_the_price_is_that_of_the_whole_request() -> None:
    flat = Target("desk", Model(id="m"), price=Price(request=0.05))
    each = Target("attic", Model(id="m"), price=Price(image=0.02))
    job = Job(prompt="x", n=2, preferences=Preferences(sort="price"))
    assert rank(job, targets=(flat, each))[0] == [["attic", "desk"]]
    job = Job(prompt="x", n=3, preferences=Preferences(sort="price"))
    assert rank(job, targets=(flat, each))[0] == [["desk", "attic"]]


def test_sorting_outdoes_the_order_of_the_file_but_not_what_rules_avoid() -> None:
    targets = target("desk", price=0.03), target("attic", order=1, price=0.02), target("cloud", price=0.01)
    assert rank(wishing(sort="price"), (Rule(avoid=("cloud",)),), targets)[0] == [["attic", "desk"], ["cloud"]]


def test_the_clients_order_counts_before_what_it_sorts_by() -> None:
    targets = target("desk", price=0.03), target("attic", price=0.02), target("cloud", price=0.01)
    assert rank(wishing(order=("desk",), sort="price"), targets=targets)[0] == [["desk", "cloud", "attic"]]


def test_of_two_models_on_one_provider_the_better_one_gives_its_place() -> None:
    targets = target("desk", price=0.09, model="big"), target("desk", price=0.01), target("attic", price=0.05)
    tiers, ranks = ranked(wishing(sort="price"), targets, TYPES, {}, None)
    assert [each.name for tier in tiers for each in tier] == ["desk/m", "attic/m", "desk/big"]
    assert ranks == {"desk": 0, "attic": 1}


providers = st.sampled_from([*NAMES, "comfyui", "a1111", "openai"])
lists = st.lists(providers, max_size=3).map(tuple)


@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 2), st.sampled_from([0.0, 0.01, 0.02])), max_size=6),
    st.builds(Preferences, order=lists, only=lists, sort=st.sampled_from([None, "price", "latency", "throughput"])),
    st.builds(Rule, prefer=lists, avoid=lists),
)
def test_every_target_is_in_one_tier_and_no_tier_has_two_orders_without_the_clients_will(
    drawn: list[tuple[str, int, float]], wishes: Preferences, rule: Rule
) -> None:
    listed = [target(name, order, price, model=f"m{place}") for place, (name, order, price) in enumerate(drawn)]
    job = Job(prompt="x", preferences=wishes)
    rules = {each.name: (rule,) for each in listed}
    tiers, ranks = ranked(job, listed, TYPES, rules, lambda _, to: SECONDS[to.provider])
    assert sorted(each.name for tier in tiers for each in tier) == sorted(each.name for each in listed)
    assert all(tiers)
    assert not ranks or ranks.keys() == {each.provider for each in listed}
    assert not ranks or min(ranks.values()) == 0
    if not wishes.order and not wishes.sort:
        assert all(len({each.order for each in tier}) == 1 for tier in tiers)
    for tier in tiers:
        # The first of each provider counts: that one is in the order of the places.
        firsts = list(dict.fromkeys(each.provider for each in tier))
        best = [min(place for name, place in ranks.items() if name == first) for first in firsts] if ranks else []
        assert len(tiers) > 1 or best == sorted(best)
