"""A server of AUTOMATIC1111's family that isn't one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.providers.a1111.fake import FakeA1111  # noqa: E402

from imagerouter_a1111.dialects import DIALECTS  # noqa: E402


@pytest_asyncio.fixture
async def a1111() -> AsyncIterator[FakeA1111]:
    """An AUTOMATIC1111 that runs."""
    async with FakeA1111() as fake:
        yield fake


@pytest_asyncio.fixture
async def launch() -> AsyncIterator[Callable[..., Awaitable[FakeA1111]]]:
    """Start a server of any dialect; it ends with the test."""
    async with AsyncExitStack() as stack:

        async def start(dialect: Any = "a1111", **options: Any) -> FakeA1111:
            return await stack.enter_async_context(FakeA1111(dialect, **options))

        yield start


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions that would be asked after a while are asked at once."""
    for name, dialect in DIALECTS.items():
        monkeypatch.setitem(DIALECTS, name, replace(dialect, poll_seconds=0.001))
