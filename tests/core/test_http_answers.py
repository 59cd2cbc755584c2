"""What an answer of a backend means that isn't a success, and what of it may be shown."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest

from imagerouter import errors
from imagerouter.http import map_http_errors, presentable, raise_for_status, retry_after


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, errors.ProviderRejectedError),
        (401, errors.ProviderError),
        (403, errors.ProviderError),
        (404, errors.ProviderRejectedError),
        (408, errors.ProviderTimeoutError),
        (422, errors.ProviderRejectedError),
        (429, errors.ProviderBusyError),
        (500, errors.GenerationError),
        (502, errors.ProviderUnavailableError),
        (503, errors.ProviderBusyError),
        (504, errors.ProviderTimeoutError),
        (507, errors.GenerationError),
        (304, errors.ProviderResponseError),
    ],
)
def test_every_status_has_its_error_and_the_next_provider_may_be_tried(status, expected):
    with pytest.raises(errors.ProviderError) as raised:
        raise_for_status(httpx.Response(status), "attic")
    assert type(raised.value) is expected
    assert raised.value.fallback
    assert str(status) in raised.value.message


@pytest.mark.parametrize("status", [401, 403])
def test_credentials_that_the_backend_refuses_are_never_blamed_on_the_client(status):
    with pytest.raises(errors.ProviderError) as raised:
        raise_for_status(httpx.Response(status), "cloud")
    assert raised.value.status == 502
    assert "configured" in raised.value.message


def test_httpx_own_status_errors_are_translated_too():
    response = httpx.Response(429, request=httpx.Request("GET", "http://attic"), headers={"retry-after": "7"})
    with pytest.raises(errors.ProviderBusyError) as raised, map_http_errors("attic"):
        response.raise_for_status()
    assert raised.value.retry_after == 7


@pytest.mark.parametrize("status", range(200, 207))
def test_success_is_no_error(status):
    raise_for_status(httpx.Response(status), "attic")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("3", 3.0),
        ("0.5", 0.5),
        (" 12 ", 12.0),
        ("", None),
        ("soon", None),
        ("inf", None),
        ("-1", None),
        ("1e9", None),
    ],
)
def test_retry_after_is_read_as_seconds(value, seconds):
    assert retry_after(httpx.Response(503, headers={"retry-after": value})) == seconds


def test_retry_after_is_read_as_a_date():
    past = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)
    future = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    assert retry_after(httpx.Response(503, headers={"retry-after": past})) == 0
    assert 0 < retry_after(httpx.Response(503, headers={"retry-after": future})) <= 86400


@pytest.mark.parametrize(
    ("told", "shown"),
    [
        ("steps must be at most 150", "steps must be at most 150"),
        ("can't open /home/me/models/sdxl.safetensors today", "can't open … today"),
        (r"C:\Users\A Person\models\x.ckpt not found", "… not found"),
        ("see http://10.0.0.7:7860/docs for help", "see … for help"),
        ("no route to 10.0.0.7:7860", "no route to …"),
        ("width/height 1/2 and/or 3/4/5", "width/height 1/2 and/or 3/4/5"),
        ("bad\n  value\n", "bad value"),
        ("boom\nTraceback (most recent call last):\n  File x", "boom"),
    ],
)
def test_a_backends_message_is_shown_without_paths_addresses_and_tracebacks(told, shown):
    assert presentable(told) == shown


def test_a_backends_message_is_shortened():
    assert len(presentable("word " * 1000)) == 300


def test_a_backends_explanation_is_part_of_the_message():
    with pytest.raises(errors.ProviderRejectedError, match=r"rejected the request \(HTTP 422\): too wide"):
        raise_for_status(httpx.Response(422), "attic", "too wide")
