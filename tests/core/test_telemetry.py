"""What the log shows, and what it keeps to itself."""

from typing import Any, Literal

import pytest
import structlog

from imagerouter.config import Server
from imagerouter.telemetry import configure


def fail() -> None:
    secret = "-".join(("hush", "hush"))
    raise ValueError(f"it broke after {len(secret)} characters")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_traceback_shows_where_it_happened_and_no_values(form: Literal["console", "json"], capsys: Any) -> None:
    before = structlog.get_config()
    try:
        configure(Server(log_format=form))
        try:
            fail()
        except ValueError:
            structlog.get_logger().exception("provider.defect")
    finally:
        structlog.configure(**before)
    told = capsys.readouterr().err
    assert "provider.defect" in told
    assert "ValueError: it broke" in told
    assert "hush-hush" not in told
    assert "\x1b" not in told, "colours are for terminals"
