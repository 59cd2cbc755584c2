import pytest

from imagerouter.testing import FakeConfig, FakeProvider, ProviderContract


class TestFakeProvider(ProviderContract):
    @pytest.fixture(params=["png", "base64"])
    def provider(self, request):
        return FakeProvider("fake", FakeConfig(concurrency=3, delivers=request.param))

    @pytest.fixture
    def unreachable_provider(self):
        provider = FakeProvider()
        provider.down = "unplugged"
        return provider

    @pytest.fixture
    def interruptions(self, provider):
        return lambda: len(provider.cancelled)
