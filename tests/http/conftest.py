"""A real server on a real socket, in the test's own event loop, so that a test can look behind the door."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from imagerouter.app.server import Listening, listening
from imagerouter.config.loader import load_text
from imagerouter.testing import FakeProvider


class Running:
    """A running server with a client, the SDK, and its providers at hand."""

    def __init__(self, server: Listening, http: httpx.AsyncClient) -> None:
        self.server = server
        self.http = http
        self.engine = server.engine
        # Certificates that nobody asks for take two thirds of a test's time to load.
        client = DefaultAsyncHttpxClient(verify=False)
        self.sdk = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0, http_client=client)

    def fake(self, name: str = "fake") -> FakeProvider:
        provider = self.engine.fleet.members[name].provider
        assert isinstance(provider, FakeProvider)
        return provider

    async def waiting(self, jobs: int = 1) -> None:
        """Until so many jobs wait for a provider."""
        while self.engine.scheduler.waiting < jobs:
            await asyncio.sleep(0)

    async def draw(self, **body: Any) -> httpx.Response:
        return await self.http.post("/v1/images/generations", json={"prompt": "a fox", **body})


Start = Callable[..., Any]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """``await start("YAML")`` gives a `Running` server that has settled."""
    async with AsyncExitStack() as stack:

        async def _start(text: str = "", settle: bool = True) -> Running:
            head = "" if "providers:" in text else "providers: {fake: {type: 'imagerouter.testing:FakeProvider'}}\n"
            config = load_text(head + text + ("" if "server:" in text else "\nserver: {port: 0}\n"))
            server = await stack.enter_async_context(listening(config))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30, verify=False))
            running = Running(server, http)
            stack.push_async_callback(running.sdk.close)
            if settle:
                await server.engine.fleet.settled()
            return running

        yield _start


@pytest.fixture
async def running(start: Start) -> Running:
    return await start()
