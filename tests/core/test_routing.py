"""Who may serve a job, and why the others may not."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError, NoProviderError, PermissionDeniedError, UnknownParameterError
from imagerouter.jobs import Job, MaxPrice, Origin, Preferences, Target
from imagerouter.parameters import OBJECT, STRING, between, one_of
from imagerouter.provider import Model
from imagerouter.routing import planning as routing
from imagerouter.routing.catalogue import PublicModel
from imagerouter.routing.planning import Plan, World
from imagerouter.routing.prices import Price
from imagerouter.routing.refusals import Refusal, Snapshot
from imagerouter.routing.rules import Rule, When
from imagerouter.testing import make_image
from imagerouter.types import Hires, Operation

READY = Snapshot("comfyui", ready=True)
PARAMETERS = {"steps": between(1, 50), "sampler": one_of(["euler"]), "negative_prompt": STRING}


def target(provider: str = "desk", **fields: Any) -> Target:
    return Target(provider, Model(id="m", **{"parameters": PARAMETERS, **fields}))


def job(preferences: Preferences | None = None, strict: bool = False, **params: Any) -> Job:
    return Job(prompt="x", params=params, preferences=preferences or Preferences(), strict=strict)


def plan(made: Job, targets: Any, snapshots: dict[str, Snapshot], limits: Limits | None = None, **world: Any) -> Plan:
    return routing.plan(made, PublicModel("m", tuple(targets)), World(snapshots, limits, **world))


def refusal(made: Job, *targets: Target, snapshot: Snapshot | None = READY) -> str:
    targets = targets or (target(),)
    (first, *_) = plan(made, targets, {t.provider: snapshot for t in targets if snapshot}).refusals
    return first.reason


def test_a_provider_that_is_not_ready_is_passed_over_with_its_own_reason() -> None:
    assert refusal(job(), snapshot=Snapshot("comfyui", ready=False, detail="it is asleep")) == "it is asleep"
    assert refusal(job(), snapshot=None) == "this provider is not configured"


def test_a_target_that_cant_do_the_operation_is_passed_over() -> None:
    picture = (make_image(8, 8),)
    assert "image to image" in refusal(job(images=picture))
    able = target(operations=frozenset({Operation.EDIT}))
    assert plan(job(images=picture), [able], {"desk": READY}).candidates == (able,)


def test_a_value_outside_a_targets_limits_is_the_clients_mistake_when_all_mind_it() -> None:
    made = plan(job(steps=60), [target(), target("attic")], {"desk": READY, "attic": READY})
    error = made.error("m")
    assert isinstance(error, InvalidParameterError)
    assert error.param == "steps"


@pytest.mark.parametrize(
    ("params", "fits"),
    [
        ({"hires": Hires(scale=2.0)}, True),  # 1024x1024 natively
        ({"hires": Hires(scale=2.1)}, False),
        ({"hires": Hires(scale=4.0), "width": 512, "height": 512}, True),
        ({"hires": Hires(scale=8.0), "width": 512, "height": 512}, False),
        ({"hires": Hires(scale=8.0), "width": 2048, "height": 16}, False),
    ],
)
def test_a_second_pass_may_not_make_a_picture_larger_than_the_limits(params: dict[str, Any], fits: bool) -> None:
    able = target(parameters={**PARAMETERS, "hires": OBJECT})
    made = plan(job(**params), [able], {"desk": READY}, Limits())
    assert bool(made.candidates) is fits
    if not fits:
        error = made.error("m")
        assert isinstance(error, InvalidParameterError)
        assert error.param == "hires.scale"
    assert plan(job(**params), [target()], {"desk": READY}, Limits()).candidates, "it ignores the second pass"


def test_a_model_with_a_problem_is_passed_over_with_it() -> None:
    assert refusal(job(), target(problem="it needs a VAE")) == "it needs a VAE"


def test_targets_that_refuse_for_different_reasons_make_it_a_503_that_lists_them() -> None:
    limited = target("attic", parameters={"steps": between(1, 100)})
    made = plan(job(steps=60), [target(), limited], {"desk": READY, "attic": Snapshot("a1111", ready=False)})
    error = made.error("m")
    assert isinstance(error, NoProviderError)
    assert "desk/m" in error.message
    assert "attic/m" in error.message


def test_a_twin_that_is_down_does_not_make_a_clients_mistake_a_failure_of_the_server() -> None:
    snapshots = {"desk": READY, "attic": Snapshot("a1111", ready=False)}
    error = plan(job(steps=60), [target(), target("attic")], snapshots).error("m")
    assert isinstance(error, InvalidParameterError)
    assert error.param == "steps"


def test_a_value_of_the_configuration_is_never_blamed_on_the_client() -> None:
    for faulty in (
        Target("desk", Model(id="m", parameters=PARAMETERS), defaults={"steps": 160}),
        Target("desk", Model(id="m", parameters=PARAMETERS), params={"steps": 160}),
    ):
        asked = job(steps=20) if faulty.params else job()
        error = plan(asked, [faulty], {"desk": READY}).error("m")
        assert isinstance(error, NoProviderError)
        assert "`steps` of the server's configuration doesn't fit: must be between 1 and 50, not 160" in error.message


def test_a_huge_value_is_not_repeated_in_full() -> None:
    assert len(refusal(job(sampler="e" * 1_000_000))) < 200


@pytest.mark.parametrize(
    ("preferences", "param"),
    [
        (Preferences(only=("nobody",)), "provider.only"),
        (Preferences(ignore=("comfyui",)), "provider.ignore"),
        (Preferences(order=("nobody",), allow_fallbacks=False), "provider.order"),
        (Preferences(only=("attic",), ignore=("attic",)), "provider"),
    ],
)
def test_a_choice_that_leaves_no_provider_is_the_clients_mistake(preferences: Preferences, param: str) -> None:
    snapshots = dict.fromkeys(("desk", "attic"), READY)
    error = plan(job(preferences), [target(), target("attic")], snapshots).error("m")
    assert isinstance(error, InvalidParameterError)
    assert error.param == param
    assert "`desk/m`" in error.message


def test_a_chosen_provider_that_is_down_may_have_the_model_later() -> None:
    snapshots = {"desk": READY, "cloud": Snapshot("openai", ready=False)}
    assert isinstance(plan(job(Preferences(only=("cloud",))), [target()], snapshots).error("m"), NoProviderError)


def test_a_provider_that_was_not_chosen_does_not_hide_the_clients_mistake() -> None:
    snapshots = dict.fromkeys(("desk", "attic"), READY)
    error = plan(job(Preferences(only=("desk",)), steps=60), [target(), target("attic")], snapshots).error("m")
    assert error.param == "steps"


def test_what_a_target_is_forced_to_do_is_refused_only_when_the_client_is_strict() -> None:
    forced = Target("desk", Model(id="m", parameters=PARAMETERS), params={"steps": 3})
    assert job(steps=9).on(forced).ignored == {"steps"}
    assert job(steps=3).on(forced).ignored == set()
    assert plan(job(steps=9), [forced], {"desk": READY}).candidates
    error = plan(job(steps=9, strict=True), [forced], {"desk": READY}).error("m")
    assert (type(error), error.param) == (UnknownParameterError, "steps")


def test_what_a_target_doesnt_know_is_ignored_unless_the_client_is_strict() -> None:
    assert plan(job(vae="x"), [target()], {"desk": READY}).candidates
    for strict in (job(strict=True, vae="x"), job(Preferences(require_parameters=True), vae="x")):
        made = plan(strict, [target()], {"desk": READY})
        assert not made.candidates
        assert isinstance(made.error("m"), UnknownParameterError)


def test_a_default_that_a_target_doesnt_know_never_refuses() -> None:
    with_default = Target("desk", Model(id="m"), defaults={"vae": "x"})
    assert plan(job(strict=True), [with_default], {"desk": READY}).candidates


@pytest.mark.parametrize(
    ("preferences", "expected"),
    [
        (Preferences(), ["desk", "attic"]),
        (Preferences(order=("attic",)), ["attic", "desk"]),
        (Preferences(order=("attic",), allow_fallbacks=False), ["attic"]),
        (Preferences(only=("desk",)), ["desk"]),
        (Preferences(only=("a1111",)), ["attic"]),
        (Preferences(ignore=("desk",)), ["attic"]),
        (Preferences(ignore=("desk", "a1111")), []),
    ],
)
def test_openrouters_preferences_choose_by_provider_name_or_type(preferences: Preferences, expected: list[str]) -> None:
    snapshots = {"desk": READY, "attic": Snapshot("a1111", ready=True)}
    made = plan(job(preferences), [target(), target("attic")], snapshots)
    assert [candidate.provider for candidate in made.candidates] == expected


@given(
    st.lists(st.booleans(), max_size=6),
    st.integers(1, 100),
    st.lists(st.sampled_from(["p0", "p1", "p2"]), max_size=3),
)
def test_every_target_is_either_a_candidate_or_refused_with_a_reason(
    ready: list[bool], steps: int, order: list[str]
) -> None:
    targets = [target(f"p{i}") for i in range(len(ready))]
    snapshots = {f"p{i}": Snapshot("t", ready=up) for i, up in enumerate(ready)}
    made = plan(job(Preferences(order=tuple(order)), steps=steps), targets, snapshots)
    assert {t.provider for t in made.candidates} | {r.target[:2] for r in made.refusals} == set(snapshots)
    assert len(made.candidates) + len(made.refusals) == len(targets)
    assert all(refused.reason for refused in made.refusals)
    assert all(steps <= 50 for _ in made.candidates)


# Rules at work

BOTH = {"desk": READY, "attic": Snapshot("a1111", ready=True)}
ASLEEP = Snapshot("a1111", ready=False, detail="asleep")


def ruled(*rules: Rule, made: Job | None = None, snapshots: dict[str, Snapshot] = BOTH, **world: Any) -> Plan:
    """The plan for `desk` and `attic` under rules for all requests."""
    targets = [target(name) for name in snapshots]
    return plan(made or job(), targets, snapshots, rules=rules, **world)


def providers(made: Plan) -> list[str]:
    return [candidate.provider for candidate in made.candidates]


@pytest.mark.parametrize("name", ["attic", "a1111"])
def test_a_rule_keeps_a_request_to_some_providers(name: str) -> None:
    made = ruled(Rule(only=(name,)))
    assert providers(made) == ["attic"]
    (refused,) = made.refusals
    assert (refused.target, refused.kind, refused.param) == ("desk/m", "rule", None)
    assert f"`{name}` only" in refused.reason


@pytest.mark.parametrize(
    "preferences", [Preferences(order=("desk",)), Preferences(only=("desk",)), Preferences(sort="price")]
)
def test_a_client_cant_undo_what_a_rule_keeps_it_to(preferences: Preferences) -> None:
    assert "desk" not in providers(ruled(Rule(only=("attic",)), made=job(preferences)))


def test_a_client_that_wants_what_a_rule_forbids_is_told_that_nobody_can_serve_it() -> None:
    error = ruled(Rule(only=("attic",)), made=job(Preferences(only=("desk",)))).error("m")
    assert isinstance(error, NoProviderError)
    assert "a rule sends this request to `attic` only" in error.message


def test_a_denied_request_gets_the_rules_own_words() -> None:
    error = ruled(Rule(deny="not at work")).error("m")
    assert isinstance(error, PermissionDeniedError)
    assert (error.status, error.message) == (403, "not at work")


def test_a_client_cant_undo_a_denial() -> None:
    wishes = Preferences(order=("desk",), only=("desk",))
    assert isinstance(ruled(Rule(deny="no"), made=job(wishes)).error("m"), PermissionDeniedError)


def test_a_denied_request_is_denied_whatever_else_is_wrong_with_it() -> None:
    for made in (job(steps=900), job(strict=True, vae="x")):
        assert isinstance(ruled(Rule(deny="no"), made=made).error("m"), PermissionDeniedError)
    asleep = {"desk": Snapshot("comfyui", ready=False, detail="asleep")}
    assert isinstance(ruled(Rule(deny="no"), snapshots=asleep).error("m"), PermissionDeniedError)


def test_a_denial_on_one_provider_leaves_the_others() -> None:
    snapshots = {"desk": Snapshot("comfyui", ready=True, rules=(Rule(deny="not here"),)), "attic": READY}
    made = plan(job(), [target(), target("attic")], snapshots)
    assert providers(made) == ["attic"]
    assert made.refusals == (Refusal("desk/m", "not here", "denied"),)


def test_where_one_provider_denies_and_another_is_down_coming_again_may_help() -> None:
    snapshots = {"desk": Snapshot("comfyui", ready=True, rules=(Rule(deny="not here"),)), "attic": ASLEEP}
    assert isinstance(plan(job(), [target(), target("attic")], snapshots).error("m"), NoProviderError)


def test_what_a_rule_sets_wins_over_the_client_and_is_told_as_ignored() -> None:
    asked = job(steps=40, sampler="euler")
    (candidate,) = ruled(Rule(set={"steps": 12}), made=asked, snapshots={"desk": READY}).candidates
    assert asked.on(candidate).params["steps"] == 12
    assert asked.on(candidate).ignored == {"steps"}


def test_a_strict_client_is_refused_what_a_rule_would_change() -> None:
    error = ruled(Rule(set={"steps": 12}), made=job(strict=True, steps=40)).error("m")
    assert (type(error), error.param) == (UnknownParameterError, "steps")
    assert "fixed by the server's configuration" in error.message
    assert ruled(Rule(set={"steps": 12}), made=job(strict=True, steps=12)).candidates


def test_a_targets_own_parameters_win_over_what_rules_set_and_the_special_rule_over_the_general() -> None:
    snapshots = {"desk": Snapshot("comfyui", ready=True, rules=(Rule(set={"steps": 3, "cfg_scale": 3}),))}
    fixed = Target("desk", Model(id="m", parameters=PARAMETERS), params={"cfg_scale": 4})
    general, special = (Rule(set={"steps": steps, "cfg_scale": steps}) for steps in (1, 2))
    model = PublicModel("m", (fixed,), rules=(special,))
    (candidate,) = routing.plan(job(), model, World(snapshots, rules=(general,))).candidates
    assert candidate.params == {"steps": 3, "cfg_scale": 4}


def test_a_value_that_a_rule_sets_and_the_model_cant_do_is_not_the_clients_fault() -> None:
    error = ruled(Rule(set={"steps": 900}), made=job(steps=9)).error("m")
    assert isinstance(error, NoProviderError)
    assert "`steps` of the server's configuration doesn't fit" in error.message


def test_of_each_place_the_first_rule_that_matches_counts_and_the_plan_tells_which() -> None:
    never, first, second = Rule(when=When(n={"min": 5}), deny="no"), Rule(prefer=("attic",)), Rule(deny="never seen")
    own = Rule(avoid=("desk",))
    snapshots = {"desk": Snapshot("comfyui", ready=True, rules=(own,)), "attic": READY}
    made = ruled(never, first, second, snapshots=snapshots)
    assert made.rules == {"desk/m": (first, own), "attic/m": (first,)}
    assert [[each.provider for each in tier] for tier in made.tiers] == [["attic"], ["desk"]]


def test_a_rule_that_depends_on_steps_looks_at_each_targets_own_default() -> None:
    slow = Rule(when=When(steps={"min": 30}), deny="too slow")
    quick = Target("attic", Model(id="m", parameters=PARAMETERS), defaults={"steps": 8})
    thorough = Target("desk", Model(id="m", parameters=PARAMETERS), defaults={"steps": 40})
    assert providers(plan(job(), [thorough, quick], BOTH, rules=(slow,))) == ["attic"]
    assert providers(plan(job(steps=20), [thorough, quick], BOTH, rules=(slow,))) == ["desk", "attic"]


@pytest.mark.parametrize(
    ("now", "is_denied"),
    [
        (datetime(2026, 3, 6, 21, 59), False),  # a Friday
        (datetime(2026, 3, 6, 22, 0), True),
        (datetime(2026, 3, 7, 5, 59), True),
        (datetime(2026, 3, 7, 6, 0), False),
        (datetime(2026, 3, 7, 23, 0), False),
        (datetime(2026, 3, 6, 3, 0), False),
    ],
)
def test_a_rule_may_hold_for_some_hours_of_some_days(now: datetime, is_denied: bool) -> None:
    quiet = Rule(when=When(time="22:00-06:00", days=("fri",)), deny="the house sleeps")
    assert (not ruled(quiet, now=now).candidates) is is_denied


def test_a_rule_may_hold_for_one_key_or_header() -> None:
    guests, batch = (
        Rule(when=When(key=("guest*",)), deny="ask first"),
        Rule(when=When(header={"X-Job": "b*"}), deny="no"),
    )
    for origin, denied in (
        (Origin(), False),
        (Origin(key="me"), False),
        (Origin(key="guest-7"), True),
        (Origin(headers={"x-job": "batch"}), True),
        (Origin(headers={"x-job": "live"}), False),
    ):
        made = Job(prompt="x", origin=origin)
        assert (not all(ruled(rule, made=made).candidates for rule in (guests, batch))) is denied


# Prices


def priced(**price: float) -> Target:
    return Target("desk", Model(id="m", parameters=PARAMETERS, width=1000, height=1000), price=Price(**price))


@pytest.mark.parametrize(
    ("price", "most", "fits"),
    [
        ({"image": 0.04}, MaxPrice(image=0.04), True),
        ({"image": 0.04}, MaxPrice(image=0.039), False),
        ({"image": 0.04}, MaxPrice(request=0.08), True),
        ({"image": 0.04}, MaxPrice(request=0.079), False),
        ({"request": 0.5}, MaxPrice(image=0.0), True),
        ({"request": 0.5}, MaxPrice(image=0.0, request=0.4), False),
        ({"megapixel": 0.02}, MaxPrice(image=0.02), True),
        ({"megapixel": 0.02}, MaxPrice(image=0.019), False),
        ({}, MaxPrice(image=0.0, request=0.0), True),
    ],
)
def test_a_price_that_is_too_high_leaves_a_target_out(price: dict[str, float], most: MaxPrice, fits: bool) -> None:
    made = plan(Job(prompt="x", n=2, preferences=Preferences(max_price=most)), [priced(**price)], {"desk": READY})
    assert bool(made.candidates) is fits
    if not fits:
        error = made.error("m")
        assert isinstance(error, InvalidParameterError)
        assert (error.param, made.refusals[0].kind) == ("provider.max_price", "price")
        assert "`provider.max_price` leaves no provider for `m`" in error.message


def test_the_cheap_targets_remain() -> None:
    snapshots = dict.fromkeys(("desk", "attic"), READY)
    wishes = Preferences(max_price=MaxPrice(image=0.01))
    assert providers(plan(job(wishes), [priced(image=0.04), target("attic")], snapshots)) == ["attic"]


# What is said about what


@pytest.mark.parametrize(
    ("made", "snapshot", "kind"),
    [
        (job(), None, "not_configured"),
        (job(), Snapshot("comfyui", ready=False), "not_ready"),
        (job(), Snapshot("comfyui", ready=True, blocked={"m": "failed 3 times in a row"}), "breaker"),
        (job(Preferences(ignore=("desk",))), READY, "preference"),
        (job(images=(make_image(8, 8),)), READY, "operation"),
        (job(steps=60), READY, "parameter"),
        (job(strict=True, vae="x"), READY, "strict"),
        (job(), Snapshot("comfyui", ready=True, rules=(Rule(only=("attic",)),)), "rule"),
        (job(), Snapshot("comfyui", ready=True, rules=(Rule(deny="no"),)), "denied"),
    ],
)
def test_each_refusal_has_a_kind_to_count_it_by(made: Job, snapshot: Snapshot | None, kind: str) -> None:
    (refused,) = plan(made, [target()], {"desk": snapshot} if snapshot else {}).refusals
    assert refused.kind == kind
    assert refused.reason


def test_a_model_that_failed_too_often_is_passed_over_and_its_twin_on_the_same_provider_is_not() -> None:
    snapshot = Snapshot("comfyui", ready=True, blocked={"m": "failed 3 times in a row, last: no VAE"})
    made = plan(job(), [target(), Target("desk", Model(id="other"))], {"desk": snapshot})
    assert [candidate.name for candidate in made.candidates] == ["desk/other"]
    assert made.refusals[0].reason == "failed 3 times in a row, last: no VAE"


def test_what_may_be_over_soon_is_no_mistake_of_the_client() -> None:
    snapshot = Snapshot("comfyui", ready=True, blocked={"m": "failed 3 times in a row"})
    assert isinstance(plan(job(), [target()], {"desk": snapshot}).error("m"), NoProviderError)


words = st.lists(st.sampled_from(["desk", "attic", "comfyui", "a1111"]), max_size=3).map(tuple)


@given(
    st.builds(Rule, only=words, avoid=words, prefer=words, set=st.sampled_from([{}, {"steps": 5}])),
    st.builds(Preferences, order=words, only=words, ignore=words, allow_fallbacks=st.booleans()),
)
def test_whatever_a_client_wishes_it_gets_only_what_rules_allow(rule: Rule, wishes: Preferences) -> None:
    free, held = ruled(made=job(wishes, steps=9)), ruled(rule, made=job(wishes, steps=9))
    assert set(providers(held)) <= set(providers(free))
    for candidate in held.candidates:
        assert not rule.only or {candidate.provider, BOTH[candidate.provider].type} & set(rule.only)
        assert candidate.params == rule.set
    # To avoid is not to forbid.
    assert rule.only or set(providers(held)) == set(providers(free))
