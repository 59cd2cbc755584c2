"""The contract that every adapter keeps, on a stand-in for the server; pictures over both ways."""

from typing import ClassVar

import pytest
import pytest_asyncio

from imagerouter.testing import ProviderContract
from imagerouter.testing.wire import Response
from imagerouter_comfyui import ComfyConfig, ComfyProvider

NOBODY = "http://127.0.0.1:9"


class TestComfyProvider(ProviderContract):
    parameters: ClassVar = {"steps": 2}
    keys: ClassVar = {}

    @pytest_asyncio.fixture
    async def provider(self, comfy):
        small = {name: {"width": 64, "height": 64} for name in comfy.files["checkpoints"]}
        config = ComfyConfig(base_url=comfy.url, concurrency=3, models=small, **self.keys)
        provider = ComfyProvider("desk", config)
        await provider.start()
        yield provider
        await provider.aclose()

    @pytest.fixture
    def unreachable_provider(self):
        return ComfyProvider("desk", ComfyConfig(base_url=NOBODY, **self.keys))

    @pytest.fixture
    def garbled_provider(self, comfy):
        comfy.answer("GET", "/view", lambda request: Response(200, {}, b"no picture"))
        return ComfyProvider("desk", ComfyConfig(base_url=comfy.url, **self.keys))

    @pytest.fixture
    def interruptions(self, comfy):
        return lambda: len(comfy.cancelled)


class TestOverTheWebsocket(TestComfyProvider):
    keys: ClassVar = {"transfer": "websocket"}

    @pytest.fixture
    def garbled_provider(self):
        pytest.skip("what comes over the websocket is a picture or nothing")
