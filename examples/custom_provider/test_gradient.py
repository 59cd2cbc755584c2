import pytest
from imagerouter_gradient import GradientConfig, GradientProvider

from imagerouter.testing import ProviderContract


class TestGradient(ProviderContract):
    @pytest.fixture
    def provider(self):
        return GradientProvider("gradients", GradientConfig(concurrency=2))

    @pytest.fixture
    def slow_request(self, model):
        return self.ask(model, n=9)
