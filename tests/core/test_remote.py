"""The keys of providers that talk to a server of their own: the way in, and what is refused before it is tried."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from imagerouter.remote import RemoteConfig, headers_of


@pytest.mark.parametrize("keys", [{"headers": {"x-key": "VALUE"}}, {"token": "VALUE"}], ids=["headers", "token"])
@pytest.mark.parametrize("value", ["schlüssel", "two\nlines", "bell\a", " padded", "padded ", "nul\0"])
def test_a_header_that_no_request_could_carry_is_refused_without_being_shown(keys: Any, value: str) -> None:
    given = json.loads(json.dumps(keys).replace('"VALUE"', json.dumps(value)))
    with pytest.raises(ValidationError) as caught:
        RemoteConfig(**given)
    (detail,) = caught.value.errors()
    assert detail["loc"] == (("headers", "x-key") if "headers" in keys else ("token",))
    assert detail["msg"].endswith("one line of printable ASCII, without spaces around it")


def test_an_empty_token_is_none() -> None:
    assert RemoteConfig(token="").token is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "x key", "x:key", "schlüssel", "x\nkey"])
def test_a_header_needs_a_name_that_is_one(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        RemoteConfig(headers={name: "value"})
    (detail,) = caught.value.errors()
    assert detail["loc"][:2] == ("headers", name)
    assert detail["msg"].endswith("a header's name is letters, digits and hyphens")


def test_usual_headers_are_taken() -> None:
    config = RemoteConfig(token="abc-_.~+/=", headers={"CF-Access-Client-Id": "a b\tc", "x_key": "!"})
    assert config.headers["CF-Access-Client-Id"].get_secret_value() == "a b\tc"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"username": "me"}, "`username` and `password` need each other"),
        ({"password": "x"}, "`username` and `password` need each other"),
        ({"username": "me", "password": "x", "token": "t"}, "`token` and `username` exclude each other"),
        ({"username": "me:you", "password": "x"}, "`username` can't hold a `:`"),
    ],
)
def test_there_is_one_way_in(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RemoteConfig(**keys)


@pytest.mark.parametrize(
    ("keys", "headers"),
    [
        ({}, {}),
        ({"token": "abc"}, {"authorization": "Bearer abc"}),
        ({"username": "me", "password": "sésame"}, {"authorization": "Basic bWU6c8Opc2FtZQ=="}),
        ({"headers": {"x-key": "1"}, "token": "abc"}, {"x-key": "1", "authorization": "Bearer abc"}),
        ({"headers": {"Authorization": "Key k"}, "token": "abc"}, {"authorization": "Bearer abc"}),
    ],
)
def test_requests_carry_the_credentials(keys: dict[str, Any], headers: dict[str, str]) -> None:
    assert headers_of(RemoteConfig(**keys)) == headers
