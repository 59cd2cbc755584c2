import inspect
import json
import re

import pytest

from imagerouter import errors

NOT_IN_THE_TABLE = {errors.ImageRouterError, errors.ProviderError, errors.ConfigError}
"""Two base classes, and one that is never sent."""

CLASSES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.ImageRouterError) and kind not in NOT_IN_THE_TABLE
]


def documented():
    """The rows of the table in the module's docstring."""
    rows = re.findall(
        r"^(\w+Error) +(\d{3}) +(\S+) +(yes|no) +(yes|no) +(nobody|provider|target)$", errors.__doc__, re.MULTILINE
    )
    return {name: row for name, *row in rows}


def test_the_table_in_the_docstring_is_what_the_classes_say():
    in_words = {True: "yes", False: "no"}
    assert documented() == {
        kind.__name__: [
            str(kind.status),
            kind.code or "(none)",
            in_words[kind.retry_same],
            in_words[kind.fallback],
            kind.blames or "nobody",
        ]
        for kind in CLASSES
    }


def test_every_class_has_a_code_of_its_own():
    codes = [kind.code for kind in CLASSES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_the_body_is_openais_with_all_four_keys(kind):
    error = kind("That did not work.", param="steps", retry_after=3)
    assert json.loads(json.dumps(error.body())) == {
        "error": {"message": "That did not work.", "type": kind.type, "param": "steps", "code": kind.code}
    }
    assert str(error) == error.message
    assert set(kind("x").body()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_type_and_status_agree(kind):
    if kind.type == "invalid_request_error":
        assert 400 <= kind.status < 500
    if kind.type == "server_error":
        assert kind.status >= 500
    assert kind.type.endswith("_error")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_only_what_a_provider_did_may_be_tried_elsewhere(kind):
    adapters_may_raise_it = issubclass(kind, errors.ProviderError) or kind is errors.ModelNotFoundError
    assert kind.fallback is adapters_may_raise_it
    assert kind.fallback or not (kind.retry_same or kind.blames)


def test_a_configuration_error_lists_every_problem():
    error = errors.ConfigError(["a.yaml:1:1: x", "a.yaml:2:1: y"])
    assert error.message == "a.yaml:1:1: x\na.yaml:2:1: y"
    assert error.problems == ["a.yaml:1:1: x", "a.yaml:2:1: y"]
