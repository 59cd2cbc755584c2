"""Who may serve a job, and why the others may not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.errors import InvalidParameterError, NoProviderError, UnknownParameterError
from imagerouter.jobs import Job, Preferences, Target
from imagerouter.parameters import OBJECT, STRING, between, one_of
from imagerouter.provider import Model
from imagerouter.routing import Snapshot, plan
from imagerouter.testing import make_image
from imagerouter.types import Hires, Operation

READY = Snapshot("comfyui", ready=True)
PARAMETERS = {"steps": between(1, 50), "sampler": one_of(["euler"]), "negative_prompt": STRING}


def target(provider: str = "desk", **fields: Any) -> Target:
    return Target(provider, Model(id="m", **{"parameters": PARAMETERS, **fields}))


def job(preferences: Preferences | None = None, strict: bool = False, **params: Any) -> Job:
    return Job(prompt="x", params=params, preferences=preferences or Preferences(), strict=strict)


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
    assert job(steps=9).ignored_on(forced) == {"steps"}
    assert job(steps=3).ignored_on(forced) == set()
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
