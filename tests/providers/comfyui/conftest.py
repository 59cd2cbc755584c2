"""A ComfyUI that isn't one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.providers.comfyui.fake import FakeComfy  # noqa: E402

from imagerouter_comfyui import drawing, jobs, socket  # noqa: E402


@pytest_asyncio.fixture
async def comfy() -> AsyncIterator[FakeComfy]:
    """A server that runs."""
    async with FakeComfy() as fake:
        yield fake


@pytest.fixture
def impatient(monkeypatch):
    """Questions that would be asked after seconds are asked at once."""
    monkeypatch.setattr(jobs, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(jobs, "LAST_POLL_SECONDS", 0.02)
    monkeypatch.setattr(jobs, "SECOND_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(jobs, "REFUSED_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "UNREACHABLE_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "SETTLE_SECONDS", 0.1)
    monkeypatch.setattr(jobs, "POSITION_SECONDS", 0.0)
    monkeypatch.setattr(socket, "FIRST_RETRY", 0.02)
    monkeypatch.setattr(drawing, "HISTORY_RETRIES", (0.0, 0.0, 0.0))


@pytest.fixture(autouse=True)
def tidy_at_once(monkeypatch):
    """Closing a provider waits for what it does after a job."""
    monkeypatch.setattr(drawing, "FORGET_SECONDS", 0.0)
