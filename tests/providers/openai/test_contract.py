"""The contract that every adapter keeps, on a stand-in for each way in which servers are asked."""

from __future__ import annotations

import asyncio
from queue import Queue
from threading import Thread
from typing import ClassVar

import pytest
import pytest_asyncio
from tests.providers.openai.fake import DIFFUSERS, Answer, FakeOpenAI

from imagerouter.app.server import listening
from imagerouter.config.loader import load_text
from imagerouter.testing import ProviderContract
from imagerouter_openai import OpenAIConfig, OpenAIProvider

NOBODY = "http://127.0.0.1:9"


def made(url, **config):
    return OpenAIProvider("far", OpenAIConfig(base_url=url, concurrency=3, **config))


class TestOpenAI(ProviderContract):
    reports_progress: ClassVar = False
    reports_residency: ClassVar = False

    @pytest_asyncio.fixture
    async def server(self):
        async with FakeOpenAI(("gpt-image-2", "gpt-image-1.5")) as fake:
            yield fake

    @pytest_asyncio.fixture
    async def provider(self, server):
        self.server = server
        provider = made(server.url)
        await provider.start()
        yield provider
        await provider.aclose()

    @pytest.fixture
    def slow_request(self, model):
        return self.ask(model, prompt="a snail, drawn slowly")

    async def until_running(self):
        await self.server.running()

    async def interrupted(self, provider, request):
        recorder = await super().interrupted(provider, request)
        await self.server.idle()  # it learns from the closed connection alone
        return recorder

    @pytest.fixture
    def interruptions(self, server):
        return lambda: server.interrupted

    @pytest.fixture
    def unreachable_provider(self):
        return made(NOBODY)

    @pytest.fixture
    def garbled_provider(self, server):
        server.answers.append(Answer(body={"created": 1, "data": [{"b64_json": "bm8gcGljdHVyZQ=="}]}))
        return made(server.url)


class TestVllm(TestOpenAI):
    @pytest_asyncio.fixture
    async def server(self):
        async with FakeOpenAI(("z-image",), owner="vllm", takes=DIFFUSERS, keeps_seeds=True) as fake:
            yield fake


FAR = "providers: {fake: {type: 'imagerouter.testing:FakeProvider', concurrency: 3}}\nserver: {port: 0}\n"


@pytest.fixture(scope="module")
def far():
    """The address of another imagerouter, a real one, for all tests: one for each would take most of their time."""

    async def run(started):
        async with listening(load_text(FAR)) as server:
            await server.engine.fleet.settled()
            over = asyncio.Event()
            started.put((server.url, asyncio.get_running_loop(), over))
            await over.wait()

    started = Queue()
    thread = Thread(target=lambda: asyncio.run(run(started)))
    thread.start()
    url, loop, over = started.get(timeout=60)
    yield url
    loop.call_soon_threadsafe(over.set)
    thread.join()


class TestImagerouter(ProviderContract):
    parameters: ClassVar = {"steps": 2}
    reports_residency: ClassVar = False  # it looks itself, and later

    @pytest_asyncio.fixture
    async def provider(self, far):
        provider = made(far)
        await provider.start()
        yield provider
        await provider.aclose()

    @pytest.fixture
    def unreachable_provider(self):
        return made(NOBODY)
