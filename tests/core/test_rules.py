"""Which rule a job on a target meets."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.routing.rules import DAYS, Facts, Rule, When, first_match, holds
from imagerouter.types import Operation

MONDAY = datetime(2026, 6, 1, 12, 0)
FACTS = Facts(
    model="SDXL [v1]",
    asked="dall-e-3",
    operation=Operation.GENERATE,
    width=1024,
    height=768,
    steps=30,
    n=2,
    key="team-a",
    headers={"x-tier": "Gold", "user-agent": "OpenAI/Python 1.99"},
    has=frozenset({"loras", "steps"}),
    now=MONDAY,
)
UNKNOWN = replace(FACTS, asked=None, width=None, height=None, steps=None, key=None, headers={}, has=frozenset())


def when(**conditions: Any) -> When:
    return When.model_validate(conditions)


def at(clock: str, days_later: int = 0) -> Facts:
    hour, minute = map(int, clock.split(":"))
    return replace(FACTS, now=MONDAY.replace(hour=hour, minute=minute) + timedelta(days=days_later))


@pytest.mark.parametrize(
    "conditions",
    [
        {},
        {"model": "sdxl [V1]"},
        {"model": "sd*"},
        {"model": "SDXL ?v1?"},
        {"model": ["flux", "DALL-E-3"]},
        {"operation": "generate"},
        {"operation": ["edit", "generate"]},
        {"size": "1024x768"},
        {"size": ["512x512", "1024x*"]},
        {"size": "*x7?8"},
        {"megapixels": {"max": 0.786432}},
        {"megapixels": {"min": 0.7, "max": 0.8}},
        {"steps": 30},
        {"steps": "30"},
        {"steps": {"min": 30}},
        {"steps": {"max": 30}},
        {"n": {"min": 2, "max": 2}},
        {"key": "team-a"},
        {"key": ["nobody", "team-*"]},
        {"header": {"X-Tier": "Gold"}},
        {"header": {"x-tier": "*", "User-Agent": "OpenAI/*"}},
        {"has": "loras"},
        {"has": ["loras", "steps"]},
        {"time": "12:00-12:01"},
        {"days": ["sun", "mon"]},
        {"model": "sdxl*", "operation": "generate", "n": 2, "days": "mon"},
    ],
    ids=str,
)
def test_a_condition_that_holds_matches(conditions: dict[str, Any]) -> None:
    assert holds(when(**conditions), FACTS)


@pytest.mark.parametrize(
    "conditions",
    [
        {"model": "sdxl"},
        {"model": "dall-e-?-hd"},
        {"model": "sdxl [v2]"},
        {"model": "sdxl ?v"},
        {"operation": ["edit", "inpaint"]},
        {"size": "768x1024"},
        {"size": "102x768"},
        {"megapixels": {"min": 0.8}},
        {"steps": 29},
        {"steps": {"min": 31}},
        {"n": 1},
        {"n": {"max": 1}},
        {"key": "TEAM-A"},
        {"header": {"x-tier": "gold"}},
        {"header": {"x-tier": "Gold", "x-other": "*"}},
        {"has": ["loras", "mask"]},
        {"time": "11:00-12:00"},
        {"days": "sun"},
        {"model": "sdxl*", "n": 3},
    ],
    ids=str,
)
def test_a_condition_that_does_not_hold_does_not_match(conditions: dict[str, Any]) -> None:
    assert not holds(when(**conditions), FACTS)


@pytest.mark.parametrize(
    "conditions",
    [
        {"model": "dall-e-3"},
        {"size": "*x*"},
        {"megapixels": {"min": 0}},
        {"steps": {"min": 0}},
        {"key": "*"},
        {"header": {"x-tier": "*"}},
        {"header": {"x-tier": ""}},
        {"has": "steps"},
    ],
    ids=str,
)
def test_what_is_not_known_meets_no_condition(conditions: dict[str, Any]) -> None:
    assert not holds(when(**conditions), UNKNOWN)


def test_brackets_in_a_pattern_stand_for_themselves() -> None:
    assert holds(when(model="*[v1]"), FACTS)
    assert not holds(when(model="*[v1]"), replace(FACTS, model="sdxl v"))


def test_a_model_in_a_folder_is_found_with_either_slash() -> None:
    facts = replace(FACTS, model="portrait", asked="Faces\\portrait.safetensors")
    assert holds(when(model="faces/*"), facts)
    assert holds(when(model="FACES\\*"), facts)


@pytest.mark.parametrize(
    ("window", "clock", "matches"),
    [
        ("9:00-17:30", "08:59", False),
        ("9:00-17:30", "09:00", True),
        ("9:00-17:30", "17:29", True),
        ("9:00-17:30", "17:30", False),
        ("22:00-06:00", "21:59", False),
        ("22:00-06:00", "22:00", True),
        ("22:00-06:00", "00:00", True),
        ("22:00-06:00", "05:59", True),
        ("22:00-06:00", "06:00", False),
        ("18:00-24:00", "23:59", True),
        ("18:00-24:00", "00:00", False),
        ("18:00-00:00", "23:59", True),
        ("18:00-00:00", "00:00", False),
        ("00:00 - 00:01", "00:00", True),
    ],
)
def test_a_window_holds_its_begin_and_not_its_end(window: str, clock: str, matches: bool) -> None:
    assert holds(when(time=window), at(clock)) == matches


@pytest.mark.parametrize(
    ("clock", "days_later", "matches"),
    [
        ("21:59", 0, False),
        ("22:00", 0, True),
        ("05:59", 1, True),
        ("22:00", 1, False),
        ("05:59", 0, False),
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins(
    clock: str, days_later: int, matches: bool
) -> None:
    assert holds(when(time="22:00-06:00", days="mon"), at(clock, days_later)) == matches


def test_a_day_alone_lasts_from_midnight_to_midnight() -> None:
    monday = when(days="mon")
    assert [holds(monday, at("00:00", day)) for day in range(3)] == [True, False, False]
    assert [holds(monday, at("23:59", day)) for day in range(-1, 2)] == [False, True, False]


def test_no_rule_matches_where_there_is_none() -> None:
    assert first_match([], FACTS) is None
    assert first_match([Rule(when=when(n=5), deny="x")], FACTS) is None


TIMES = st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1))
NAMES = st.text(alphabet="aB[]-*?!\\/.é\n", max_size=6)
FACTS_OF_ANY_KIND = st.builds(
    Facts,
    model=NAMES,
    asked=st.none() | NAMES,
    operation=st.sampled_from(Operation),
    width=st.none() | st.integers(1, 2000),
    height=st.none() | st.integers(1, 2000),
    steps=st.none() | st.integers(1, 4),
    n=st.integers(1, 4),
    key=st.none() | st.sampled_from(["a", "b"]),
    headers=st.dictionaries(st.sampled_from(["x", "y"]), NAMES),
    has=st.frozensets(st.sampled_from(["steps", "loras", "mask"])),
    now=TIMES,
)
RANGES = st.fixed_dictionaries({}, optional={"min": st.integers(0, 4), "max": st.integers(0, 4)})
MINUTES = st.integers(0, 24 * 60 - 1)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


WINDOWS = st.tuples(MINUTES, MINUTES).filter(lambda pair: pair[0] != pair[1])
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.lists(NAMES.filter(str.strip), min_size=1, max_size=2),
    "operation": st.lists(st.sampled_from(Operation), min_size=1),
    "size": st.lists(st.sampled_from(["*x*", "1*x*", "*x1???"]), min_size=1),
    "megapixels": RANGES,
    "steps": RANGES,
    "n": RANGES,
    "key": st.lists(st.sampled_from(["a", "?", "c"]), min_size=1),
    "header": st.dictionaries(st.sampled_from(["X", "y"]), NAMES, min_size=1),
    "has": st.lists(st.sampled_from(["steps", "loras", "mask"]), min_size=1),
    "time": WINDOWS.map(lambda pair: f"{clock(pair[0])}-{clock(pair[1])}"),
    "days": st.lists(st.sampled_from(DAYS), min_size=1),
}
CONDITION_SETS = st.fixed_dictionaries({}, optional=CONDITIONS)
RULES = st.lists(CONDITION_SETS.map(lambda given_: Rule(when=when(**given_), deny="x")), max_size=4)


@given(FACTS_OF_ANY_KIND)
def test_a_rule_without_conditions_always_matches(facts: Facts) -> None:
    rule = Rule(deny="x")
    assert first_match([rule], facts) is rule


@given(RULES, RULES, FACTS_OF_ANY_KIND)
def test_nothing_behind_the_first_match_counts(rules: list[Rule], more: list[Rule], facts: Facts) -> None:
    found = first_match(rules, facts)
    if found is None:
        assert first_match([*rules, *more], facts) is first_match(more, facts)
    else:
        assert first_match([*rules, *more], facts) is found
        assert not any(holds(rule.when, facts) for rule in rules[: rules.index(found)])


@given(CONDITION_SETS, CONDITION_SETS, FACTS_OF_ANY_KIND)
def test_conditions_hold_together_exactly_if_each_does(
    some: dict[str, Any], others: dict[str, Any], facts: Facts
) -> None:
    both = {**some, **others}
    each = [holds(when(**{name: value}), facts) for name, value in both.items()]
    assert holds(when(**both), facts) == all(each)


@given(CONDITIONS["model"], NAMES.filter(str.strip), FACTS_OF_ANY_KIND)
def test_one_more_pattern_never_makes_a_match_a_miss(patterns: list[str], more: str, facts: Facts) -> None:
    assert holds(when(model=[*patterns, more]), facts) >= holds(when(model=patterns), facts)


@given(NAMES.filter(str.strip), FACTS_OF_ANY_KIND)
def test_a_name_without_wildcards_matches_itself_in_any_case(name: str, facts: Facts) -> None:
    plain = name.replace("*", "").replace("?", "") or "x"
    for spelling in (plain, plain.upper(), plain.lower()):
        if spelling.strip():
            assert holds(when(model=spelling), replace(facts, model=plain))


@given(WINDOWS, TIMES)
def test_either_a_window_or_the_rest_of_the_day_matches(window: tuple[int, int], now: datetime) -> None:
    begin, end = map(clock, window)
    facts = replace(FACTS, now=now)
    assert holds(when(time=f"{begin}-{end}"), facts) != holds(when(time=f"{end}-{begin}"), facts)


@given(WINDOWS, TIMES)
def test_a_moment_within_a_window_belongs_to_one_day_only(window: tuple[int, int], now: datetime) -> None:
    facts = replace(FACTS, now=now)
    time = f"{clock(window[0])}-{clock(window[1])}"
    matches = [day for day in DAYS if holds(when(time=time, days=day), facts)]
    assert len(matches) == holds(when(time=time), facts)
    if matches:
        passes_midnight = window[1] < window[0] and (now.hour * 60 + now.minute) < window[1]
        assert matches == [DAYS[(now - timedelta(days=passes_midnight)).weekday()]]


NUMBERS = st.one_of(
    st.integers(1, 3), st.fixed_dictionaries({}, optional={"min": st.integers(1, 3), "max": st.just(3)})
)
CONDITIONS: dict[str, st.SearchStrategy[Any]] = {
    "model": st.lists(st.sampled_from(["a", "ab", "a*", "?b", "*", "B"]), min_size=1, max_size=2),
    "operation": st.lists(st.sampled_from(Operation), min_size=1, max_size=2),
    "size": st.sampled_from(["1x1", "1x*", "?x1", "*x*"]),
    "megapixels": NUMBERS.filter(lambda value: isinstance(value, dict)),
    "n": NUMBERS,
    "key": st.sampled_from(["a", "a*", "?"]),
    "header": st.sampled_from([{"X": "*"}, {"x": "a"}, {"x": "?"}, {"x": "a", "y": "*"}]),
    "has": st.lists(st.sampled_from(["steps", "loras"]), min_size=1, max_size=2),
    "time": st.sampled_from(["22:00-06:00", "09:00-17:00"]),
    "days": st.lists(st.sampled_from(DAYS), min_size=1, max_size=3),
}


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    return Facts(
        model=draw(st.sampled_from(["a", "ab", "bb"])),
        asked=draw(st.sampled_from([None, "AB"])),
        operation=draw(st.sampled_from(Operation)),
        width=draw(st.sampled_from([None, 1, 1000])),
        height=draw(st.sampled_from([1, 1000])),
        steps=None,
        n=draw(st.integers(1, 4)),
        key=draw(st.sampled_from([None, "a", "ab"])),
        headers=draw(st.sampled_from([{}, {"x": "a"}, {"x": "b", "y": ""}, {"x": "a", "y": ""}])),
        has=draw(st.frozensets(st.sampled_from(["steps", "loras"]))),
        now=MONDAY + timedelta(hours=draw(st.integers(0, 167))),
    )


def some_of(conditions: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional={name: st.just(value) for name, value in conditions.items()})


@given(st.data(), st.lists(facts(), min_size=5, max_size=5))
def test_a_rule_that_covers_another_one_holds_wherever_that_does(data: st.DataObject, worlds: list[Facts]) -> None:
    special = data.draw(st.fixed_dictionaries({}, optional=CONDITIONS))
    general = data.draw(st.one_of(some_of(special), st.fixed_dictionaries({}, optional=CONDITIONS)))
    if when(**general).covers(when(**special)):
        assert all(holds(when(**general), world) for world in worlds if holds(when(**special), world))


@given(st.data())
def test_a_rule_with_some_of_the_conditions_of_another_one_covers_it(data: st.DataObject) -> None:
    # Days belong to the beginning of a window: without that they mean other moments.
    conditions = data.draw(st.fixed_dictionaries({}, optional={**CONDITIONS, "time": st.none()}))
    general = data.draw(some_of(conditions))
    assert when(**general).covers(when(**conditions))
