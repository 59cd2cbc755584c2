"""What is counted, told directly: cases that take several providers or an unlucky moment over HTTP."""

import re
from pathlib import Path
from typing import get_args

import pytest

from imagerouter.config.loader import load_text
from imagerouter.engine import Engine
from imagerouter.errors import InvalidRequestError, NoProviderError
from imagerouter.jobs import Attempt, Job, Outcome, Target
from imagerouter.provider import Model
from imagerouter.routing.refusals import Kind
from imagerouter.types import Image

DOCS = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")
DESK = Target("desk", Model(id="sdxl"))
YAML = "providers: {desk: {type: 'imagerouter.testing:FakeProvider', models: [sdxl]}}"


@pytest.fixture
def engine():
    return Engine(load_text(YAML))


def outcome(*attempts, images, **times):
    seconds = {"queue_ms": 0.0, "load_ms": 0.0, "render_ms": 0.0, "total_ms": 0.0} | times
    pictures = (Image(data=b""),) * images
    told = {"seed": 7, "applied": {}, "ignored": frozenset(), "attempts": attempts}
    return Outcome(Job("a fox"), "sdxl", DESK, pictures, **told, **seconds)


async def test_images_of_a_request_that_was_spread_count_for_the_provider_that_drew_each(engine):
    parts = (
        Attempt("desk", "sdxl", ok=True, ms=1, images=(0, 1)),
        Attempt("spare", "sdxl", ok=False, ms=1, images=(2,), code="provider_timeout"),
        Attempt("attic", "sdxl", ok=True, ms=1, images=(2,)),
    )
    engine.metrics.done(outcome(*parts, images=3))
    drawn = {
        provider: engine.metrics.registry.get_sample_value(
            "imagerouter_images_total", {"model": "sdxl", "provider": provider}
        )
        for provider in ("desk", "spare", "attic")
    }
    assert drawn == {"desk": 2, "spare": None, "attic": 1}


def test_times_are_in_seconds_and_overhead_is_what_the_others_leave(engine):
    attempt = Attempt("desk", "sdxl", ok=True, ms=1)
    engine.metrics.done(outcome(attempt, images=1, queue_ms=1000, load_ms=2000, render_ms=3000, total_ms=6250))
    value = engine.metrics.registry.get_sample_value
    sums = [value(f"imagerouter_{name}_seconds_sum", {"provider": "desk"}) for name in ("queue", "load", "render")]
    assert sums == [1, 2, 3]
    assert value("imagerouter_overhead_seconds_sum") == 0.25


def test_a_failed_request_counts_for_the_provider_that_was_tried_last(engine):
    error = NoProviderError("every provider failed")
    error.attempts = tuple(Attempt(name, "sdxl", ok=False, ms=1) for name in ("desk", "spare"))
    engine.metrics.failed(error, "no-such-model")
    labels = {"model": "unknown", "provider": "spare", "code": "no_provider_available"}
    assert engine.metrics.registry.get_sample_value("imagerouter_requests_total", labels) == 1


def test_an_error_without_a_code_counts_under_its_type(engine):
    engine.metrics.failed(InvalidRequestError("can't be read"), None)
    labels = {"model": "unknown", "provider": "none", "code": "invalid_request_error"}
    assert engine.metrics.registry.get_sample_value("imagerouter_requests_total", labels) == 1


def test_the_documentation_explains_every_kind_of_refusal():
    section = DOCS.partition("| `kind` | The target")[2].partition("\n\n")[0]
    explained = [kind for row in section.splitlines()[2:] for kind in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert sorted(explained) == sorted(get_args(Kind))
