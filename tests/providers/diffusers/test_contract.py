"""The contract that every adapter has to keep."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from imagerouter import Model
from imagerouter.testing import ProviderContract
from imagerouter_diffusers import DiffusersConfig, DiffusersProvider


class TestDiffusersProvider(ProviderContract):
    parameters: ClassVar[dict[str, Any]] = {"steps": 2}

    @pytest.fixture
    def provider(self, local: DiffusersProvider) -> DiffusersProvider:
        return local

    @pytest.fixture
    async def model(self, provider: DiffusersProvider) -> Model:
        """A tiny one, since the built-in one takes seconds on a busy machine."""
        return next(model for model in await provider.models() if model.id == "sd1")

    @pytest.fixture
    def unreachable_provider(self) -> DiffusersProvider:
        return DiffusersProvider("gone", DiffusersConfig(device="cuda:99", hub_cache=False))
