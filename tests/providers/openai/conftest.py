"""A server that speaks OpenAI's images API and isn't one."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

ROOT = str(Path(__file__).parents[3])
if ROOT not in sys.path:
    sys.path.append(ROOT)  # what the tests share is imported by its place in the tree

from tests.providers.openai.fake import FakeOpenAI  # noqa: E402


@pytest_asyncio.fixture
async def openai() -> AsyncIterator[FakeOpenAI]:
    """OpenAI itself, with two of its models and one that only talks."""
    async with FakeOpenAI() as fake:
        yield fake
