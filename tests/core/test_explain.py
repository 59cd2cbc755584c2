"""What is told of a request's way is the way that it takes, and telling it changes nothing."""

import asyncio
import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from imagerouter.config import Limits
from imagerouter.config.loader import load_text
from imagerouter.engine import Engine
from imagerouter.errors import ImageRouterError
from imagerouter.fleet.overview import overview
from imagerouter.jobs import Job
from imagerouter.openai import Call, interpret
from imagerouter.routing.explain import NO_PROMPT, explained, rounded
from imagerouter.testing import FakeProvider

NAMES = ("one", "two", "three")


def fleet(rules: Any = (), **providers: dict[str, Any]) -> Engine:
    """Fakes with the models A and B, and these keys more."""
    fakes = {
        name: {"type": "imagerouter.testing:FakeProvider", "models": ["A", "B"], "width": 16, "height": 16, **keys}
        for name, keys in providers.items()
    }
    return Engine(load_text(json.dumps({"providers": fakes, "rules": list(rules)})))


def job(**fields: Any) -> Job:
    return interpret(fields, Limits(), prompt=NO_PROMPT).job


def told(engine: Engine, asked: Job) -> dict[str, Any]:
    """The answer, as it arrives."""
    answer: dict[str, Any] = json.loads(msgspec.json.encode(explained(engine, asked)))
    return answer


def whoever_loaded(engine: Engine) -> None:
    """What the watchers see of the fakes in a while, at once."""
    for name, member in engine.fleet.members.items():
        assert isinstance(member.provider, FakeProvider)
        engine.scheduler.observe(name, frozenset(member.provider.resident))


somebody = st.sampled_from(NAMES)
histories = st.lists(st.tuples(somebody, st.sampled_from("AB"), st.integers(1, 8)), max_size=6)
questions = st.fixed_dictionaries(
    {"model": st.sampled_from("AB"), "n": st.integers(1, 2), "size": st.sampled_from(["16x16", "64x32"])},
    optional={
        "steps": st.integers(1, 160),
        "strict": st.just(True),
        "negative_prompt": st.just("fog"),
        "provider": st.fixed_dictionaries(
            {},
            optional={
                "order": st.lists(somebody, max_size=2),
                "only": st.lists(somebody, min_size=1, max_size=3),
                "ignore": st.lists(somebody, max_size=2),
                "sort": st.sampled_from(["price", "latency", "throughput"]),
                "max_price": st.just({"image": 0.2}),
            },
        ),
    },
)
kinds = st.fixed_dictionaries(
    {},
    optional={
        "price": st.sampled_from([0, 0.1, 0.3]),
        "parameters": st.just(["steps", "width", "height"]),
        "rules": st.sampled_from([[{"deny": "no"}], [{"set": {"steps": 3}}]]),
    },
)
rules = st.lists(
    st.builds(
        dict,
        st.fixed_dictionaries({"prefer": somebody})
        | st.fixed_dictionaries({"avoid": somebody})
        | st.fixed_dictionaries({"only": st.lists(somebody, min_size=2, unique=True)}),
        when=st.fixed_dictionaries({"model": st.sampled_from("AB")}, optional={"n": st.just(2)}),
    ),
    max_size=1,
)


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(NAMES, kinds)), rules, histories, questions)
def test_an_idle_fleet_sends_the_request_where_the_answer_says(
    providers: Any, rules: Any, history: Any, fields: Any
) -> None:
    async def check() -> None:
        async with fleet(rules, **providers) as engine:
            await engine.fleet.settled()
            for provider, model, steps in history:
                body = {"model": model, "steps": steps, "provider": {"only": [provider]}}
                try:
                    await engine.run(Call(job(**body)))
                except ImageRouterError as error:
                    assert "no" in error.message
                whoever_loaded(engine)
            asked = job(**fields)
            answer = told(engine, asked)
            assert told(engine, asked) == answer
            try:
                outcome = await engine.run(Call(asked))
            except ImageRouterError as error:
                refused = answer["would_answer"]
                assert (error.status, error.code, error.message) == (
                    refused["status"],
                    refused["code"],
                    refused["message"],
                )
                assert answer["targets"] == []
                return
            if answer["spread"]:
                assert len(outcome.attempts) == len(answer["spread"])
            else:
                assert answer["targets"][0]["target"] == outcome.target.name
            assert "would_answer" not in answer

    asyncio.run(check())


async def test_each_target_is_either_ranked_or_refused() -> None:
    async with fleet(one={}, two={"price": 1}, three={"operations": ["edit"]}) as engine:
        await engine.fleet.settled()
        answer = told(engine, job(model="A", provider={"max_price": {"image": 0.5}}))
    assert [(target["rank"], target["target"]) for target in answer["targets"]] == [(1, "one/A")]
    assert {refusal["target"]: refusal["kind"] for refusal in answer["refusals"]} == {
        "two/A": "price",
        "three/A": "operation",
    }


async def test_telling_changes_nothing() -> None:
    async with fleet(one={}, two={}) as engine:
        await engine.fleet.settled()
        scheduler = engine.scheduler
        explained(engine, job(model="A", n=4))
        assert (scheduler.waiting, scheduler.running) == (0, 0)
        assert overview(engine) == overview(engine)
        assert [speed for provider in overview(engine)["data"] for speed in provider["speeds"]] == []


def test_times_are_no_more_exact_than_estimates_are() -> None:
    assert [rounded(seconds) for seconds in (0.0, 0.123456, 9.876, 12.3456, 600.06)] == [0.0, 0.12, 9.88, 12.3, 600.1]
