"""Who sends a request, and which secrets a configuration may hold."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagerouter.auth import ADMIN, Keyring
from imagerouter.config import Config
from imagerouter.config.loader import load_text
from imagerouter.errors import AuthenticationError, ConfigError, PermissionDeniedError

ALICE, BOB, ROOT = "alice-secret", "bob-secret-2", "root-secret-3"
CONFIG = Config.model_validate(
    {"keys": {"alice": {"secret": ALICE, "priority": 2}, "bob": {"secret": BOB}}, "server": {"admin_key": ROOT}}
)
SENDABLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=8, max_size=40)


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    "headers",
    [
        bearer(ALICE),
        {"authorization": f"bearer   {ALICE} "},
        {"x-api-key": ALICE},
        {"authorization": "Basic abcd", "x-api-key": ALICE},
    ],
)
def test_a_key_may_come_as_bearer_or_as_x_api_key(headers: dict[str, str]) -> None:
    origin = Keyring(CONFIG).origin(headers)
    assert (origin.key, origin.priority) == ("alice", 2)


@pytest.mark.parametrize("credentials", [f"Jürgen:{ALICE}", f":{ALICE}", f"{ALICE}:", f"{ALICE}:pass:word"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_with_http_basic_it_is_the_password_or_the_user(credentials: str, encoding: str) -> None:
    sent = b64encode(credentials.encode(encoding)).decode()
    assert Keyring(CONFIG).origin({"authorization": f"Basic {sent}"}).key == "alice"


def test_the_admin_key_is_a_key_too() -> None:
    assert (Keyring(CONFIG).origin(bearer(ROOT)).key, Keyring(CONFIG).origin(bearer(ROOT)).priority) == (ADMIN, 0)


def test_no_key_and_a_wrong_key_are_told_apart() -> None:
    with pytest.raises(AuthenticationError, match=r"No API key provided. Send one as `authorization: Bearer KEY`"):
        Keyring(CONFIG).origin({"user-agent": "curl"})
    for headers in (bearer(ALICE[:-1]), bearer(ALICE + "x"), {"x-api-key": "café"}, {**bearer("x"), "x-api-key": BOB}):
        with pytest.raises(AuthenticationError, match="Incorrect API key provided"):
            Keyring(CONFIG).origin(headers)


def test_without_keys_everybody_comes_in_whatever_they_send() -> None:
    for config in (Config(), Config.model_validate({"server": {"admin_key": ROOT}})):
        for headers in ({}, bearer("any"), bearer(ROOT)):
            origin = Keyring(config).origin(headers)
            assert (origin.key, origin.priority) == (None, 0)


def test_headers_are_kept_but_for_those_that_hold_secrets() -> None:
    headers = {**bearer(ALICE), "x-api-key": ALICE, "cookie": "session=1", "x-team": "red"}
    assert Keyring(CONFIG).origin(headers).headers == {"x-team": "red"}
    assert Keyring(Config()).origin(headers).headers == {"x-team": "red"}


def test_only_the_admin_key_opens_what_needs_it() -> None:
    Keyring(CONFIG).require_admin(bearer(ROOT))
    with pytest.raises(PermissionDeniedError, match="not the API key `alice`"):
        Keyring(CONFIG).require_admin(bearer(ALICE))
    for headers in ({}, bearer("wrong-secret")):
        with pytest.raises(AuthenticationError):
            Keyring(CONFIG).require_admin(headers)
    with pytest.raises(PermissionDeniedError, match=r"set `server.admin_key`"):
        Keyring(Config()).require_admin(bearer(ROOT))


@given(secrets=st.lists(SENDABLE, min_size=1, max_size=5, unique=True), sent=SENDABLE, data=st.data())
def test_a_secret_opens_for_its_own_key_and_nothing_else_does(secrets: list[str], sent: str, data: Any) -> None:
    config = Config.model_validate({"keys": {f"k{index}": {"secret": text} for index, text in enumerate(secrets)}})
    index = data.draw(st.sampled_from(range(len(secrets))))
    assert Keyring(config).origin(bearer(secrets[index])).key == f"k{index}"
    if sent not in secrets:
        with pytest.raises(AuthenticationError) as caught:
            Keyring(config).origin(bearer(sent))
        assert sent not in caught.value.message


WRONG = [
    ("keys: {a: {secret: same-secret}, b: {secret: same-secret}}", "1:46: keys.b.secret: is the same as the secret of"),
    ("keys: {a: {secret: same-secret}}\nserver: {admin_key: same-secret}", "2:21: server.admin_key: is the same as"),
    ("keys: {admin: {secret: long-enough}}", "1:8: keys.admin: `admin` is how `server.admin_key` is called"),
    ("keys: {a: {secret: 'two words'}}", "1:20: keys.a.secret: must be printable ASCII without spaces"),
    ("keys: {a: {secret: geheimnüss}}", "1:20: keys.a.secret: must be printable ASCII without spaces"),
    ("keys: {' ': {secret: long-enough}}", "1:8: keys. : a key's name can't be empty"),
    ("keys: {a: {secret: short}}", "1:20: keys.a.secret: must have at least 8 characters"),
    ("keys: {a: {secret: 123456789}}", "1:20: keys.a.secret: must be text"),
    ("keys: {a: {secret: long-enough, priority: 4}}", "keys.a.priority: must be at most 3, not `4`"),
]


@pytest.mark.parametrize(("text", "problem"), WRONG, ids=lambda text: text[:40])
def test_a_configuration_that_mixes_its_secrets_up_is_refused_without_telling_them(text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text, "c.yaml")
    assert any(problem in line for line in caught.value.problems)
    for secret in ("same-secret", "two words", "geheimnüss", "long-enough", "short", "123456789"):
        assert f"`{secret}`" not in caught.value.message


def test_no_secret_is_in_a_repr() -> None:
    origin = Keyring(CONFIG).origin({**bearer(ALICE), "x-api-key": BOB})
    for shown in (repr(CONFIG), str(CONFIG.keys), repr(CONFIG.server), repr(origin)):
        assert not any(secret in shown for secret in (ALICE, BOB, ROOT))
