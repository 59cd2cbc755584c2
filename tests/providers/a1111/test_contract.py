"""The contract that every adapter keeps, on a stand-in for each way in which the family is driven."""

from typing import ClassVar

import pytest
import pytest_asyncio
from tests.providers.a1111.fake import FakeA1111

from imagerouter.testing import ProviderContract
from imagerouter.testing.wire import Response
from imagerouter_a1111 import A1111Config, A1111Provider

NOBODY = "http://127.0.0.1:9"


class TestA1111(ProviderContract):
    parameters: ClassVar = {"steps": 2}
    dialect: ClassVar = "a1111"

    @pytest_asyncio.fixture
    async def server(self):
        async with FakeA1111(dialect=self.dialect) as fake:
            yield fake

    def made(self, url):
        small = {"width": 64, "height": 64}
        models = {} if url == NOBODY else {self.first.removesuffix(".safetensors"): {"checkpoint": self.first, **small}}
        return A1111Provider("desk", A1111Config(base_url=url, concurrency=3, models=models))

    @pytest_asyncio.fixture
    async def provider(self, server, impatient):
        self.first = server.checkpoints[0].file
        server.hold("question")  # a step for each question about it: no job is over before it was looked at
        provider = self.made(server.url)
        await provider.start()
        yield provider
        await provider.aclose()

    @pytest.fixture
    def unreachable_provider(self):
        return self.made(NOBODY)

    @pytest_asyncio.fixture
    async def garbled_provider(self, server):
        for route in ("/sdapi/v1/txt2img", "/sdcpp/v1/img_gen"):
            server.answer("POST", route, lambda request: Response(200, {}, b"no picture"))
        self.first = server.checkpoints[0].file
        return self.made(server.url)

    @pytest.fixture
    def interruptions(self, server):
        return lambda: len(server.interrupted) + sum(job.status == "cancelled" for job in server.jobs)


class TestSDNext(TestA1111):
    dialect: ClassVar = "sdnext"


class TestStableDiffusionCpp(TestA1111):
    dialect: ClassVar = "sdcpp"

    @pytest.fixture
    def interruptions(self):
        pytest.skip("it can't stop what it is drawing")
